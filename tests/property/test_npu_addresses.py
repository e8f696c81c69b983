"""Addresses of NPU ports, for clusters that nobody thought of."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from npuctl.plan.provision._contract import Node, Work
from npuctl.plan.provision.npu_network import work
from npuctl.spec.machines import AddressPool, address_in, reserved_in
from npuctl.spec.parse import SpecError
from tests.npu_ports import addresses_on, after_work, bare, wish, with_conf, with_ports

NAMES = ("node-a", "node-b", "node-c", "node-d")
# Few enough that ports have the same one, one that is reserved, or one from elsewhere.
ADDRESSES = [f"10.20.0.{number}" for number in (0, 1, 2, 3, 5, 9, 30, 31)] + [
    "10.21.0.1",
    "10.21.0.2",
    "10.99.0.1",
]
Card = tuple[str, int]


@st.composite
def pools(draw: st.DrawFn, count: int) -> list[dict[str, Any]]:
    """Subnets that are roomy or tight, with and without gateway, detect address and first."""
    made = []
    for number in range(count):
        network = ipaddress.IPv4Network(f"10.{20 + number}.0.0/{draw(st.sampled_from([26, 27, 28, 16]))}")
        pool: dict[str, Any] = {"network": str(network)}
        for key in ("gateway", "detect", "first"):
            if draw(st.booleans()):
                pool[key] = str(network[draw(st.sampled_from([1, 2, 5, -2]))])
        made.append(pool)
    return made


@st.composite
def node(draw: st.DrawFn, name: str, product: str) -> Node:
    """A node whose ports have what was left on them."""
    made = bare(name, product, count=draw(st.sampled_from([2, 4, 8])))
    some = st.dictionaries(st.integers(0, 7), st.sampled_from(ADDRESSES), max_size=4)
    for save in (True, False):
        settings = {
            chip: {"address": address, "netmask": "255.255.0.0"} for chip, address in draw(some).items()
        }
        made = with_ports(made, settings, save=save)
    hidden = {chip: {"address": address, "netmask": "255.255.0.0"} for chip, address in draw(some).items()}
    return with_conf(made, hidden) if draw(st.booleans()) else made


@st.composite
def clusters(draw: st.DrawFn) -> tuple[dict[str, Any], list[Node]]:
    """A spec that can be meant, and the nodes that answer."""
    product = draw(st.sampled_from(["a2", "a3"]))
    spec: dict[str, Any] = {"pools": draw(pools(2 if product == "a3" else 1))}
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    if draw(st.booleans()):
        chips = st.dictionaries(st.integers(0, 1), st.sampled_from(ADDRESSES), max_size=2)
        spec["nodes"] = {name: draw(chips) for name in names[:2]}
    return spec, [draw(node(name, product)) for name in sorted(names)]


def carried_out(spec: dict[str, Any], nodes: list[Node], *names: str) -> tuple[list[Work], list[Node]]:
    """One provisioning; specs that are refused are none of these statements' business."""
    try:
        asked = wish(spec, *(names or tuple(one.name for one in nodes)))
    except SpecError:
        assume(False)
        raise
    works = work(asked, nodes)
    return works, after_work(nodes, works)


def set_by(works: list[Work]) -> dict[Card, dict[str, Any]]:
    return {
        (made.node, port["chip"]): port
        for made in works
        if made.changes
        for port in made.variables["npu_network_ports"]
    }


@given(clusters())
def test_no_address_is_set_twice_or_outside_its_pool_or_is_a_reserved_one(
    cluster: tuple[dict[str, Any], list[Node]],
) -> None:
    spec, nodes = cluster
    works, after = carried_out(spec, nodes)
    chosen = set_by(works)
    all_pools = [AddressPool.model_validate(pool) for pool in spec["pools"]]
    for (_name, chip), port in chosen.items():
        pool = all_pools[chip % len(all_pools)]
        assert address_in(port["address"], pool)
        assert not any(port["address"] in reserved_in(other) for other in all_pools)
    shown = addresses_on(after)
    for card in chosen:
        same = [other for other, address in shown.items() if address == shown[card]]
        assert same == [card]


@given(clusters())
def test_a_second_provisioning_has_nothing_to_do(cluster: tuple[dict[str, Any], list[Node]]) -> None:
    spec, nodes = cluster
    works, after = carried_out(spec, nodes)
    assume(not any(made.findings for made in works))
    again, _ = carried_out(spec, after)
    assert [made for made in again if made.changes or made.findings] == []


@given(clusters(), st.sampled_from(NAMES))
def test_a_node_that_comes_or_goes_or_is_silent_moves_nobody(
    cluster: tuple[dict[str, Any], list[Node]], name: str
) -> None:
    spec, nodes = cluster
    first = [one for one in nodes if one.name != name]
    assume(first)
    works, after = carried_out(spec, first)
    assume(not any(made.findings for made in works))
    before = addresses_on(after)
    newcomers = [one for one in nodes if one.name == name]
    together = sorted([*after, *newcomers], key=lambda one: one.name)
    _, grown = carried_out(spec, together)
    assert {card: address for card, address in addresses_on(grown).items() if card[0] != name} == before
    silent, _ = carried_out(spec, after, *sorted({name, *(one.name for one in after)}))
    assert set_by(silent) == {}
    fewer, _ = carried_out(spec, after[1:]) if len(after) > 1 else ([], [])
    assert set_by(fewer) == {}


@given(clusters())
def test_who_is_refused_changes_nothing(cluster: tuple[dict[str, Any], list[Node]]) -> None:
    spec, nodes = cluster
    works, _ = carried_out(spec, nodes)
    refused = [made for made in works if any(finding.refuses for finding in made.findings)]
    assert all(made.changes == () for made in refused)
