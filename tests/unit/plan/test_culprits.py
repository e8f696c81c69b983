"""Lost probes are traced to what is broken: the bad card and not its pairs, the node and not its cards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuctl.facts.reach import Outcome
from npuctl.plan.culprits import Break, name_breaks
from npuctl.plan.reach import Card
from tests.making import network_of, on_network, reach_of

BAD: Card = ("node-2", 3)


def breaks(
    nodes: int, lost: Callable[[Card, Card], bool], *, count: int = 8, explained: set[Card] | None = None
) -> list[Break]:
    facts = network_of(*(on_network(index + 1, count=count) for index in range(nodes)))
    reach = reach_of(facts, lambda source, peer: "lost" if lost(source, peer) else "ok")
    return name_breaks(reach, explained=explained or set())


def named(found: list[Break]) -> list[tuple[str, tuple[str, ...], int | None]]:
    return [(entry.kind, entry.nodes, entry.chip) for entry in found]


@pytest.mark.parametrize("nodes", [2, 3, 4, 8, 12, 64])
@pytest.mark.parametrize("direction", ["to", "from", "both"])
def test_one_bad_card_is_named_alone(nodes: int, direction: str) -> None:
    def lost(source: Card, peer: Card) -> bool:
        return (direction != "from" and peer == BAD) or (direction != "to" and source == BAD)

    (found,) = breaks(nodes, lost)
    assert named([found]) == [("card", ("node-2",), 3)]
    assert found.to.lost == (found.to.asked if direction != "from" else 0)
    assert found.back.lost == (found.back.asked if direction != "to" else 0)


def test_nothing_lost_is_nothing_named() -> None:
    assert breaks(4, lambda _source, _peer: False) == []


def test_a_bad_card_of_which_a_probe_comes_back_is_named_all_the_same() -> None:
    (found,) = breaks(4, lambda source, peer: BAD in (source, peer) and ("node-1", 0) not in (source, peer))
    assert (found.kind, found.chip, found.to.lost, found.to.asked) == ("card", 3, 23, 24)


@settings(deadline=None, max_examples=60)
@given(
    nodes=st.sampled_from([2, 4, 9, 16]),
    bad=st.sets(st.tuples(st.integers(1, 16), st.integers(0, 7)), min_size=1, max_size=3),
)
def test_a_few_bad_cards_are_all_named_and_no_other(nodes: int, bad: set[tuple[int, int]]) -> None:
    cards = {(f"node-{1 + number % nodes}", chip) for number, chip in bad}
    found = breaks(nodes, lambda source, peer: source in cards or peer in cards)
    assert {(entry.nodes[0], entry.chip) for entry in found} == cards
    assert {entry.kind for entry in found} == {"card"}


@pytest.mark.parametrize("nodes", [3, 4, 9, 64])
def test_a_node_all_of_whose_cards_are_lost_is_named_as_one(nodes: int) -> None:
    found = breaks(nodes, lambda source, peer: "node-2" in (source[0], peer[0]))
    assert named(found) == [("node", ("node-2",), None)]


def test_two_nodes_that_reach_nobody_beside_two_that_do_are_both_named() -> None:
    gone = {"node-2", "node-3"}
    found = breaks(4, lambda source, peer: bool(gone & {source[0], peer[0]}))
    assert named(found) == [("node", ("node-2",), None), ("node", ("node-3",), None)]


def test_of_two_nodes_neither_is_blamed_for_the_way_between_them() -> None:
    (found,) = breaks(2, lambda _source, _peer: True)
    assert (found.kind, found.islands) == ("islands", (("node-1",), ("node-2",)))


def test_a_way_that_is_open_in_one_direction_is_named_with_the_direction() -> None:
    (found,) = breaks(2, lambda source, _peer: source[0] == "node-1")
    assert (found.kind, found.nodes, found.to.lost, found.back.lost) == ("nodes", ("node-1", "node-2"), 64, 0)


def test_two_nodes_of_three_that_do_not_reach_each_other() -> None:
    found = breaks(3, lambda source, peer: {source[0], peer[0]} == {"node-1", "node-3"})
    assert named(found) == [("nodes", ("node-1", "node-3"), None)]


@pytest.mark.parametrize(("nodes", "half"), [(4, 2), (8, 3), (64, 32)])
def test_a_cluster_in_two_parts_is_two_islands(nodes: int, half: int) -> None:
    def side(card: Card) -> bool:
        return int(card[0].removeprefix("node-")) <= half

    (found,) = breaks(nodes, lambda source, peer: side(source) != side(peer))
    assert found.kind == "islands"
    assert sorted(len(island) for island in found.islands) == sorted([half, nodes - half])


def test_a_bad_card_in_a_cluster_of_two_parts_is_named_as_well() -> None:
    def lost(source: Card, peer: Card) -> bool:
        left = {"node-1", "node-2"}
        return (source[0] in left) != (peer[0] in left) or BAD in (source, peer)

    assert [entry.kind for entry in breaks(4, lost)] == ["islands", "card"]


def test_a_pair_of_good_cards_is_named_as_a_pair() -> None:
    (found,) = breaks(3, lambda source, peer: {source, peer} == {BAD, ("node-1", 0)})
    assert (found.kind, found.nodes) == ("pairs", ("node-1", "node-2"))
    assert set(found.pairs) == {(BAD, ("node-1", 0)), (("node-1", 0), BAD)}


def test_one_card_a_node_is_not_judged_by_one_probe() -> None:
    (found,) = breaks(2, lambda source, _peer: source[0] == "node-1", count=1)
    assert found.kind == "pairs"


def test_what_is_explained_is_not_named_and_does_not_hide_the_rest() -> None:
    other = ("node-3", 5)

    def lost(source: Card, peer: Card) -> bool:
        return bool({BAD, other} & {source, peer})

    assert named(breaks(4, lost, explained={BAD})) == [("card", ("node-3",), 5)]
    assert breaks(4, lost, explained={BAD, other}) == []


@pytest.mark.parametrize(("outcome", "kinds"), [("partly", ["card"]), ("unread", [])])
def test_packets_lost_in_part_count_and_probes_without_figures_do_not(
    outcome: Outcome, kinds: list[str]
) -> None:
    facts = network_of(*(on_network(index + 1) for index in range(3)))
    reach = reach_of(facts, lambda source, peer: outcome if BAD in (source, peer) else "ok")
    found = name_breaks(reach)
    assert [entry.kind for entry in found] == kinds
    assert [entry.to.partly for entry in found] == ([16] if kinds else [])
