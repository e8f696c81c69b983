"""Ports against each other: an address that two have, settings that must be one everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from npuctl.plan.checks._majority import most_frequent
from npuctl.plan.checks.network._ports import Network, Port
from npuctl.plan.model import Finding
from npuctl.plan.reach import Card


def addresses_unique(network: Network) -> Iterator[Finding]:
    """No address twice."""
    owners: dict[str, Port] = {}
    for port in network.ports:
        if not port.now.address or port.card in network.blamed:
            continue
        first = owners.setdefault(port.now.address, port)
        if first is port:
            continue
        network.blamed.update((first.card, port.card))
        yield Finding(
            id="network.duplicate",
            severity=network.severity,
            node=port.node.name,
            npu=port.now.chip,
            seen=f"{port.now.address}, which NPU {first.now.chip} of {first.node.name} has as well",
            expected="an address of its own for every NPU of the cluster",
            remedy=f"{port.tool} -ip -s address A netmask M gives it another one; or give"
            f" NPU {first.now.chip} of {first.node.name} another one",
        )


def tls_alike(network: Network) -> Iterator[Finding]:
    """One TLS switch: an NPU that encrypts and one that does not cannot connect."""
    switches = {port.card: port.now.tls_switch for port in network.ports if port.now.tls_switch is not None}
    for odd in _odd_ones(switches):
        network.blamed.update((odd.card,) if odd.card else ())
        yield Finding(
            id="network.tls",
            severity=network.severity,
            node=odd.card[0] if odd.card else "",
            npu=odd.card[1] if odd.card else None,
            seen=f"TLS switch {odd.seen}",
            expected=f"the same TLS switch on every NPU{odd.majority}",
            remedy="hccn_tool -i N -tls -s enable 0 on the NPUs that differ (0 is what msprechecker"
            " expects), or 1 on all the others",
        )


def mtu_alike(network: Network) -> Iterator[Finding]:
    """One MTU: what is longer than the shorter one is lost."""
    sizes = {port.card: port.now.mtu for port in network.ports if port.now.mtu is not None}
    for odd in _odd_ones(sizes):
        yield Finding(
            id="network.mtu",
            severity=network.severity,
            node=odd.card[0] if odd.card else "",
            npu=odd.card[1] if odd.card else None,
            seen=f"MTU {odd.seen}",
            expected=f"the same MTU on every NPU{odd.majority}",
            remedy="hccn_tool -i N -mtu -s size S on the NPUs that differ; the switch must carry that size",
        )


@dataclass(frozen=True, slots=True)
class _Odd:
    """A card that differs from most; or, without a majority, all sides in one."""

    card: Card | None
    seen: str
    majority: str


def _odd_ones(values: dict[Card, int]) -> Iterator[_Odd]:
    """The minority, card by card; where two values are equally common, one entry that names both sides."""
    usual = most_frequent(values.values())
    if len(usual) > 1:
        sides = (
            f"{value} on {_named([card for card in values if values[card] == value], values)}"
            for value in sorted(set(values.values()))
        )
        yield _Odd(None, "; ".join(sides), "")
        return
    for card, value in values.items():
        if value not in usual:
            count = sum(other in usual for other in values.values())
            yield _Odd(card, str(value), f": {usual[0]}, as {count} of {len(values)} have")


def _named(cards: list[Card], every: Iterable[Card]) -> str:
    """Cards in words; a node whose cards are all among them by its name."""
    whole = Counter(node for node, _ in every)
    words = []
    for node, count in Counter(node for node, _ in cards).items():
        chips = ", ".join(str(chip) for owner, chip in cards if owner == node)
        words.append(node if count == whole[node] else f"NPU {chips} of {node}")
    return ", ".join(words)
