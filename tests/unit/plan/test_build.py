"""ClusterSpec + facts → Plan: the whole container, the secrets, the refusals."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from npuctl.errors import UsageError
from npuctl.facts.model import ClusterFacts, Unreachable
from npuctl.plan.build import find_service, product_of, resolve_hosts, secrets_text
from npuctl.plan.model import Container, Plan, config_hash
from npuctl.spec.parse import SpecError
from tests.making import FILE, facts_of, node, plan_of, service_data, spec_of

SECRET = "correct horse ' battery"


def container(product: str = "a2", secrets: dict[str, str] | None = None, **changes: Any) -> Container:
    plan = plan_of(spec_of(service_data(**changes)), facts_of(node_1=node(product)), secrets=secrets)
    return plan.replicas[0].container


def secret_plan() -> Plan:
    data = service_data(api_key={"secret": "key"}, secret_env={"HF_TOKEN": {"secret": "token"}})
    return plan_of(spec_of(data), facts_of(node_1=node()), secrets={"key": SECRET, "token": "t"})


def test_the_seeds_container_for_an_a3_over_all_dies() -> None:
    """What people start by hand with `docker run` for the same service (vllm-ascend's own guide for A3)."""
    image = "m.daocloud.io/quay.io/ascend/vllm-ascend:v0.11.0rc0-a3"
    made = container(
        "a3",
        version="v0.11.0rc0",
        image=image,
        model={"id": "Qwen/Qwen2.5-72B-Instruct", "source": "modelscope"},
        topology={"tensor_parallel": 16},
        port=8004,
        cache="/mnt/sfs_turbo/cache",
    )
    assert made.image == image
    assert made.devices == (
        *(f"/dev/davinci{number}" for number in range(16)),
        "/dev/davinci_manager",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
    )
    mounts = {mount.source: mount for mount in made.mounts}
    for path in (
        "/usr/local/dcmi",
        "/usr/local/Ascend/driver/tools/hccn_tool",
        "/usr/local/bin/npu-smi",
        "/usr/local/Ascend/driver/lib64",
        "/usr/local/Ascend/driver/version.info",
        "/etc/ascend_install.info",
    ):
        assert mounts[path].target == path
        assert mounts[path].read_only
    assert mounts["/mnt/sfs_turbo/cache"].target == "/root/.cache"
    assert mounts["/mnt/sfs_turbo/cache"].create
    assert not mounts["/mnt/sfs_turbo/cache"].read_only
    assert made.env["VLLM_USE_MODELSCOPE"] == "True"
    assert made.env["ASCEND_VISIBLE_DEVICES"] == ",".join(str(number) for number in range(16))
    assert made.env["PYTORCH_NPU_ALLOC_CONF"] == "max_split_size_mb:256"
    assert made.argv[-2:] == ("--tensor-parallel-size", "16")
    assert made.argv[made.argv.index("--port") :][:2] == ("--port", "8004")


def test_a_container_gets_its_chips_and_no_others() -> None:
    made = container(chips=[3, 5], topology={"tensor_parallel": 2})
    assert [device for device in made.devices if device[-1].isdigit()] == ["/dev/davinci3", "/dev/davinci5"]
    assert made.env["ASCEND_VISIBLE_DEVICES"] == "3,5"


def test_the_image_is_the_releases_for_the_product() -> None:
    images = [container(product).image.partition(":")[2] for product in ("a2", "a3", "310p")]
    assert images == ["v0.18.0", "v0.18.0-a3", "v0.18.0-310p"]


def test_arguments_reach_the_process_letter_by_letter() -> None:
    """The shell that reads ~/.bashrc gets them as its positional parameters, never as text."""
    nasty = """a b'c"d$(touch /tmp/x)`id`;|&*?~\\ ü"""
    made = container(args={"chat-template": nasty}, env={"A": nasty})
    assert made.argv[:4] == ("/bin/bash", "-ic", 'exec "$@"', "npuctl")
    assert made.argv[4:6] == ("vllm", "serve")
    assert made.argv[-2:] == ("--chat-template", nasty)
    assert made.env["A"] == nasty


def test_the_weights_are_mounted_read_only() -> None:
    mount = next(mount for mount in container().mounts if mount.source == "/data/models/Qwen3-0.6B")
    assert (mount.target, mount.read_only, mount.create) == (mount.source, True, False)


def test_shared_memory_and_grace_are_those_of_the_spec() -> None:
    made = container(shm_gib=3, stop_grace_seconds=7)
    assert (made.shm_bytes, made.stop_grace_seconds) == (3 * 2**30, 7)


def test_the_labels_tell_the_next_look_what_runs() -> None:
    made = container(name="chat")
    assert {
        key: made.labels[f"npuctl.{key}"] for key in ("cluster", "service", "replica", "engine", "port")
    } == {
        "cluster": "prod",
        "service": "chat",
        "replica": "0",
        "engine": "vllm",
        "port": "8000",
    }
    assert json.loads(made.labels["npuctl.spec"]) == json.loads(json.dumps(made.described()))


def test_a_secret_is_in_no_part_of_a_plan() -> None:
    plan = secret_plan()
    text = repr(plan) + json.dumps(plan.to_json())
    assert SECRET not in text
    assert "correct horse" not in text


def test_a_plan_as_data_shows_no_hash_over_a_secret() -> None:
    plan = secret_plan()
    text = secrets_text({"VLLM_API_KEY": "key", "HF_TOKEN": "token"}, {"key": SECRET, "token": "t"})
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert digest in repr(plan)
    assert digest not in json.dumps(plan.to_json())


def test_secrets_come_as_a_file_that_only_root_reads() -> None:
    (replica,) = secret_plan().replicas
    folder, file = replica.files
    assert (folder.kind, folder.mode, folder.owner) == ("directory", "0750", "root:root")
    assert (file.mode, file.owner, file.content) == ("0600", "root:root", None)
    assert file.secret_env == {"HF_TOKEN": "token", "VLLM_API_KEY": "key"}
    mount = next(mount for mount in replica.container.mounts if mount.source == file.path)
    assert (mount.target, mount.read_only) == ("/run/npuctl/secrets.env", True)
    assert replica.container.argv[2] == 'set -a; . /run/npuctl/secrets.env; set +a; exec "$@"'
    assert "VLLM_API_KEY" not in replica.container.env


def test_the_text_of_secrets_is_sorted_and_quoted() -> None:
    text = secrets_text({"B": "x", "A": "y"}, {"x": "it's $HOME", "y": ""})
    assert text == "A=''\nB='it'\"'\"'s $HOME'\n"


def test_another_secret_is_another_configuration() -> None:
    data = service_data(api_key={"secret": "key"})
    hashes = {
        plan_of(spec_of(data), facts_of(node_1=node()), secrets={"key": value})
        .replicas[0]
        .container.labels["npuctl.config"]
        for value in ("a", "b")
    }
    assert len(hashes) == 2


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert config_hash(one, ()) == config_hash(other, ())


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ({"engine": "vlm"}, "services[0].engine", "unknown engine 'vlm'"),
        ({"version": "v9"}, "services[0].version", "unknown vllm-ascend release 'v9'"),
        ({"args": {"port": 1}}, "services[0].args.port", "npuctl writes --port itself"),
        ({"api_key": {"secret": "nope"}}, "services[0]", "the secret 'nope' is not in the inventory"),
        (
            {"secret_env": {"A": {"secret": "nope"}}},
            "services[0]",
            "the secret 'nope' is not in the inventory",
        ),
        ({"topology": {"nodes_per_replica": 2}}, "topology.nodes_per_replica", "cannot be deployed yet"),
    ],
)
def test_a_spec_that_its_engine_refuses(changes: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        container(**changes)
    (problem,) = caught.value.problems
    assert where in problem.where
    assert problem.where.startswith(FILE)
    assert message in problem.message


def test_problems_of_all_services_come_at_once() -> None:
    spec = spec_of(service_data("a", engine="x"), service_data("b", version="v9", args={"nope": 1}))
    with pytest.raises(SpecError) as caught:
        plan_of(spec, facts_of(node_1=node()))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        ("absent", "the inventory has no group 'absent'"),
        ("empty", "the inventory has no group 'empty'"),
        (["node-1", "node-9"], "the inventory has no host 'node-9'"),
        (["node-1", "node-1"], "list each host once"),
        ([], "list each host once, at least one"),
    ],
)
def test_hosts_that_are_not_in_the_inventory(hosts: Any, message: str) -> None:
    spec = spec_of(service_data(hosts=hosts))
    with pytest.raises(SpecError) as caught:
        resolve_hosts(spec, {"serving": ["node-1"], "empty": []}, ["node-1"], file=FILE)
    assert message in caught.value.problems[0].message
    assert ".hosts" in caught.value.problems[0].where


