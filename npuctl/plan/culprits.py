"""Lost probes → what is broken: a card, a node, or the way between two. Pure.

The greediest explanation first: whatever loses nearly all of its probes, in one direction or in both, is
named and its probes set aside; then the rest is looked at again. So one bad card of 32 is named once, and the
31 others that each lost one probe to it are not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from npuctl.facts.reach import Reach
from npuctl.plan.reach import Card, partners

Edge = tuple[Card, Card]

# "Nearly all": of a card that is bad the odd probe may come back, and one of its peers may be bad as well.
_CARD_SHARE = 0.8
_NODE_SHARE = 0.9
_LEAST = 2  # one lost probe says nothing about which of its ends is bad; nor is one card a whole node


@dataclass(frozen=True, slots=True)
class Tally:
    """Probes in one direction: `lost` counts those that lost packets, all or some; `partly` the latter."""

    asked: int = 0
    lost: int = 0
    partly: int = 0

    @property
    def share(self) -> float:
        """Lost of asked; 0 where too few were asked to tell."""
        return self.lost / self.asked if self.asked >= _LEAST else 0.0


@dataclass(frozen=True, slots=True)
class Break:
    """Something that probes get lost at.

    Attributes:
        kind: "card": one NPU; "node": all NPUs of one node; "islands": groups of nodes between which nothing
            passes; "nodes": the way between two nodes; "pairs": some pairs of cards of two nodes.
        nodes: the nodes concerned; those of "nodes" and "pairs" are two, in order.
        chip: of a card.
        to: probes to it; of two nodes, those from the first to the second; of islands, those between them.
        back: probes from it; of two nodes, those from the second to the first.
        pairs: the lost ones between two nodes.
        islands: nodes that reach each other, group by group.
    """

    kind: Literal["card", "node", "islands", "nodes", "pairs"]
    nodes: tuple[str, ...]
    to: Tally
    back: Tally = Tally()
    chip: int | None = None
    pairs: tuple[Edge, ...] = field(default=())
    islands: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def share(self) -> float:
        """The share of what is lost in the worse direction."""
        return max(self.to.share, self.back.share)


def name_breaks(reach: Reach, *, explained: Collection[Card] = ()) -> list[Break]:
    """What is broken: the widest first, single pairs last.

    Args:
        reach: the probes.
        explained: cards that something else was found at: what they lose is no news.
    """
    net = _Net.of(reach, set(explained))
    found: list[Break] = []
    while culprit := net.islands() or net.worst_node() or net.worst_card():
        found.append(culprit)
        net = net.without(culprit)
    return [*found, *net.ways()]


@dataclass(frozen=True, slots=True)
class _Net:
    """The probes that are not set aside; `lost` says of each lost one whether some packets came back."""

    asked: tuple[Edge, ...]
    lost: dict[Edge, bool]

    @classmethod
    def of(cls, reach: Reach, explained: Collection[Card]) -> _Net:
        unread: set[Edge] = set()
        lost: dict[Edge, bool] = {}
        for probe in reach.probes:
            edge = ((probe.node, probe.chip), (probe.peer_node, probe.peer_chip))
            if probe.outcome == "unread":
                unread.add(edge)
            else:
                lost[edge] = probe.outcome == "partly"
        asked_of = set(reach.asked_of)
        edges = (
            ((source.node, source.chip), (peer.node, peer.chip))
            for source, peer in partners(reach.ports, sampled=reach.sampled)
            if source.node in asked_of
        )
        read = tuple(edge for edge in edges if edge not in unread)
        return cls(read, lost).keep(edge for edge in read if not any(end in explained for end in edge))

    def keep(self, edges: Iterable[Edge]) -> _Net:
        """These probes alone."""
        asked = tuple(edges)
        return _Net(asked, {edge: self.lost[edge] for edge in asked if edge in self.lost})

    def without(self, culprit: Break) -> _Net:
        """The probes that the culprit does not explain."""
        if culprit.kind == "islands":
            island = {node: at for at, nodes in enumerate(culprit.islands) for node in nodes}
            return self.keep(edge for edge in self.asked if island[edge[0][0]] == island[edge[1][0]])
        if culprit.kind == "card":
            card = (culprit.nodes[0], culprit.chip)
            return self.keep(edge for edge in self.asked if card not in edge)
        node = culprit.nodes[0]
        return self.keep(edge for edge in self.asked if node not in (edge[0][0], edge[1][0]))

    def islands(self) -> Break | None:
        """Groups of nodes between which nothing passes; not one node alone: that one is to blame itself."""
        if not self.lost:
            return None
        groups = self._groups()
        several = sum(len(group) >= _LEAST for group in groups)
        if len(groups) < _LEAST or (several < _LEAST and several > 0):
            return None
        home = {node: at for at, group in enumerate(groups) for node in group}
        between = self._tally(edge for edge in self.asked if home[edge[0][0]] != home[edge[1][0]])
        if between.lost == 0:  # never probed each other: nothing is known
            return None
        return Break("islands", tuple(home), between, islands=groups)

    def _groups(self) -> tuple[tuple[str, ...], ...]:
        """Nodes joined by probes that came back, in either direction."""
        leader = {node: node for at in (0, 1) for node in (edge[at][0] for edge in self.asked)}

        def find(node: str) -> str:
            while leader[node] != node:
                leader[node] = leader[leader[node]]
                node = leader[node]
            return node

        for edge in self.asked:
            if edge not in self.lost:
                leader[find(edge[1][0])] = find(edge[0][0])
        groups: dict[str, list[str]] = {}
        for node in leader:
            groups.setdefault(find(node), []).append(node)
        return tuple(tuple(group) for group in groups.values())

    def worst_node(self) -> Break | None:
        """The node all of whose cards lose nearly all, when others do not."""
        if not self.lost:
            return None
        cards = self._cards()
        nodes = list(dict.fromkeys(card[0] for card in cards))
        bad = [
            found
            for node in nodes
            if len(own := [tally for card, tally in cards.items() if card[0] == node]) >= _LEAST
            and (found := Break("node", (node,), _sum(t for t, _ in own), _sum(b for _, b in own))).share
            >= _NODE_SHARE
        ]
        return max(bad, key=_weight) if len(bad) < len(nodes) and bad else None

    def worst_card(self) -> Break | None:
        """The card that loses nearly all, when its peers do not."""
        if not self.lost:
            return None
        suspects = {end for edge in self.lost for end in edge}
        breaks = [
            Break("card", (card[0],), to, back, card[1])
            for card, (to, back) in self._cards().items()
            if card in suspects
        ]
        worst = max(breaks, key=_weight)
        return worst if worst.share >= _CARD_SHARE and not self._one_way() else None

    def _one_way(self) -> bool:
        """Two nodes are left, and nearly everything from one to the other is lost: no card stands out."""
        nodes = sorted({end[0] for edge in self.asked for end in edge})
        return (
            len(nodes) == _LEAST
            and max(way.share for way in self._ways_of(nodes[0], nodes[1])) >= _NODE_SHARE
        )

    def ways(self) -> Iterator[Break]:
        """What is left, by pairs of nodes."""
        for first, second in sorted({_ordered(edge) for edge in self.lost}):
            to, back = self._ways_of(first, second)
            pairs = tuple(edge for edge in sorted(self.lost) if _ordered(edge) == (first, second))
            apart = max(to.share, back.share) >= _NODE_SHARE
            yield Break("nodes" if apart else "pairs", (first, second), to, back, pairs=pairs)

    def _ways_of(self, first: str, second: str) -> tuple[Tally, Tally]:
        return (
            self._tally(edge for edge in self.asked if (edge[0][0], edge[1][0]) == (first, second)),
            self._tally(edge for edge in self.asked if (edge[0][0], edge[1][0]) == (second, first)),
        )

    def _tally(self, edges: Iterable[Edge]) -> Tally:
        own = list(edges)
        lost = [self.lost[edge] for edge in own if edge in self.lost]
        return Tally(len(own), len(lost), sum(lost))

    def _cards(self) -> dict[Card, tuple[Tally, Tally]]:
        """Card → probes to it and from it."""
        to: dict[Card, list[Edge]] = {}
        back: dict[Card, list[Edge]] = {}
        for edge in self.asked:
            back.setdefault(edge[0], []).append(edge)
            to.setdefault(edge[1], []).append(edge)
        return {
            card: (self._tally(to.get(card, ())), self._tally(back.get(card, ())))
            for card in sorted({*to, *back})
        }


def _sum(tallies: Iterable[Tally]) -> Tally:
    own = list(tallies)
    return Tally(sum(t.asked for t in own), sum(t.lost for t in own), sum(t.partly for t in own))


def _ordered(edge: Edge) -> tuple[str, str]:
    first, second = sorted((edge[0][0], edge[1][0]))
    return first, second


def _weight(culprit: Break) -> tuple[float, int]:
    """The share of what is lost, then how much that is: the higher, the likelier it is to blame."""
    return culprit.share, culprit.to.lost + culprit.back.lost
