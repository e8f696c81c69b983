"""The NPU network between sandbox nodes: every NPU probes every other one, and the bad card is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def _require_network(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3), npu_network="required")


def _network(cluster: Cluster) -> list[dict[str, Any]]:
    _require_network(cluster)
    data = cluster.run("check", "--output", "json", expect=None).data
    return [finding for finding in data["findings"] if finding["id"].startswith("network.")]


def _said(found: list[dict[str, Any]]) -> list[tuple[str, str, str, int | None]]:
    return [(entry["id"], entry["severity"], entry["node"], entry["npu"]) for entry in found]


def test_in_a_healthy_network_every_probe_comes_back(cluster: Cluster) -> None:
    assert _network(cluster) == []
    assert "384 of 384 probes ok" in cluster.run("check").stdout


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("ip", ("network.address", "error", "node-2", 3)),
        ("link-down", ("network.link", "error", "node-2", 3)),
        ("tls", ("network.tls", "error", "node-2", 3)),
        ("port-deaf", ("network.reach", "error", "node-2", 3)),
        ("duplicate-ip", ("network.duplicate", "error", "node-2", 3)),
        ("no-ip", ("network.unset", "error", "node-2", 3)),
        ("net-health", ("network.health", "error", "node-2", 3)),
        ("gateway", ("network.gateway", "error", "node-2", 3)),
        ("npu-mtu", ("network.mtu", "error", "node-2", 3)),
        ("detect", ("network.detect", "warning", "node-2", 3)),
    ],
)
def test_each_fault_of_a_card_is_one_finding_and_names_it(
    cluster: Cluster, fault: str, finding: tuple[str, str, str, int]
) -> None:
    cluster.fault("node-2", fault, "--chip", "3")
    assert _said(_network(cluster)) == [finding]


def test_the_matrix_names_a_card_with_a_stale_address(cluster: Cluster) -> None:
    _require_network(cluster)
    cluster.fault("node-2", "ip", "--chip", "3")
    shown = cluster.run("check", expect=3).stdout
    assert "368 of 384 probes ok" in shown
    assert "bad: NPU 3 of node-2: 16 of 16 probes to it and 0 of 16 from it lost" in shown


def test_a_deploy_that_needs_the_network_is_refused_and_touches_nothing(cluster: Cluster) -> None:
    _require_network(cluster)
    cluster.fault("node-2", "port-deaf", "--chip", "3")
    assert "network.reach" in cluster.run("deploy", expect=3).text
    assert [node.containers() for node in cluster.nodes] == [{}, {}, {}]
    cluster.mend("node-2", "port-deaf")
    cluster.run("deploy")


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("hccn-conf", ("network.config", "error", "node-2", None)),
        ("hccn-busy", ("network.unread", "warning", "node-2", None)),
    ],
)
def test_a_fault_of_a_nodes_network_is_one_finding(
    cluster: Cluster, fault: str, finding: tuple[str, str, str, None]
) -> None:
    cluster.fault("node-2", fault)
    assert _said(_network(cluster)) == [finding]


def test_a_pair_that_is_cut_is_named_as_a_pair(cluster: Cluster) -> None:
    cluster.fault("node-2", "cut-pair", "--chip", "3")
    (finding,) = _network(cluster)
    assert (finding["id"], finding["npu"]) == ("network.reach", None)
    assert "NPU 3 of node-2 and NPU 3 of node-3" in finding["seen"]


def test_a_node_that_is_down_takes_no_part_and_the_others_reach_each_other(cluster: Cluster) -> None:
    _require_network(cluster)
    cluster.fault("node-3", "powered-off")
    shown = cluster.run("check", expect=5).stdout
    assert "128 of 128 probes ok" in shown
