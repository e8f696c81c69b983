"""What the probes between the NPUs point at: a card, a node, or the way between two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from npuctl.facts.reach import Reach
from npuctl.plan.checks.network._ports import Network
from npuctl.plan.culprits import Break, Tally, name_breaks
from npuctl.plan.model import Finding
from npuctl.plan.wording import several

_MOST_NAMED = 4


def peers_reached(reach: Reach, network: Network, judged: Collection[str]) -> Iterator[Finding]:
    """What probes between the judged nodes got lost at; others may have probed, and serve nothing."""
    others = {(port.node, port.chip) for port in reach.ports if port.node not in judged}
    breaks = name_breaks(reach, explained=network.blamed | others)
    only = len(breaks) == 1 and not network.blamed
    for found in breaks:
        yield Finding(
            id="network.reach",
            severity=network.severity,
            node="" if found.kind == "islands" else found.nodes[0],
            npu=found.chip,
            seen=_SEEN[found.kind](found) + (_OTHERS[found.kind] if only else ""),
            expected="every NPU reaches every NPU of the other nodes",
            remedy=_remedy(found, reach),
        )


def _seen_card(found: Break) -> str:
    return f"{_said(found.to)} to it and {_said(found.back, short=True)} from it lost"


def _seen_node(found: Break) -> str:
    return f"{_said(found.to)} to its NPUs and {_said(found.back, short=True)} from them lost"


def _seen_islands(found: Break) -> str:
    groups = "; ".join(several(group, _MOST_NAMED) for group in found.islands)
    return f"nothing passes between {len(found.islands)} groups of nodes: {groups} ({_said(found.to)} lost)"


def _seen_nodes(found: Break) -> str:
    other = found.nodes[1]
    return f"{_said(found.to)} to {other} and {_said(found.back, short=True)} from {other} lost"


def _seen_pairs(found: Break) -> str:
    both = {(a, b) for a, b in found.pairs if (b, a) in found.pairs}
    pairs = [
        f"NPU {a[1]} of {a[0]} {'and' if (a, b) in both else 'to'} NPU {b[1]} of {b[0]}"
        for a, b in found.pairs
        if (a, b) not in both or a < b
    ]
    return f"lost between cards that reach all others: {several(pairs, _MOST_NAMED)}"


_SEEN: dict[str, Callable[[Break], str]] = {
    "card": _seen_card,
    "node": _seen_node,
    "islands": _seen_islands,
    "nodes": _seen_nodes,
    "pairs": _seen_pairs,
}


_OTHERS = {
    "card": "; all others reach each other",
    "node": "; the other nodes reach each other",
    "islands": "",
    "nodes": "; all others reach each other",
    "pairs": "",
}


def _said(tally: Tally, *, short: bool = False) -> str:
    partly = f" ({tally.partly} of them in part)" if tally.partly else ""
    return f"{tally.lost} of {tally.asked}{'' if short else ' probes'}{partly}"


def _remedy(found: Break, reach: Reach) -> str:
    if found.kind == "card":
        own = next(port for port in reach.ports if (port.node, port.chip) == (found.nodes[0], found.chip))
        return (
            f"look after cable, optical module and switch port of that NPU ({own.address}); on another node:"
            f" hccn_tool -i 0 -ping -g address {own.address} shows whether it helped"
        )
    if found.kind == "pairs":
        return (
            "probe that pair again; if it stays, the switch forwards this pair of ports wrongly (hash, ACL)"
        )
    return "look after the switch between them, its VLAN and the routes between their NPU networks"
