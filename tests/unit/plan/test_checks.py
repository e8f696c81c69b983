"""Every finding: when it is there, when not, and that it tells what to do."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.model import ContainerFacts, DockerFacts, HolderFacts, ListenerFacts
from npuctl.hardware.catalog import A2, PRODUCTS
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import Finding
from tests.making import after_apply, chips, facts_of, node, plan_of, service, service_data, spec_of

OURS = "npuctl-prod-chat-0"
MODEL = "/data/models/Qwen3-0.6B"


def findings(product: str = "a2", spec: dict[str, Any] | None = None, **changes: Any) -> list[Finding]:
    return list(
        plan_of(spec_of(service_data(**(spec or {}))), facts_of(node_1=node(product, **changes))).findings
    )


def broken(**changes: Any) -> list[Any]:
    found = chips()
    found[0] = found[0].model_copy(update=changes)
    return found


def test_a_healthy_node_has_nothing_to_say() -> None:
    assert findings() == []


@pytest.mark.parametrize(
    ("identity", "severity", "npu", "changes"),
    [
        ("docker.engine", "error", None, {"docker": DockerFacts(error="no answer on /var/run/docker.sock")}),
        ("npu.readable", "error", None, {"chips": [], "npu_error": "ret is -8005"}),
        ("npu.readable", "error", None, {"chips": []}),
        ("npu.product", "error", None, {"chips": chips(name="910A")}),
        ("disk.space", "error", None, {"free_bytes": {"/": 2**20 - 1}}),
        ("image.absent", "warning", None, {"images": []}),
        ("npu.table", "warning", None, {"npu_table_complete": False}),
        ("model.path", "error", None, {"paths": {MODEL: "absent"}}),
        ("mount.source", "error", None, {"paths": {"/usr/local/dcmi": "absent"}}),
        ("port.taken", "error", None, {"listeners": [ListenerFacts(port=8000, pid=9, command="nginx")]}),
        ("port.taken", "error", None, {"listeners": [ListenerFacts(port=8000)]}),
    ],
)
def test_a_finding_of_a_node(identity: str, severity: str, npu: int | None, changes: dict[str, Any]) -> None:
    found = {finding.id: finding for finding in findings(**changes)}
    assert identity in found
    finding = found[identity]
    assert (finding.severity, finding.node, finding.npu) == (severity, "node-1", npu)
    assert finding.seen
    assert finding.expected
    assert finding.remedy


@pytest.mark.parametrize(
    ("health", "severity"), [("Warning", "warning"), ("Alarm", "error"), ("Critical", "error")]
)
def test_the_health_of_a_written_chip(health: str, severity: str) -> None:
    (finding,) = findings(spec={"chips": [0]}, chips=broken(health=health))
    assert (finding.id, finding.severity, finding.npu) == ("npu.health", severity, 0)
    assert finding.service == "chat"


def test_a_written_chip_that_a_stranger_holds() -> None:
    stranger = HolderFacts(chip=0, pid=9, command="python train.py", container="somebodys")
    (finding,) = findings(spec={"chips": [0]}, holders=[stranger])
    assert (finding.id, finding.npu) == ("npu.held", 0)
    assert "pid 9 in container somebodys: python train.py" in finding.seen


def test_a_chip_of_another_service_of_ours_is_freed_by_a_stop_not_by_a_kill() -> None:
    own = ContainerFacts(name="npuctl-prod-other-0", id="", image="", state="running", service="other")
    holder = HolderFacts(chip=0, pid=9, command="VLLM::Worker", container=own.name)
    spec = spec_of(service_data(chips=[0]), service_data(name="other", chips=[1], port=8100))
    plan = plan_of(spec, facts_of(node_1=node(holders=[holder], containers=[own])))
    (finding,) = [entry for entry in plan.findings if entry.id == "npu.held"]
    assert "npuctl stop --service other" in finding.remedy


def test_memory_that_nobody_holds_is_a_leak() -> None:
    (finding,) = findings(spec={"chips": [0]}, chips=broken(memory_used_mb=A2.idle_memory_mb + 1))
    assert (finding.id, finding.severity, finding.npu) == ("npu.memory", "error", 0)


def test_memory_of_our_own_running_replica_is_no_leak_where_processes_are_hidden() -> None:
    """Who is not root sees no process of others."""
    spec = spec_of(service_data())
    before = facts_of(node_1=node())
    there = after_apply(plan_of(spec, before), before).nodes["node-1"]
    assert plan_of(spec, facts_of(node_1=there.model_copy(update={"holders": []}))).errors == ()


def test_our_own_container_is_no_obstacle() -> None:
    own = HolderFacts(chip=0, pid=9, command="VLLM", container=OURS)
    listener = ListenerFacts(port=8000, pid=9, command="vllm", container=OURS)
    assert findings(spec={"chips": [0]}, holders=[own], listeners=[listener]) == []


def test_a_port_held_by_a_container_is_named() -> None:
    listener = ListenerFacts(port=8000, pid=9, command="nginx", container="web")
    (finding,) = findings(listeners=[listener])
    assert "port 8000 is held by pid 9 in container web: nginx" in finding.seen


def test_a_missing_image_is_not_claimed_where_docker_is_silent() -> None:
    assert {finding.id for finding in findings(images=[], docker=DockerFacts(error="down"))} == {
        "docker.engine"
    }


def test_a_cache_may_be_absent_for_it_is_made() -> None:
    assert findings(spec={"cache": "/cache"}, paths={"/cache": "absent"}) == []


def test_a_mount_of_the_user_must_be_there() -> None:
    (finding,) = findings(spec={"mounts": ["/extra:/x"]}, paths={"/extra": "absent"})
    assert (finding.id, finding.seen) == ("mount.source", "/extra does not exist")


def test_what_an_engine_refuses_on_a_product() -> None:
    (finding,) = findings("310p", spec={"args": {"dtype": "bfloat16"}})
    assert (finding.id, finding.severity, finding.service) == ("engine.product", "error", "chat")
    assert finding.remedy == "use float16"


def test_a_place_that_cannot_be_given() -> None:
    (finding,) = findings(spec={"topology": {"tensor_parallel": 9}})
    assert (finding.id, finding.severity, finding.service) == ("place.conflict", "error", "chat")


def test_nothing_is_said_of_a_node_that_no_service_uses() -> None:
    idle = node(docker=DockerFacts(error="down"), chips=[], free_bytes={"/": 0})
    assert plan_of(spec_of(service_data()), facts_of(node_1=node(), node_2=idle)).findings == ()


def test_a_finding_is_said_once() -> None:
    found = findings(spec={"replicas": 2}, images=[])
    assert [finding.id for finding in found] == ["image.absent"]


def test_the_paths_to_look_at_are_all_that_is_mounted_and_not_made() -> None:
    paths = paths_to_look_at([service(mounts=["/a:/b:ro"], cache="/c")])
    assert {"/a", MODEL, "/usr/local/dcmi", "/etc/ascend_install.info"} <= set(paths)
    assert not {"/b", "/c"} & set(paths)
    assert paths == sorted(set(paths))
    for product in PRODUCTS:
        assert set(product.driver_mounts) <= set(paths)


def test_a_node_with_fewer_chips_than_its_kind_has_is_still_that_kind() -> None:
    assert findings(count=3) == []
    assert A2.chips_per_server == 8
