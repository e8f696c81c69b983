"""The NPU network: each fault is one finding at the card that has it, whatever follows from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from npuctl.facts.model import NodeFacts
from npuctl.facts.reach import Outcome
from npuctl.plan.build import product_of
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks.network import findings
from npuctl.plan.model import Finding
from npuctl.plan.reach import Card
from npuctl.spec.models import ClusterSpec
from tests.making import network_of, node, on_network, reach_of, service_data, spec_of

BAD: Card = ("node-2", 3)
Says = Callable[[Card, Card], Outcome]


def judged(
    *nodes: NodeFacts,
    says: Says | None = None,
    required: bool = True,
    network: str = "auto",
    without: str = "",
) -> list[Finding]:
    facts = network_of(*nodes)
    spec: ClusterSpec = spec_of(service_data()).model_copy(update={"npu_network": network})
    checked = Checked(
        spec=spec,
        nodes=tuple(
            CheckedNode(name, found, product_of(found))
            for name, found in facts.nodes.items()
            if name != without
        ),
        reach=reach_of(facts, says) if says else None,
        network_required=required,
    )
    return list(findings(checked))


def said(found: list[Finding]) -> list[tuple[str, str, str, int | None]]:
    return [(finding.id, finding.severity, finding.node, finding.npu) for finding in found]


def ports_of(chips: Iterable[int], changes: dict[str, Any], *, which: str = "c") -> dict[str, Any]:
    """The same changes for several ports, as on_network takes them."""
    return {f"{which}{chip}": changes for chip in chips}


def all_ok(_source: Card, _peer: Card) -> Outcome:
    return "ok"


def bad_is_lost(source: Card, peer: Card) -> Outcome:
    return "lost" if BAD in (source, peer) else "ok"


@pytest.mark.parametrize("product", ["a2", "a3"])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_healthy_network_has_nothing_to_say(product: str, count: int) -> None:
    nodes = [on_network(index + 1, product) for index in range(count)]
    assert judged(*nodes, says=all_ok if count > 1 else None) == []


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a stale address": ("network.address", {"c3": {"address": "10.20.2.99"}}),
    "no address at all": (
        "network.unset",
        {
            "c3": {"address": "", "netmask": "", "net_health": "Init"},
            "saved_c3": {"address": "", "netmask": ""},
        },
    ),
    "an address that hccn.conf alone has": (
        "network.address",
        {"c3": {"address": "", "netmask": "", "net_health": "Init"}},
    ),
    "another netmask": ("network.address", {"c3": {"netmask": "255.255.255.0"}}),
    "the address of another card": (
        "network.duplicate",
        {"c3": {"address": "10.20.2.13"}, "saved_c3": {"address": "10.20.2.13"}},
    ),
    "the address of another node's card": (
        "network.duplicate",
        {"c3": {"address": "10.20.1.11"}, "saved_c3": {"address": "10.20.1.11"}},
    ),
    "a link that is down, with what follows": (
        "network.link",
        {"c3": {"link": "DOWN", "net_health": "Fault", "gateway": ""}},
    ),
    "a network that is not healthy": ("network.health", {"c3": {"net_health": "Receive timeout"}}),
    "a word that nobody knows": ("network.health", {"c3": {"net_health": "Weird"}}),
    "a gateway that is not the one of hccn.conf": ("network.gateway", {"c3": {"gateway": "10.20.250.1"}}),
    "a gateway that went away, and health with it": (
        "network.gateway",
        {"c3": {"gateway": "", "net_health": "Unreachable"}},
    ),
    "a gateway outside the network": (
        "network.gateway",
        {"c3": {"gateway": "10.99.0.1"}, "saved_c3": {"gateway": "10.99.0.1"}},
    ),
    "another TLS switch": ("network.tls", {"c3": {"tls_switch": 1}}),
    "another MTU": ("network.mtu", {"c3": {"mtu": 4200}}),
    "an address that is not saved": (
        "network.config",
        {"saved_c3": {"address": "", "netmask": "", "gateway": "", "detect_address": ""}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_one_finding_at_its_card(case: str) -> None:
    check, changes = CASES[case]
    nodes = [on_network(1), on_network(2, **changes), on_network(3)]
    lost = check not in {"network.mtu", "network.config"}  # small packets pass whatever the MTU is
    assert said(judged(*nodes, says=bad_is_lost if lost else all_ok)) == [(check, "error", "node-2", 3)]
    assert said(judged(*nodes, required=False, says=all_ok)) == [(check, "warning", "node-2", 3)]
    assert judged(*nodes, network="unused", says=bad_is_lost) == []


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        (
            {"c3": {"detect_address": "", "net_health": "Init"}, "saved_c3": {"detect_address": ""}},
            "no detect address",
        ),
        ({"c3": {"detect_address": "", "net_health": "Init"}}, "no detect address"),
        ({"c3": {"detect_address": "10.20.250.1", "net_health": "Unreachable"}}, "10.20.250.1"),
    ],
)
def test_a_detect_address_that_is_not_there_warns_and_never_refuses(
    changes: dict[str, Any], seen: str
) -> None:
    (finding,) = judged(on_network(1), on_network(2, **changes), says=all_ok)
    assert said([finding]) == [("network.detect", "warning", "node-2", 3)]
    assert seen in finding.seen


def test_health_that_was_not_probed_yet_warns() -> None:
    found = judged(on_network(1), on_network(2, c3={"net_health": "Init"}), says=all_ok)
    assert said(found) == [("network.health", "warning", "node-2", 3)]


def test_a_vnic_that_is_down_is_one_finding() -> None:
    nodes = [on_network(1, "a3"), on_network(2, "a3", c3={"vnic_link": "DOWN"})]
    assert said(judged(*nodes, says=bad_is_lost)) == [("network.vnic", "error", "node-2", 3)]


def test_on_an_a3_a_port_that_is_down_says_nothing_about_the_super_pod() -> None:
    nodes = [on_network(1, "a3"), on_network(2, "a3", c3={"link": "DOWN", "net_health": "Fault"})]
    assert said(judged(*nodes, says=all_ok)) == [("network.link", "error", "node-2", 3)]


def test_a_stale_address_that_another_card_has_names_that_card() -> None:
    (finding,) = judged(on_network(1), on_network(2, c3={"address": "10.20.1.15"}), says=bad_is_lost)
    assert finding.id == "network.address"
    assert "NPU 4 of node-1" in finding.seen


def test_a_line_of_hccn_conf_that_cannot_be_read_is_said_once_and_nothing_is_compared() -> None:
    broken = on_network(2, survey={"configured_ports": [], "hccn_conf_error": "line 3: not a setting"})
    found = judged(on_network(1), broken, says=all_ok)
    assert said(found) == [("network.config", "error", "node-2", None)]
    assert "line 3" in found[0].seen


def test_a_configuration_that_is_not_there_is_one_only_where_nodes_must_talk() -> None:
    gone = {"configured_ports": [], "unread": {"/etc/hccn.conf": "No such file or directory"}}
    nodes = (on_network(1), on_network(2, survey=gone))
    assert said(judged(*nodes, says=all_ok)) == [("network.config", "error", "node-2", None)]
    assert judged(*nodes, says=all_ok, required=False) == []


def test_a_minority_is_named_card_by_card_and_a_tie_names_both_sides() -> None:
    two = on_network(2, c0={"tls_switch": 1}, c7={"tls_switch": 1})
    assert [finding.npu for finding in judged(on_network(1), two, says=all_ok)] == [0, 7]
    half = on_network(2, **ports_of(range(8), {"tls_switch": 1}))
    (finding,) = judged(on_network(1), half, says=all_ok)
    assert said([finding]) == [("network.tls", "error", "", None)]
    assert finding.seen == "TLS switch 0 on node-1; 1 on node-2"
    mixed = on_network(1, **ports_of(range(4), {"mtu": 4200}))
    rest = on_network(2, **ports_of(range(4, 8), {"mtu": 4200}))
    (finding,) = judged(mixed, rest, says=all_ok)
    sides = finding.seen.split("; ")
    assert sides[0] == "MTU 1500 on NPU 4, 5, 6, 7 of node-1, NPU 0, 1, 2, 3 of node-2"
    assert sides[1] == "4200 on NPU 0, 1, 2, 3 of node-1, NPU 4, 5, 6, 7 of node-2"


BARE = {"address": "", "netmask": "", "gateway": "", "detect_address": ""}
UNCABLED = ports_of(range(8), {"link": "DOWN", "net_health": "Init", **BARE}) | ports_of(
    range(8), BARE, which="saved_c"
)


@pytest.mark.parametrize("count", [1, 3])
def test_servers_without_cables_are_in_order_where_no_network_is_needed(count: int) -> None:
    nodes = [on_network(index + 1, **UNCABLED) for index in range(count)]
    assert judged(*nodes, required=False) == []
    assert {finding.id for finding in judged(*nodes)} == {"network.link", "network.unset"}


def test_a_server_alone_is_judged_by_its_addresses_and_its_file() -> None:
    alone = on_network(
        1, c2={"link": "DOWN"}, c3={"address": "10.20.1.99"}, c4={"tls_switch": 1, "mtu": 9000}
    )
    assert said(judged(alone, required=False)) == [("network.address", "warning", "node-1", 3)]


def test_products_without_a_network_and_facts_without_a_survey_are_not_judged() -> None:
    duo = node("310p", survey=on_network(1, c3={"link": "DOWN"}).survey)
    assert judged(duo, duo, says=all_ok) == []
    assert judged(node("a2"), node("a2")) == []


def test_what_could_not_be_read_is_not_judged() -> None:
    silent = on_network(
        2,
        c3={"address": "", "netmask": "", "gateway": "", "net_health": "", "tls_switch": None, "mtu": None},
        survey={
            "unread": {f"chip 3: {question}": "it hung" for question in ("ip", "gateway", "net_health")},
            "configured_ports": on_network(2).survey.configured_ports,  # type: ignore[union-attr]
        },
    )
    assert judged(on_network(1), silent) == []


def test_a_node_whose_ports_gave_no_answer_is_said_once_with_the_cause() -> None:
    unread = {"chip 0: link": "hccn_tool is busy, please try again."} | {
        f"chip {chip}: {question}": "not asked: hccn_tool stayed busy"
        for chip in range(8)
        for question in ("ip", "gateway", "net_health", "netdetect")
    }
    silent = on_network(
        2, survey={"unread": unread}, **ports_of(range(8), {"link": "", "net_health": "", **BARE})
    )
    found = judged(on_network(1), silent, says=lambda source, _: "unread" if source[0] == "node-2" else "ok")
    assert said(found) == [("network.unread", "warning", "node-2", None)]
    assert "busy, please" in found[0].seen


def test_probes_without_figures_are_said_once_a_node() -> None:
    found = judged(
        on_network(1), on_network(2), says=lambda source, _: "unread" if source == ("node-2", 0) else "ok"
    )
    assert said(found) == [("network.unread", "warning", "node-2", None)]
    assert found[0].seen.startswith("8 of 64 probes gave no figures")


@pytest.mark.parametrize("nodes", [2, 4])
def test_a_card_that_nobody_reaches_is_named_and_not_the_others(nodes: int) -> None:
    found = judged(*(on_network(index + 1) for index in range(nodes)), says=bad_is_lost)
    assert said(found) == [("network.reach", "error", "node-2", 3)]
    asked = 8 * (nodes - 1)
    assert found[0].seen == (
        f"{asked} of {asked} probes to it and {asked} of {asked} from it lost; all others reach each other"
    )


def test_a_node_that_serves_nothing_is_not_judged_though_it_probed() -> None:
    nodes = [on_network(1), on_network(2, c3={"link": "DOWN"}), on_network(3)]
    assert judged(*nodes, says=bad_is_lost, without="node-2") == []
    assert said(judged(*nodes, says=bad_is_lost, without="node-3")) == [
        ("network.link", "error", "node-2", 3)
    ]


def test_a_card_with_a_cause_is_not_named_again_beside_one_without() -> None:
    other = ("node-3", 5)

    def says(source: Card, peer: Card) -> Outcome:
        return "lost" if {BAD, other} & {source, peer} else "ok"

    found = judged(on_network(1), on_network(2, c3={"link": "DOWN"}), on_network(3), says=says)
    assert said(found) == [("network.link", "error", "node-2", 3), ("network.reach", "error", "node-3", 5)]
    assert "all others" not in found[1].seen


@pytest.mark.parametrize(
    ("says", "where", "words"),
    [
        (lambda a, b: "node-2" in (a[0], b[0]), ("node-2", None), "128 of 128 probes to its NPUs"),
        (lambda a, b: {a[0], b[0]} == {"node-1", "node-3"}, ("node-1", None), "64 of 64 probes to node-3"),
        (lambda _a, _b: True, ("", None), "3 groups of nodes: node-1; node-2; node-3"),
        (
            lambda a, b: {a, b} == {BAD, ("node-1", 0)},
            ("node-1", None),
            "NPU 0 of node-1 and NPU 3 of node-2",
        ),
        (lambda a, b: (a, b) == (BAD, ("node-1", 0)), ("node-1", None), "NPU 3 of node-2 to NPU 0 of node-1"),
    ],
)
def test_what_is_wider_or_narrower_than_a_card_is_named_as_such(
    says: Callable[[Card, Card], bool], where: tuple[str, int | None], words: str
) -> None:
    nodes = [on_network(index + 1) for index in range(3)]
    found = judged(*nodes, says=lambda a, b: "lost" if says(a, b) else "ok")
    assert [(finding.id, finding.node, finding.npu) for finding in found] == [("network.reach", *where)]
    assert words in found[0].seen


def test_packets_lost_in_part_are_told_as_such() -> None:
    (finding,) = judged(on_network(1), on_network(2), says=lambda a, b: "partly" if BAD in (a, b) else "ok")
    assert "8 of 8 probes (8 of them in part) to it" in finding.seen


def test_every_remedy_names_the_node_or_a_command() -> None:
    for check, changes in CASES.values():
        (finding,) = judged(on_network(1), on_network(2, **changes), on_network(3))
        assert finding.id == check
        assert "hccn_tool -i" in finding.remedy
