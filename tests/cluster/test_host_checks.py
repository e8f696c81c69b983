"""The host around the NPUs: each fault gives exactly its own finding, on its own node, and its end takes it away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster

FAULTS: list[tuple[str, str, str, str]] = [
    ("port-taken", "8000", "port.taken", "error"),
    ("port-taken", "60003", "port.hccl", "error"),
    ("ports-ephemeral", "", "port.ephemeral", "warning"),
    ("mtu", "", "nic.mtu", "warning"),
    ("hostname-loopback", "", "host.name", "warning"),
    ("firewall", "", "host.firewall", "warning"),
    ("clock", "", "host.clock", "warning"),
    ("clock", "-7200", "host.clock", "warning"),
    ("memory-small", "", "host.shm", "warning"),
    ("memory-taken", "", "host.memory", "warning"),
    ("swappiness", "", "host.swappiness", "warning"),
    ("numa-balancing", "", "host.numa_balancing", "warning"),
    ("thp", "", "host.thp", "warning"),
    ("governor", "", "host.governor", "warning"),
    ("disk-full", "", "disk.space", "error"),
    ("docker-stopped", "", "docker.engine", "error"),
    ("runtime-missing", "", "docker.runtime", "error"),
    ("docker-disk-small", "", "disk.image", "error"),
    ("image-missing", "", "image.absent", "warning"),
    ("model-missing", "", "model.path", "error"),
    ("model-disk-full", "", "disk.weights", "error"),
    ("device-missing", "1", "device.absent", "error"),
    ("device-rights", "1", "device.rights", "warning"),
]
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"env": {"GLOO_SOCKET_IFNAME": "ib0"}}, "nic.absent"),
    ({"env": {"HCCL_SOCKET_IFNAME": "^eth,docker"}}, "nic.absent"),
    ({"env": {"VLLM_HOST_IP": "192.0.2.1"}}, "nic.address"),
    ({"mounts": ["/no/such/folder:/extra"]}, "mount.source"),
]


def _findings(cluster: Cluster) -> set[tuple[str, str, str]]:
    done = cluster.run("check", "--output", "json", expect=None)
    assert not done.data["unreachable"], str(done)
    found = {(entry["id"], entry["severity"], entry["node"]) for entry in done.data["findings"]}
    assert done.code == (3 if "error" in {severity for _, severity, _ in found} else 0), str(done)
    return found


def _spread(cluster: Cluster, **changes: Any) -> None:
    """Two chips on each node; who probes the network of the NPUs is tested elsewhere."""
    service = cluster.service(hosts="serving", replicas=3, topology={"tensor_parallel": 2})
    cluster.write({**service, **changes}, npu_network="unused")


@contextlib.contextmanager
def _broken(cluster: Cluster, fault: str, value: str) -> Iterator[None]:
    cluster.fault("node-2", fault, *([f"--value={value}"] if value else []))
    try:
        yield
    finally:
        cluster.mend("node-2", fault)


def test_healthy_nodes_have_no_finding(watched: Cluster) -> None:
    _spread(watched)
    assert _findings(watched) == set()


@pytest.mark.parametrize(("fault", "value", "identity", "severity"), FAULTS)
def test_a_fault_is_found_on_its_node_and_nothing_else_anywhere(
    watched: Cluster, fault: str, value: str, identity: str, severity: str
) -> None:
    _spread(watched)
    with _broken(watched, fault, value):
        assert _findings(watched) == {(identity, severity, "node-2")}


@pytest.mark.parametrize(("changes", "identity"), MISTAKES)
def test_a_mistake_in_the_spec_is_found_on_every_node(
    watched: Cluster, changes: dict[str, Any], identity: str
) -> None:
    _spread(watched, **changes)
    assert _findings(watched) == {(identity, "error", node.name) for node in watched.nodes}


def test_what_was_broken_and_mended_is_healthy_again(watched: Cluster) -> None:
    _spread(watched)
    assert _findings(watched) == set()


def test_faults_are_put_on_twice_and_taken_off_at_once(watched: Cluster) -> None:
    _spread(watched)
    names = sorted({fault for fault, value, _, _ in FAULTS if not value and fault != "docker-stopped"})
    for name in names * 2:
        watched.fault("node-3", name)
    assert len(_findings(watched)) > len(names) // 2
    watched.fault("node-3", "all", "--clear")
    assert _findings(watched) == set()


def test_setting_a_node_does_not_set_the_machine_that_it_runs_on(watched: Cluster) -> None:
    """Containers share the kernel: what a node writes must stay in the node."""
    first, other = watched.nodes[:2]
    paths = (
        "/proc/sys/vm/swappiness /proc/sys/kernel/numa_balancing /sys/kernel/mm/transparent_hugepage/enabled"
    )
    before = other.sh(f"cat {paths}")
    first.sh("sysctl -qw vm.swappiness=77 kernel.numa_balancing=7")
    try:
        assert other.sh(f"cat {paths}") == before
        assert first.sh("cat /proc/sys/vm/swappiness").strip() == "77"
    finally:
        first.sh("sysctl -qw vm.swappiness=0 kernel.numa_balancing=0")
