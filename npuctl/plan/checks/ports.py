"""Ports of the host: those that a replica listens on, and those that HCCL opens for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from npuctl.facts.model import ListenerFacts
from npuctl.hardware.catalog import HCCL_BASE_PORT, HCCL_PORTS
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding, Replica
from npuctl.plan.wording import process, ranges

# CANN, environment variables: HCCL_HOST_SOCKET_PORT_RANGE goes before HCCL_IF_BASE_PORT, whose range is this.
_BASES = range(1024, 65521)
# The NPUs' own sockets (vllm-ascend issues 1955, 4725); HCCL_NPU_SOCKET_PORT_RANGE moves them.
_NPU_SOCKET = 16666
_PORTS = range(1, 65536)
_LOCAL_RANGE = "net.ipv4.ip_local_port_range"
_RESERVED = "net.ipv4.ip_local_reserved_ports"


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the ports of every node."""
    for node in checked.nodes:
        for replica in node.replicas:
            yield from _port_free(node, replica)
            yield from _hccl_ports_free(node, replica, checked)
        yield from _hccl_ports_apart(node)
        yield from _ports_reserved(node, checked)


def _port_free(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    for listener in _strangers(node, replica, {replica.port}):
        yield Finding(
            id="port.taken",
            severity="error",
            node=node.name,
            seen=f"port {replica.port} is held by {_holder(listener)}",
            expected=f"port {replica.port} free for {replica.name}",
            remedy="stop that process, or set another port for the service",
            service=replica.service,
        )


def _hccl_ports_free(node: CheckedNode, replica: Replica, checked: Checked) -> Iterator[Finding]:
    for listener in _strangers(node, replica, hccl_ports(replica, checked)):
        yield Finding(
            id="port.hccl",
            severity="error",
            node=node.name,
            seen=f"port {listener.port}, which HCCL opens for {replica.name}, is held by {_holder(listener)}",
            expected=f"free: {ranges(hccl_ports(replica, checked))}",
            remedy="end that process if a stopped engine left it; else set HCCL_IF_BASE_PORT in the service's env",
            service=replica.service,
        )


def _hccl_ports_apart(node: CheckedNode) -> Iterator[Finding]:
    """Two engines with one range: the second one cannot bind (vllm-ascend issues 405, 11968)."""
    for one, other in combinations(node.replicas, 2):
        shared = (_host_ports(one) | {one.port}) & (_host_ports(other) | {other.port})
        if shared - {one.port}:
            yield Finding(
                id="port.hccl",
                severity="error",
                node=node.name,
                seen=f"{one.name} and {other.name} would both use {ranges(shared)}",
                expected="HCCL ports of its own for every replica of a node",
                remedy="leave HCCL_IF_BASE_PORT out of the service's env: npuctl gives every replica a range",
                service=other.service,
            )


def _ports_reserved(node: CheckedNode, checked: Checked) -> Iterator[Finding]:
    sysctl = node.survey.host.sysctl if node.survey else {}
    bounds = [int(word) for word in sysctl.get(_LOCAL_RANGE, "").split() if word.isdecimal()]
    if len(bounds) != 2 or _RESERVED not in sysctl:  # noqa: PLR2004 - lowest and highest
        return
    low, high = bounds
    reserved = ports_in(sysctl[_RESERVED])
    needed = {replica.port for replica in node.replicas}
    for replica in node.replicas:
        needed |= hccl_ports(replica, checked)
    exposed = {port for port in needed - reserved if low <= port <= high}
    if exposed:
        line = f"{_RESERVED}={ranges(reserved | exposed)}"
        yield Finding(
            id="port.ephemeral",
            severity="warning",
            node=node.name,
            seen=f"{ranges(exposed)} within {_LOCAL_RANGE} ({low}-{high}), not reserved:"
            " any outgoing connection may be given one of them",
            expected=f"{ranges(exposed)} in {_RESERVED}",
            remedy=f"sysctl -w {line}; the same in a file below /etc/sysctl.d for the next boot",
        )


def hccl_ports(replica: Replica, checked: Checked) -> set[int]:
    """Ports that HCCL opens on the node for this replica; none for one chip, which talks to nobody."""
    ports = _host_ports(replica)
    moved = "HCCL_NPU_SOCKET_PORT_RANGE" in replica.container.env
    return ports | {_NPU_SOCKET} if ports and checked.network_required and not moved else ports


def _host_ports(replica: Replica) -> set[int]:
    env = replica.container.env
    if len(replica.chips) == 1:
        return set()
    if "HCCL_HOST_SOCKET_PORT_RANGE" in env:
        return ports_in(env["HCCL_HOST_SOCKET_PORT_RANGE"])
    base = env.get("HCCL_IF_BASE_PORT", str(HCCL_BASE_PORT))
    usable = base.isascii() and base.isdecimal() and int(base) in _BASES
    return set(range(int(base), int(base) + HCCL_PORTS)) if usable else set()


def ports_in(text: str) -> set[int]:
    """Ports of a list such as "16666,60000-60015"; words that are none ("auto") count for nothing."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if all(word.isascii() and word.isdecimal() for word in (first, last or first)):
            low, high = int(first), int(last or first)
            found.update(range(max(low, _PORTS.start), min(high + 1, _PORTS.stop)))
    return found


def _strangers(node: CheckedNode, replica: Replica, ports: Iterable[int]) -> Iterator[ListenerFacts]:
    ours = node.freed_for(replica)
    wanted = set(ports)
    for listener in node.facts.listeners:
        if listener.port in wanted and listener.container not in ours:
            yield listener


def _holder(listener: ListenerFacts) -> str:
    return process(listener.pid, listener.container, listener.command)