def test_groups_and_lists_resolve_in_order() -> None:
    spec = spec_of(service_data("a", hosts="serving"), service_data("b", hosts=["n2", "n1"]))
    assert resolve_hosts(spec, {"serving": ["n1", "n2"]}, ["n1", "n2"], file=FILE) == {
        "a": ["n1", "n2"],
        "b": ["n2", "n1"],
    }


def test_a_node_that_did_not_answer_has_no_steps_and_is_named() -> None:
    facts = ClusterFacts(nodes={"node-1": node()}, unreachable={"node-2": Unreachable(reason="off")})
    plan = plan_of(spec_of(service_data(hosts=["node-1", "node-2"], replicas=2)), facts)
    assert plan.unreachable == {"node-2": Unreachable(reason="off")}
    assert {step.node for step in plan.steps} == {"node-1"}


def test_a_sandbox_is_called_one() -> None:
    assert plan_of(spec_of(service_data()), facts_of(node_1=node(simulated=True))).simulated


def test_a_product_is_known_by_its_chips() -> None:
    keys = [found.key if (found := product_of(node(product))) else None for product in ("a2", "a3", "310p")]
    assert keys == ["a2", "a3", "310p"]


def test_a_service_is_found_or_named_as_missing() -> None:
    spec = spec_of(service_data("a"), service_data("b", port=9000))
    assert find_service(spec, "b").port == 9000
    with pytest.raises(UsageError, match="no service 'c'") as caught:
        find_service(spec, "c")
    assert caught.value.hint == "its services: a, b"
