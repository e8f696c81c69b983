"""Network interfaces of the host: those that the engines are told to use, and their MTU."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from npuctl.facts.survey import NicFacts
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks._majority import most_frequent
from npuctl.plan.model import Finding, Replica, Severity

_INTERFACES = "_SOCKET_IFNAME"
_HCCL_INTERFACES = "HCCL_SOCKET_IFNAME"
_HCCL_ADDRESS = "HCCL_IF_IP"
# vllm-ascend's multi-node guides and vLLM's envs: each must be an address of the node itself.
_ADDRESSES = (_HCCL_ADDRESS, "VLLM_HOST_IP")
_NOT_BETWEEN_NODES = {"loopback", "bridge"}


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the network interfaces of every node."""
    for node in checked.nodes:
        nics = node.survey.host.nics if node.survey else []
        if nics:
            for replica in node.replicas:
                yield from _interfaces_there(node, replica, nics)
                yield from _addresses_owned(node, replica, nics)
    yield from _same_mtu(checked)


def _interfaces_there(node: CheckedNode, replica: Replica, nics: list[NicFacts]) -> Iterator[Finding]:
    env = replica.container.env
    for variable, value in sorted(env.items()):
        if not variable.endswith(_INTERFACES) or (variable == _HCCL_INTERFACES and _HCCL_ADDRESS in env):
            continue  # HCCL_IF_IP goes before HCCL_SOCKET_IFNAME (CANN, environment variables)
        meant = interfaces_meant(value, nics) if variable == _HCCL_INTERFACES else _named(value, nics)
        if any(nic.up for nic in meant):
            continue
        down = ", ".join(nic.name for nic in meant)
        usable = ", ".join(nic.name for nic in nics if nic.up and nic.kind != "loopback")
        yield Finding(
            id="nic.absent",
            severity=_severity(variable, replica),
            node=node.name,
            seen=f"{variable}={value}: {down} is down" if down else f"{variable}={value}: no such interface",
            expected=f"an interface that is up: {usable or 'there is none'}",
            remedy=f"set {variable} in the service's env to the interface between the nodes; `ip -br addr` lists them",
            service=replica.service,
        )


def interfaces_meant(value: str, nics: list[NicFacts]) -> list[NicFacts]:
    """Interfaces that HCCL_SOCKET_IFNAME allows.

    CANN, environment variables: "eth,enp" are prefixes, "=eth0,enp0" names, "^" before either excludes.
    """
    excludes, exact = value.startswith("^"), value.removeprefix("^").startswith("=")
    words = [word for word in value.removeprefix("^").removeprefix("=").split(",") if word]

    def fits(name: str) -> bool:
        return name in words if exact else name.startswith(tuple(words))

    return [nic for nic in nics if fits(nic.name) != excludes and (not excludes or nic.kind != "loopback")]


def _named(value: str, nics: list[NicFacts]) -> list[NicFacts]:
    """Interfaces that Gloo and TensorPipe would use: names, comma-separated."""
    return [nic for nic in nics if nic.name in value.split(",")]


def _addresses_owned(node: CheckedNode, replica: Replica, nics: list[NicFacts]) -> Iterator[Finding]:
    for variable in _ADDRESSES:
        value = replica.container.env.get(variable, "")
        if value and not any(_same(value, address) for nic in nics for address in nic.addresses):
            yield Finding(
                id="nic.address",
                severity=_severity(variable, replica),
                node=node.name,
                seen=f"{variable}={value} is no address of this node",
                expected=f"one of {', '.join(_global_addresses(nics)) or 'its addresses'}",
                remedy=f"take {variable} out of the service's env: one value cannot fit several nodes;"
                " or name the interface by HCCL_SOCKET_IFNAME",
                service=replica.service,
            )


def _severity(variable: str, replica: Replica) -> Severity:
    """One chip talks to nobody: HCCL never looks at its variables then."""
    return "warning" if variable.startswith("HCCL_") and len(replica.chips) == 1 else "error"


def _same_mtu(checked: Checked) -> Iterator[Finding]:
    """Where the nodes' interfaces differ, large packets are lost on the way and small ones are not."""
    found = {node.name: nic for node in checked.nodes if (nic := _between_nodes(node)) is not None}
    sizes = [nic.mtu for nic in found.values()]
    usual = [mtu for mtu in most_frequent(sizes) if 2 * sizes.count(mtu) > len(sizes)]  # more than half
    for name, nic in found.items():
        if nic.mtu not in usual:
            others = ", ".join(str(mtu) for mtu in usual or sorted(set(sizes) - {nic.mtu}))
            yield Finding(
                id="nic.mtu",
                severity="warning",
                node=name,
                seen=f"{nic.name} has MTU {nic.mtu}; {'most other' if usual else 'other'} nodes have {others}",
                expected="one MTU on all nodes, and on the switches between them",
                remedy=f"ip link set dev {nic.name} mtu {others.split(', ')[0]}; and in the system's network configuration",
            )


def _between_nodes(node: CheckedNode) -> NicFacts | None:
    """The interface that carries the node's address: the inventory's, else its name's, else the first one."""
    host = node.survey.host if node.survey else None
    if host is None:
        return None
    candidates = [nic for nic in host.nics if nic.up and nic.mtu and nic.kind not in _NOT_BETWEEN_NODES]
    wanted = [node.address, *host.hostname_addresses]
    for address in wanted:
        for nic in candidates:
            if any(_same(address, own) for own in nic.addresses):
                return nic
    return next((nic for nic in candidates if _global_addresses([nic])), None)


def _global_addresses(nics: list[NicFacts]) -> list[str]:
    return [
        address
        for nic in nics
        for address in nic.addresses
        if (parsed := _parsed(address)) and not (parsed.is_loopback or parsed.is_link_local)
    ]


def _same(one: str, other: str) -> bool:
    parsed = _parsed(one)
    return parsed is not None and parsed == _parsed(other)


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
