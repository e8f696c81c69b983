"""Which NPU reaches which, as a matrix that people read, and as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from npuctl.facts.reach import Reach
from npuctl.plan.culprits import Break, name_breaks
from npuctl.plan.reach import Card, partners

_MARKS = {"ok": ".", "lost": "X", "partly": "~", "unread": "?"}
_LEGEND = "rows probe, columns answer:  . all packets back   ~ some lost   X all lost   ? no figures"
# So many columns fit beside the names on a screen of 100 characters, gaps between nodes included.
_WHOLE = 64
_MOST_ROWS = 40
_TOOLS = {"roce": "hccn_tool -ping", "hccs": "hccn_tool -hccs_ping", "mixed": "-ping and -hccs_ping"}


def reach_text(reach: Reach, *, whole: bool = False) -> str:
    """A line of totals; below it the matrix, when something did not come back, and what that points at.

    Args:
        reach: the probes.
        whole: the matrix of a healthy network as well.
    """
    return "\n".join(_lines(reach, whole=whole))


def reach_result(reach: Reach) -> dict[str, Any]:
    """Counts, every probe that did not come back whole, and what was found to be broken."""
    broken = [
        {
            "kind": found.kind,
            "nodes": list(found.nodes),
            "npu": found.chip,
            "to_lost": found.to.lost,
            "to_asked": found.to.asked,
            "from_lost": found.back.lost,
            "from_asked": found.back.asked,
        }
        for found in name_breaks(reach)
    ]
    return {**reach.model_dump(), "broken": broken}


def _lines(reach: Reach, *, whole: bool) -> Iterator[str]:
    if not reach.asked and not reach.skipped:
        return
    if not reach.ports:
        yield f"NPU network: nothing to probe: {'; '.join(dict.fromkeys(reach.skipped.values()))}"
        return
    yield _totals(reach)
    yield from (f"  {node} took no part: {why}" for node, why in reach.skipped.items())
    if reach.asked and (whole or reach.ok < reach.asked):
        breaks = name_breaks(reach)
        yield from (f"  {line}" for line in _matrix(reach, breaks))
        yield from (f"  {_broken(found)}" for found in breaks)


def _totals(reach: Reach) -> str:
    nodes = len({port.node for port in reach.ports})
    sample = f", a sample of {reach.pairs} pairs" if reach.sampled else ""
    again = f", {reach.repeated} of them at the second try" if reach.repeated else ""
    return (
        f"NPU network: {reach.ok} of {reach.asked} probes ok{again}, in {reach.seconds:.1f} s"
        f" ({len(reach.ports)} NPUs of {nodes} nodes{sample}; {_TOOLS[reach.plane]})"
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """What each probe said, and which were made."""

    said: dict[tuple[Card, Card], str]
    made: frozenset[tuple[Card, Card]]

    def mark(self, row: Card, column: Card) -> str:
        """One character; a blank where nothing was asked."""
        if (row, column) not in self.made:
            return " "
        return _MARKS[self.said.get((row, column), "ok")]


def _matrix(reach: Reach, breaks: Sequence[Break]) -> Iterator[str]:
    asked_of = set(reach.asked_of)
    cells = _Cells(
        {((p.node, p.chip), (p.peer_node, p.peer_chip)): p.outcome for p in reach.probes},
        frozenset(
            ((source.node, source.chip), (peer.node, peer.chip))
            for source, peer in partners(reach.ports, sampled=reach.sampled)
            if source.node in asked_of
        ),
    )
    bad = {(found.nodes[0], found.chip) for found in breaks if found.chip is not None}
    cards: list[Card] = [(port.node, port.chip) for port in reach.ports]
    rows, columns = cards, cards
    if len(cards) > _WHOLE:
        rows = _worst(cards, [source for source, _ in cells.said], bad, _MOST_ROWS)
        columns = _worst(cards, [peer for _, peer in cells.said], bad, _WHOLE)
    yield _LEGEND
    label = max(len(node) for node, _ in rows) if rows else 0
    margin = " " * (label + 8)
    yield margin + " ".join(_heading(node, len(own)) for node, own in _by_node(columns)).rstrip()
    yield margin + " ".join("".join(str(chip % 10) for _, chip in own) for _, own in _by_node(columns))
    for node, own_rows in _by_node(rows):
        for position, row in enumerate(own_rows):
            blocks = " ".join(
                "".join(cells.mark(row, column) for column in own) for _, own in _by_node(columns)
            )
            name = node if position == 0 else ""
            yield f"{name:<{label}} NPU{row[1]:>3} {blocks}{'  < bad' if row in bad else ''}".rstrip()
    if bad & set(columns):
        marks = (
            "".join("^" if column in bad else " " for column in own) for _, own in _by_node(columns)
        )  # fmt: skip
        yield margin + " ".join(marks).rstrip() + "  bad"
    if len(rows) < len(cards):
        yield f"only NPUs with lost probes are shown: {len(rows)} of {len(cards)} rows, {len(columns)} columns"


def _worst(cards: Sequence[Card], ends: Iterable[Card], bad: set[Card], most: int) -> list[Card]:
    """The cards that something was lost at, in their order; where those are too many, the worst."""
    counts: dict[Card, int] = {}
    for end in ends:
        counts[end] = counts.get(end, 0) + 1
    ranked = sorted(counts, key=lambda card: (card not in bad, -counts[card]))[:most]
    return [card for card in cards if card in set(ranked)]


def _by_node(cards: Sequence[Card]) -> list[tuple[str, list[Card]]]:
    return [(node, list(own)) for node, own in groupby(cards, key=lambda card: card[0])]


def _heading(node: str, width: int) -> str:
    """The node's name above its columns; the end of a name that is too long, where names differ."""
    return (node if len(node) <= width else node[-width:]).ljust(width)


def _broken(found: Break) -> str:
    to, back = f"{found.to.lost} of {found.to.asked}", f"{found.back.lost} of {found.back.asked}"
    if found.kind == "card":
        return f"bad: NPU {found.chip} of {found.nodes[0]}: {to} probes to it and {back} from it lost"
    if found.kind == "node":
        return f"bad: every NPU of {found.nodes[0]}: {to} probes to them and {back} from them lost"
    if found.kind == "islands":
        return "nothing passes between: " + " | ".join(", ".join(group) for group in found.islands)
    first, second = found.nodes
    return f"between {first} and {second}: {to} probes one way and {back} the other way lost"
