"""What would fail is said beforehand, with node, cause and remedy; nothing is touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def _findings(cluster: Cluster, verb: str = "deploy") -> list[dict[str, Any]]:
    """Findings of a refused call, errors only; the call must end with 3 and leave the nodes as they were."""
    look = "docker ps --all --format '{{.Names}}' 2>&1; ls -R /etc/npuctl 2>&1"
    before = [node.sh(look, check=False) for node in cluster.nodes]
    data = cluster.run(verb, "--output", "json", expect=3).data
    assert [node.sh(look, check=False) for node in cluster.nodes] == before
    return [finding for finding in data["findings"] if finding["severity"] == "error"]


def test_a_wrong_spec_is_refused_without_asking_any_node(cluster: Cluster) -> None:
    folder = cluster.work / "bin"
    folder.mkdir()
    calls = folder / "calls"
    for tool in ("ssh", "ansible-playbook"):
        (folder / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >> {calls}\nexit 255\n')
        (folder / tool).chmod(0o755)
    cluster.env["PATH"] = f"{folder}:{os.environ['PATH']}"
    cluster.write(
        cluster.service(repliccas=2),
        cluster.service("two", port=70000),
        cluster.service("two", port=8100, args={"tensor-parallel-size": 4}),
    )
    for verb in ("check", "plan", "deploy"):
        refused = cluster.run(verb, expect=2)
        assert "services[0].repliccas" in refused.text
        assert "did you mean replicas?" in refused.text
        assert "services[1].port" in refused.text
        assert "70000" in refused.text
    cluster.write(
        cluster.service(hosts="no-such-group", args={"max-modle-len": 5}),
        cluster.service("two", port=8100, args={"tensor-parallel-size": 4}),
    )
    data = cluster.run("deploy", "--output", "json", expect=2).data
    assert data["type"] == "error"
    assert {problem["where"].rpartition(".")[2] for problem in data["problems"]} >= {
        "max-modle-len",
        "tensor-parallel-size",
    }
    cluster.write(cluster.service(hosts="no-such-group"))
    assert "no-such-group" in cluster.run("deploy", expect=2).text
    assert not calls.exists(), calls.read_text()
    del cluster.env["PATH"]


def test_two_services_on_one_chip_or_one_port_are_refused(cluster: Cluster) -> None:
    cluster.write(cluster.service("one", chips=[3]), cluster.service("two", chips=[3], port=8100))
    (finding,) = _findings(cluster)
    assert (finding["id"], finding["node"], finding["npu"]) == ("place.conflict", "node-1", 3)
    assert "one-0" in finding["seen"]
    assert "two-0" in finding["seen"]
    cluster.write(cluster.service("one", replicas=3), cluster.service("two", port=8002))
    (finding,) = _findings(cluster)
    assert "port 8002" in finding["seen"]
    assert "one-2" in finding["seen"]
    cluster.write(cluster.service("big", replicas=3, topology={"tensor_parallel": 4}))
    (finding,) = _findings(cluster)
    assert "big-2 needs 4 free chips; 0 of 8 are free" in finding["seen"]


def test_everything_that_is_wrong_on_the_nodes_is_said_at_once(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.fault("node-1", "port-taken", "--value", "8000")
    cluster.fault("node-2", "model-missing")
    cluster.fault("node-3", "docker-stopped")
    listener = cluster.node("node-1").sh("pgrep -f '[h]ttp.server 8000'").strip()

    by_node = {finding["node"]: finding for finding in _findings(cluster, "check")}
    assert by_node["node-1"]["id"] == "port.taken"
    assert f"pid {listener}" in by_node["node-1"]["seen"]
    assert "http.server" in by_node["node-1"]["seen"]
    assert by_node["node-2"]["id"] == "model.path"
    assert "/data/models/tiny" in by_node["node-2"]["seen"]
    assert by_node["node-3"]["id"] == "docker.engine"
    assert {finding["node"] for finding in _findings(cluster)} == {"node-1", "node-2", "node-3"}
    text = cluster.run("deploy", expect=3).text
    assert all(word in text for word in ("port.taken", "model.path", "docker.engine", "remedy"))
    assert cluster.node("node-1").sh("pgrep -f '[h]ttp.server 8000'").strip() == listener

    # One node's trouble does not keep others from being worked on, where a person says so.
    cluster.mend("node-1", "port-taken")
    cluster.run("deploy", "--limit", "node-1")
    assert cluster.node("node-1").complete(8000)[0] == 200


def test_a_full_disk_is_refused_beforehand(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    cluster.write(cluster.service())
    cluster.fault("node-1", "disk-full")
    (finding,) = _findings(cluster)
    assert (finding["id"], finding["node"]) == ("disk.space", "node-1")
    assert "/etc/npuctl" in finding["seen"]
    cluster.mend("node-1", "disk-full")
    cluster.run("deploy")
    assert node.complete(8000)[0] == 200


def test_a_chip_that_another_process_holds_is_gone_around_or_named(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    pid = cluster.hold_chip("node-1", 0)
    cluster.write(cluster.service(chips=[0, 1], topology={"tensor_parallel": 2}))
    (finding,) = _findings(cluster)
    assert (finding["id"], finding["npu"]) == ("npu.held", 0)
    assert f"pid {pid}" in finding["seen"]

    cluster.write(cluster.service(topology={"tensor_parallel": 2}))
    cluster.run("deploy")
    assert 0 not in node.chips("npuctl-ct-chat-0")
    for verb in (["stop"], ["teardown", "--yes"]):
        data = cluster.run(*verb, "--output", "json").data
        assert all(entry["holds"] for entry in data["evidence"])
        assert f"pid {pid}" in data["left_alone"]["node-1"][0]
        assert node.holders() == [(pid, 0)]


def test_a_chip_that_is_not_well_is_gone_around_or_named(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    cluster.fault("node-1", "health", "--chip", "0", "--value", "Alarm")
    cluster.fault("node-1", "hbm-leak", "--chip", "1", "--value", "20000")
    cluster.write(cluster.service(chips=[0]))
    (finding,) = _findings(cluster)
    assert (finding["id"], finding["npu"]) == ("npu.health", 0)
    assert "Alarm" in finding["seen"]
    cluster.write(cluster.service())
    cluster.run("deploy")
    assert node.chips("npuctl-ct-chat-0") == [2]


def test_a_node_whose_npus_cannot_be_read_is_refused(cluster: Cluster) -> None:
    cluster.fault("node-1", "npu-smi-dead")
    cluster.write(cluster.service())
    assert "npu.readable" in {finding["id"] for finding in _findings(cluster)}
