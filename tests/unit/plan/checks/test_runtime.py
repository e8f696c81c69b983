"""The container engine, and what it is told to use."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.model import DockerFacts
from npuctl.facts.survey import DeviceNode, DiskFacts, DriverFiles, HostFacts, ImageFacts, Survey
from npuctl.plan.model import Finding
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, facts_of, host, node, plan_of, service_data, spec_of, weights

IMAGE = "quay.io/ascend/vllm-ascend:v0.18.0"
MODEL = "/data/models/Qwen3-0.6B"
OURS = ("docker.", "image.", "disk.", "device.", "mount.", "model.path")


def findings(*hosts: HostFacts, spec: dict[str, Any] | None = None, **changes: Any) -> list[Finding]:
    """Findings of node-1 that are ours; `changes` are of its facts."""
    (own,) = hosts or (host(),)
    found = node(**{"survey": Survey(host=own), **changes})
    return ours(plan_of(spec_of(service_data(**(spec or {}))), facts_of(node_1=found)).findings)


def ours(found: Any) -> list[Finding]:
    return [finding for finding in found if finding.id.startswith(OURS)]


def said(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.id, finding.severity) for finding in found]


def test_a_healthy_engine_has_nothing_to_say() -> None:
    assert findings() == []


def test_a_user_who_may_not_use_docker_is_told_how_to() -> None:
    refused = DockerFacts(error="no answer on /var/run/docker.sock: [Errno 13] Permission denied")
    (finding,) = findings(docker=refused, images=[])
    assert finding.id == "docker.engine"
    assert "ansible_become: true" in finding.remedy
    (finding,) = findings(docker=DockerFacts(error="[Errno 111] Connection refused"), images=[])
    assert "systemctl start docker" in finding.remedy


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("17.12.1-ce", True),
        ("18.06.3", True),
        ("18.09.0", False),
        ("20.10.24+dfsg1", False),
        ("28.5.1", False),
        ("", False),
    ],
)
def test_an_old_docker(version: str, *, old: bool) -> None:
    assert said(findings(docker=DockerFacts(version=version))) == [("docker.version", "warning")] * old


def test_a_runtime_whose_program_is_gone() -> None:
    there: dict[str, Any] = {"docker_runtimes": {"ascend": "/opt/ascend-docker-runtime", "runc": "runc"}}
    (finding,) = findings(host(**there, missing_runtimes=["ascend"], docker_default_runtime="ascend"))
    assert said([finding]) == [("docker.runtime", "error")]
    assert finding.seen == "the default runtime ascend is /opt/ascend-docker-runtime, which is not there"
    assert said(findings(host(**there, missing_runtimes=["ascend"]))) == [("docker.runtime", "warning")]


@pytest.mark.parametrize(
    ("chips", "gone", "found"),
    [
        ([0, 1], "/dev/davinci0", [("device.absent", "error", 0)]),
        ([0, 1], "/dev/davinci2", []),
        ([0, 1], "/dev/davinci_manager", [("device.absent", "error", None)]),
    ],
)
def test_a_device_node_that_is_gone(
    chips: list[int], gone: str, found: list[tuple[str, str, int | None]]
) -> None:
    left = [entry for entry in host().device_nodes if entry.path != gone]
    spec = {"chips": chips, "topology": {"tensor_parallel": 2}}
    assert [(f.id, f.severity, f.npu) for f in findings(host(device_nodes=left), spec=spec)] == found


@pytest.mark.parametrize(
    ("entry", "installed_for", "warned"),
    [
        ({"mode": "0660", "owner": "HwHiAiUser", "group": "HwHiAiUser"}, "", False),
        ({"mode": "0666", "owner": "root", "group": "root"}, "", False),
        ({"mode": "0660", "owner": "root", "group": "root"}, "", True),
        ({"mode": "0640", "owner": "HwHiAiUser", "group": "HwHiAiUser"}, "", True),
        ({"mode": "0600", "owner": "HwHiAiUser", "group": "HwHiAiUser"}, "", True),
        ({"mode": "0660", "owner": "npu", "group": "npu"}, "npu", False),
        ({"mode": "0660", "owner": "HwHiAiUser", "group": "HwHiAiUser"}, "npu", True),
        ({"mode": "", "owner": "", "group": ""}, "", False),
    ],
)
def test_rights_of_a_device_node(entry: dict[str, str], installed_for: str, *, warned: bool) -> None:
    nodes = [
        DeviceNode(path=own.path, **entry)
        if own.path == "/dev/davinci0"
        else own.model_copy(update={"group": installed_for or own.group})
        for own in host().device_nodes
    ]
    survey = Survey(host=host(device_nodes=nodes), files=DriverFiles(install_group=installed_for))
    found = findings(survey=survey, spec={"chips": [0]})
    assert [(f.id, f.severity, f.npu) for f in found] == [("device.rights", "warning", 0)] * warned


def test_device_nodes_that_could_not_be_read_are_not_judged() -> None:
    assert findings(host(device_nodes=[])) == []


def two_nodes(free_bytes: int, size: int) -> list[Finding]:
    """node-1 has the image, of that size; node-2 has that much room and not the image."""
    spec = spec_of(service_data(hosts=["node-1", "node-2"], replicas=2))
    images = [ImageFacts(reference=IMAGE, size_bytes=size)] if size else []
    disks = [DiskFacts(path="/var/lib/docker", holds=["docker"], free_bytes=free_bytes)]
    first = node(survey=Survey(host=host(), images=images))
    second = node(images=[], survey=Survey(host=host(2, disks=disks)))
    found = ours(plan_of(spec, facts_of(node_1=first, node_2=second)).findings)
    assert {finding.node for finding in found} <= {"node-2"}
    return found


@pytest.mark.parametrize(
    ("free_gib", "size_gib", "expected"),
    [
        (40, 20, ("image.absent", "warning")),
        (39, 20, ("disk.image", "warning")),
        (19, 20, ("disk.image", "error")),
        (30, 0, ("image.absent", "warning")),
        (29, 0, ("disk.image", "warning")),
    ],
)
def test_room_for_an_image_that_is_not_there(free_gib: int, size_gib: int, expected: tuple[str, str]) -> None:
    assert said(two_nodes(free_gib * 2**30, size_gib * 2**30)) == [expected]


def test_room_for_an_image_is_not_judged_where_no_disk_was_read() -> None:
    assert said(findings(host(disks=[]), images=[])) == [("image.absent", "warning")]


@pytest.mark.parametrize(("free", "expected"), [(2**30, "model.path"), (2**30 - 1, "disk.weights")])
def test_room_for_weights_that_are_not_there(free: int, expected: str) -> None:
    spec = spec_of(service_data(hosts=["node-1", "node-2"], replicas=2))
    disks = [DiskFacts(path="/data", holds=[f"model:{MODEL}"], free_bytes=free)]
    first = node(survey=Survey(host=host(), weights=weights(2**30)))
    second = node(survey=Survey(host=host(2, disks=disks)), paths={MODEL: "absent"})
    (finding,) = ours(plan_of(spec, facts_of(node_1=first, node_2=second)).findings)
    assert (finding.id, finding.severity, finding.node) == (expected, "error", "node-2")
    assert "node-1" in f"{finding.seen} {finding.remedy}"
    assert "1 GiB" in f"{finding.seen} {finding.remedy}"


def test_weights_that_nobody_has() -> None:
    (finding,) = findings(paths={MODEL: "absent"})
    assert (finding.id, finding.remedy) == ("model.path", "copy the weights to this node")


@pytest.mark.parametrize("prefix", ["quay.io", "m.example/quay.io"])
def test_an_image_pinned_by_digest_is_there_under_its_mirrors_name_too(prefix: str) -> None:
    name = "ascend/vllm-ascend@sha256:" + "0" * 64
    mirrors = {"docker": {"images": {"quay.io": "m.example/quay.io"}}}
    text = cluster_text(service_data(image=f"quay.io/{name}"), mirrors=mirrors)
    found = plan_of(parse_cluster(text, file=FILE), facts_of(node_1=node(images=[f"{prefix}/{name}"])))
    assert [entry.id for entry in found.findings if entry.id.startswith("image.")] == []
    absent = plan_of(parse_cluster(text, file=FILE), facts_of(node_1=node(images=[f"other/{name}"])))
    assert "image.absent" in {entry.id for entry in absent.findings}
