"""Who gets which address in the NPU network, what differs, what refuses, what is taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.model import ContainerFacts, HolderFacts
from npuctl.facts.setup import TextFile
from npuctl.facts.survey import Survey
from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.provision._contract import Node, Work
from npuctl.plan.provision.npu_network import questions, refuse_unknown_nodes, work
from npuctl.spec.parse import SpecError
from tests.making import service_data
from tests.npu_ports import (
    ONE_SUBNET,
    TWO_PLANES,
    addresses_of,
    addresses_on,
    after_work,
    bare,
    facts_with,
    spec_with,
    wish,
    with_conf,
    with_ports,
)

NAMES = ("node-1", "node-2", "node-3")


def ids(works: list[Work]) -> list[tuple[str, str]]:
    return [(finding.node, finding.id) for made in works for finding in made.findings]


def changes(works: list[Work], node: str = "node-1") -> dict[str, tuple[str, str]]:
    return {
        change.what: (change.was, change.wanted)
        for made in works
        if made.node == node
        for change in made.changes
    }


BROKEN: list[dict[str, Any]] = [
    {"cluster": "prod"},
    {"ports": {}},
    {"cluster": "prod", "ports": {"zero": {}}},
    {"cluster": "prod", "ports": {"0": ["address"]}},
    {"cluster": "prod", "ports": {"0": {"address": "10.20.0.1"}}},
    {"cluster": "prod", "ports": {"0": {"address": {"ran": None, "saved": None}}}},
    {"cluster": "prod", "ports": {"0": {"address": {"ran": 1, "saved": None, "ours": "10.20.0.1"}}}},
]


def noting(node: Node, record: dict[str, Any]) -> Node:
    setup = node.setup.model_copy(update={"records": {"npu_network": record}})
    return Node(node.name, node.facts, setup)


def settled(*nodes: Node, spec: Any = None) -> list[Node]:
    """The nodes after one provisioning."""
    asked = wish(spec or ONE_SUBNET, *(node.name for node in nodes))
    return after_work(nodes, work(asked, nodes))


def container(*chips: int, mounts: tuple[str, ...] = (), **more: Any) -> ContainerFacts:
    planned = {
        "devices": [f"/dev/davinci{chip}" for chip in chips] + ["/dev/davinci_manager"],
        "mounts": [{"source": path} for path in mounts],
    }
    own = {"name": "npuctl-prod-chat-0", "id": "a", "image": "i", "state": "running", "service": "chat"}
    return ContainerFacts.model_validate({**own, "spec": json.dumps(planned), **more})


# Giving


def test_one_pool_is_filled_node_by_node_and_everything_is_set() -> None:
    works = work(wish(ONE_SUBNET, "node-1", "node-2"), [bare("node-1"), bare("node-2")])
    assert addresses_of(works) == {
        "node-1": [f"10.20.0.{number}" for number in range(1, 9)],
        "node-2": [f"10.20.0.{number}" for number in range(9, 17)],
    }
    assert works[0].role == "npu_network"
    assert works[0].variables["npu_network_cluster"] == "prod"
    assert works[0].variables["npu_network_ports"][3] == {
        "chip": 3,
        "address": "10.20.0.4",
        "netmask": "255.255.0.0",
        "gateway": "10.20.255.1",
        "detect": "10.20.255.1",
        "tls": 0,
    }
    assert changes(works)["NPU 3: address"] == ("", "10.20.0.4")
    assert changes(works)["NPU 0-7: tls"] == ("1", "0")
    assert ids(works) == []


def test_two_pools_are_the_planes_of_an_a3() -> None:
    (made,) = work(wish(TWO_PLANES, "node-1"), [bare("node-1", "a3")])
    ports = made.variables["npu_network_ports"]
    assert [port["address"] for port in ports[:4]] == ["10.20.0.1", "10.21.0.1", "10.20.0.2", "10.21.0.2"]
    assert [port["gateway"] for port in ports[:2]] == ["10.20.255.1", "10.21.255.1"]


def test_four_pools_are_those_of_a_910a_in_smp_mode() -> None:
    pools = {"pools": [{"network": f"10.2{number}.0.0/16"} for number in range(4)]}
    (made,) = work(wish(pools, "node-1"), [bare("node-1")])
    assert [port["address"].split(".")[1] for port in made.variables["npu_network_ports"]] == [
        "20",
        "21",
        "22",
        "23",
    ] * 2
    assert any("net health" in note for note in made.notes)


def test_written_addresses_detect_address_tls_and_mtu_are_taken_as_they_are() -> None:
    spec = {
        "pools": [{"network": "10.20.0.0/16", "first": "10.20.4.1", "detect": "10.20.255.9"}],
        "nodes": {"node-1": {0: "10.20.4.2", 7: "10.20.9.9"}},
        "tls": True,
        "mtu": 4200,
    }
    (made,) = work(wish(spec, "node-1"), [bare("node-1")])
    ports = made.variables["npu_network_ports"]
    assert [port["address"] for port in ports] == [
        "10.20.4.2",
        "10.20.4.1",
        *(f"10.20.4.{number}" for number in range(3, 8)),
        "10.20.9.9",
    ]
    assert (ports[0]["detect"], ports[0]["tls"], ports[0]["mtu"]) == ("10.20.255.9", 1, 4200)
    assert "gateway" not in ports[0]


def test_a_second_look_finds_nothing_to_do() -> None:
    nodes = settled(bare("node-1"), bare("node-2"))
    assert work(wish(ONE_SUBNET, "node-1", "node-2"), nodes) == []


def test_only_differences_are_changes() -> None:
    node, *_ = settled(bare("node-1"))
    stale = with_ports(node, {3: {"gateway": "10.20.250.1"}}, save=False)
    works = work(wish(ONE_SUBNET, "node-1"), [stale])
    assert changes(works) == {"NPU 3: gateway": ("10.20.250.1", "10.20.255.1")}
    forgotten = with_conf(node, {5: {"netdetect": "10.20.255.7"}})
    assert changes(work(wish(ONE_SUBNET, "node-1"), [forgotten])) == {
        f"NPU 5: detect in {HCCN_CONF}": ("10.20.255.7", "10.20.255.1")
    }


def test_an_address_inside_the_pool_is_kept_and_one_outside_is_replaced() -> None:
    node = with_ports(
        bare("node-1"),
        {
            0: {"address": "10.20.7.7", "netmask": "255.255.0.0"},
            1: {"address": "10.99.0.1", "netmask": "255.255.0.0"},
            2: {"address": "10.20.255.1", "netmask": "255.255.0.0"},  # the gateway's
        },
    )
    works = work(wish(ONE_SUBNET, "node-1"), [node])
    assert addresses_of(works)["node-1"][:4] == ["10.20.7.7", "10.20.0.1", "10.20.0.2", "10.20.0.3"]
    assert "NPU 0: address" not in changes(works)


def test_what_hccn_conf_has_counts_before_what_happens_to_run() -> None:
    node, *_ = settled(bare("node-1"))
    stale = with_ports(node, {3: {"address": "10.20.0.114"}}, save=False)
    works = work(wish(ONE_SUBNET, "node-1"), [stale])
    assert changes(works) == {"NPU 3: address": ("10.20.0.114", "10.20.0.4")}


def test_a_node_that_comes_in_the_middle_or_goes_moves_nobody() -> None:
    first, last = settled(bare("node-1"), bare("node-3"))
    works = work(wish(ONE_SUBNET, *NAMES), [first, bare("node-2"), last])
    assert addresses_of(works) == {"node-2": [f"10.20.0.{number}" for number in range(17, 25)]}
    assert work(wish(ONE_SUBNET, "node-3"), [last]) == []


def test_of_two_with_one_address_the_later_gets_another_and_it_is_told() -> None:
    twice = {0: {"address": "10.20.0.1", "netmask": "255.255.0.0"}}
    nodes = [with_ports(bare(name), twice) for name in ("node-1", "node-2")]
    works = work(wish(ONE_SUBNET, "node-1", "node-2"), nodes)
    assert addresses_of(works)["node-1"][0] == "10.20.0.1"
    assert changes(works, "node-2")["NPU 0: address"] == ("10.20.0.1", "10.20.0.9")
    assert works[1].notes == ("NPU 0 gives up 10.20.0.1: NPU 0 of node-1 has it as well",)


def test_a_stale_newcomer_does_not_push_out_whom_npuctl_gave_the_address() -> None:
    (last,) = settled(bare("node-3"))
    stale = with_ports(bare("node-2"), {0: {"address": "10.20.0.3", "netmask": "255.255.0.0"}})
    works = work(wish(ONE_SUBNET, "node-2", "node-3"), [stale, last])
    assert [made.node for made in works] == ["node-2"]
    assert changes(works, "node-2")["NPU 0: address"] == ("10.20.0.3", "10.20.0.9")


def test_an_address_that_was_written_for_one_is_taken_from_another() -> None:
    first, second = settled(bare("node-1"), bare("node-2"))
    spec = {**ONE_SUBNET, "nodes": {"node-2": {0: "10.20.0.1"}}}
    works = work(wish(spec, "node-1", "node-2"), [first, second])
    assert changes(works, "node-2") == {"NPU 0: address": ("10.20.0.9", "10.20.0.1")}
    assert changes(works, "node-1") == {"NPU 0: address": ("10.20.0.1", "10.20.0.17")}


# Refusing


def test_a_pool_that_is_too_small_says_how_small() -> None:
    spec = {"pools": [{"network": "10.20.0.0/28", "gateway": "10.20.0.1"}]}
    works = work(wish(spec, "node-1", "node-2"), [bare("node-1"), bare("node-2")])
    assert ids(works) == [("node-2", "provision.address_pool")]
    assert "left for NPU 5-7: it has 13 for ports" in works[1].findings[0].seen
    assert works[1].changes == ()


def test_nothing_new_is_given_while_a_node_is_silent_and_what_is_there_stays() -> None:
    first, second = settled(bare("node-1"), bare("node-2"))
    assert work(wish(ONE_SUBNET, *NAMES), [first, second]) == []
    works = work(wish(ONE_SUBNET, *NAMES), [first, bare("node-3")])
    assert ids(works) == [("node-3", "provision.address_unsure")]
    assert "which ones node-2 has is not known" in works[0].findings[0].seen
    assert works[0].changes == ()


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        ((), "bring back node-2, node-4 and run it again; or write into npu_addresses.nodes"),
        (
            ("node-3", "node-4"),
            "bring back node-4 and run it again; node-1, node-2 were left out by --limit: run without it, or write",
        ),
    ],
)
def test_a_node_that_was_not_asked_is_not_to_be_brought_back(asked: tuple[str, ...], way: str) -> None:
    there = [bare("node-3")] if asked else [*settled(bare("node-1")), bare("node-3")]
    limited = replace(wish(ONE_SUBNET, *NAMES, "node-4"), asked=asked)
    (finding,) = [found for made in work(limited, there) for found in made.findings]
    assert finding.id == "provision.address_unsure"
    assert finding.remedy.startswith(way)


def test_one_node_that_was_left_out_is_told() -> None:
    limited = replace(wish(ONE_SUBNET, "node-1", "node-2"), asked=("node-2",))
    (made,) = work(limited, [bare("node-2")])
    told = "node-1 was left out by --limit: run without it, or write its addresses; or write into"
    assert made.findings[0].remedy.startswith(told)


def test_a_silent_node_whose_addresses_were_all_written_stops_nobody() -> None:
    own = {"node-2": {chip: f"10.20.8.{chip}" for chip in range(8)}}
    works = work(wish({**ONE_SUBNET, "nodes": own}, "node-1", "node-2"), [bare("node-1")])
    assert ids(works) == []
    assert len(addresses_of(works)["node-1"]) == 8


@pytest.mark.parametrize(
    ("spec", "product", "seen"),
    [
        ({**TWO_PLANES, "nodes": {"node-1": {0: "10.21.0.5"}}}, "a3", "10.21.0.5 for NPU 0"),
        ({**ONE_SUBNET, "nodes": {"node-1": {9: "10.20.0.5"}}}, "a2", "NPU 9, which has no port here"),
        ({**ONE_SUBNET, "nodes": {"node-1": {0: "10.20.0.5"}}}, "310p", "NPU 0, which has no port here"),
        (TWO_PLANES, "a2", "two pools"),
    ],
)
def test_what_does_not_fit_the_node_is_refused(spec: dict[str, Any], product: str, seen: str) -> None:
    works = work(wish(spec, "node-1"), [bare("node-1", product)])
    assert ids(works) == [("node-1", "provision.address_unfit")]
    assert seen in works[0].findings[0].seen
    assert works[0].changes == ()


def test_products_without_such_a_network_get_nothing_and_it_is_said() -> None:
    (made,) = work(wish(ONE_SUBNET, "node-1"), [bare("node-1", "310p")])
    assert (made.changes, made.findings) == ((), ())
    assert "no network of their own" in made.notes[0]


def test_a_node_without_a_driver_waits_and_what_its_file_says_is_nobody_elses() -> None:
    fresh = facts_with(bare("node-1"), chips=[], survey=Survey())
    fresh = with_conf(fresh, {0: {"address": "10.20.0.1", "netmask": "255.255.0.0"}})
    works = work(wish(ONE_SUBNET, "node-1", "node-2"), [fresh, bare("node-2")])
    assert addresses_of(works) == {"node-2": [f"10.20.0.{number}" for number in range(2, 10)]}
    assert works[0].findings == ()
    assert "once its driver runs" in works[0].notes[0]


@pytest.mark.parametrize(
    ("survey", "said"),
    [
        (None, "nobody looked at them"),
        (Survey(unread={"hccn_tool": "hccn_tool is not installed"}), "hccn_tool is not installed"),
    ],
)
def test_ports_that_cannot_be_read_are_not_set(survey: Survey | None, said: str) -> None:
    works = work(
        wish(ONE_SUBNET, "node-1", "node-2"), [facts_with(bare("node-1"), survey=survey), bare("node-2")]
    )
    assert ids(works) == [("node-1", "provision.ports_unread"), ("node-2", "provision.address_unsure")]
    assert said in works[0].findings[0].seen


def test_a_port_that_does_not_answer_and_a_broken_file_refuse_their_node_alone() -> None:
    first, second = settled(bare("node-1"), bare("node-2"))
    survey = first.facts.survey
    assert survey is not None
    busy = survey.model_copy(update={"unread": {"chip 3: tls": "hccn_tool is busy", "chip 3: mtu": "x"}})
    works = work(wish(ONE_SUBNET, "node-1", "node-2"), [facts_with(first, survey=busy), second])
    assert [(finding.id, finding.npu) for made in works for finding in made.findings] == [
        ("provision.ports_unread", 3)
    ]
    files = {HCCN_CONF: TextFile(path=HCCN_CONF, text="address_0 10.20\n")}
    broken = Node("node-1", first.facts, first.setup.model_copy(update={"files": files}))
    works = work(wish(ONE_SUBNET, "node-1", "node-2"), [broken, second])
    assert ids(works) == [("node-1", "provision.ports_unread")]


def test_nothing_is_taken_from_under_a_replica_that_spans_nodes() -> None:
    node, *_ = settled(bare("node-1"))
    moved = {**ONE_SUBNET, "nodes": {"node-1": {3: "10.20.5.5"}}}
    busy = facts_with(node, containers=[container(2, 3, mounts=(HCCN_CONF,))])
    works = work(wish(moved, "node-1"), [busy])
    assert ids(works) == [("node-1", "provision.ports_in_use")]
    assert "npuctl-prod-chat-0" in works[0].findings[0].seen
    assert "address of NPU 3" in works[0].findings[0].seen
    assert works[0].changes == ()
    for harmless in (
        container(0, 1, mounts=(HCCN_CONF,)),  # other chips
        container(3),  # within its node
        container(3, mounts=(HCCN_CONF,), state="exited"),
    ):
        assert ids(work(wish(moved, "node-1"), [facts_with(node, containers=[harmless])])) == []


def test_whether_a_replica_uses_the_network_is_also_said_by_the_spec() -> None:
    node, *_ = settled(bare("node-1"))
    moved = {**ONE_SUBNET, "nodes": {"node-1": {3: "10.20.5.5"}}}
    busy = facts_with(node, containers=[container(3, spec="")])
    spanning = service_data(topology={"nodes_per_replica": 2})
    assert ids(work(wish(moved, "node-1", service=spanning), [busy])) == [
        ("node-1", "provision.ports_in_use")
    ]
    assert ids(work(wish(moved, "node-1", npu_network="required"), [busy])) != []
    assert ids(work(wish(moved, "node-1"), [busy])) == []


def test_a_foreign_process_on_the_npu_counts_and_a_first_address_disturbs_nobody() -> None:
    held = [HolderFacts(chip=3, pid=77, command="python train.py")]
    moved = {**ONE_SUBNET, "nodes": {"node-1": {3: "10.20.5.5"}}}
    node, *_ = settled(bare("node-1"))
    works = work(wish(moved, "node-1"), [facts_with(node, holders=held)])
    assert "python train.py" in works[0].findings[0].seen
    assert ids(work(wish(moved, "node-1"), [facts_with(bare("node-1"), holders=held)])) == []


def test_an_address_that_a_refused_node_still_has_is_not_given_away() -> None:
    first, second = settled(bare("node-1"), bare("node-2"))
    busy = facts_with(first, containers=[container(0, mounts=(HCCN_CONF,))])
    spec = {**ONE_SUBNET, "nodes": {"node-2": {0: "10.20.0.1"}}}
    works = work(wish(spec, "node-1", "node-2"), [busy, second])
    assert ids(works) == [("node-1", "provision.ports_in_use"), ("node-2", "provision.address_held")]
    assert all(made.changes == () for made in works)


def test_nodes_that_the_inventory_does_not_have_are_a_mistake_in_the_spec() -> None:
    spec = spec_with({**ONE_SUBNET, "nodes": {"node-7": {0: "10.20.0.1"}}}).npu_addresses
    with pytest.raises(SpecError) as refused:
        refuse_unknown_nodes(spec, ["node-1"], file="cluster.yml")
    assert "node-7" in refused.value.problems[0].message
    refuse_unknown_nodes(None, [], file="cluster.yml")


@pytest.mark.parametrize(
    ("pools", "nodes", "said"),
    [
        (["10.20.0.0/16"] * 3, {}, "3 pools fit no product"),
        (["10.20.0.0/16", "10.20.4.0/24"], {}, "overlap"),
        (["10.20.0.0/31"], {}, "no room"),
        ([{"network": "10.20.0.0/16", "gateway": "10.21.0.1"}], {}, "gateway 10.21.0.1 is not in"),
        ([{"network": "10.20.0.0/16", "first": "10.21.0.1"}], {}, "first 10.21.0.1 is not in"),
        ([{"network": "10.20.0.0/16", "detect": "10.21.0.1"}], {}, "no gateway leads to it"),
        ([{"network": "10.20.0.0/16", "gateway": "10.20.255.255"}], {}, "broadcast"),
        (["10.20.0.0/16"], {"node-1": {0: "10.21.0.1"}}, "in none of the pools"),
        (["10.20.0.0/16"], {"node-1": {0: "10.20.0.0"}}, "network's own address"),
        (["10.20.0.0/16"], {"node-1": {0: "10.20.0.1"}, "node-2": {3: "10.20.0.1"}}, "chip 0 of node-1"),
        (
            [{"network": "10.20.0.0/16", "gateway": "10.20.0.1"}],
            {"node-1": {0: "10.20.0.1"}},
            "is the gateway of 10.20.0.0/16",
        ),
    ],
)
def test_pools_that_cannot_be_meant_are_refused(pools: list[Any], nodes: dict[str, Any], said: str) -> None:
    entries = [{"network": pool} if isinstance(pool, str) else pool for pool in pools]
    with pytest.raises(SpecError) as refused:
        spec_with({"pools": entries, "nodes": nodes})
    assert said in str(refused.value.problems)


def test_without_addresses_in_the_spec_the_ports_are_left_alone() -> None:
    nodes = settled(bare("node-1"))
    assert work(wish(None, "node-1"), nodes) == []
    assert questions(wish(None)).files == {HCCN_CONF}
    assert questions(wish(None)).records == {"npu_network"}


# Taking back


def test_what_was_there_before_comes_back() -> None:
    before = with_ports(
        bare("node-1", count=1),
        {0: {"address": "10.99.0.1", "netmask": "255.0.0.0", "tls": 1, "gateway": "10.99.0.9"}},
    )
    (made,) = work(wish(ONE_SUBNET, "node-1", removing=True), settled(before))
    assert (made.role, made.entry) == ("npu_network", "restore")
    assert made.variables == {"npu_network_cluster": "prod"}
    assert changes([made]) == {
        "NPU 0: address": ("10.20.0.1", "10.99.0.1"),
        "NPU 0: netmask": ("255.255.0.0", "255.0.0.0"),
        "NPU 0: gateway": ("10.20.255.1", "10.99.0.9"),
        f"NPU 0: detect in {HCCN_CONF}": ("10.20.255.1", ""),
        "NPU 0: tls": ("0", "1"),
        "/var/lib/npuctl/npu_network.json": ("there", "absent"),
    }
    assert made.notes == ("NPU 0: hccn_tool cannot unset detect; the device keeps it until its next boot",)


def test_what_others_changed_since_stays_and_what_is_not_noted_too() -> None:
    (node,) = settled(
        with_ports(bare("node-1", count=1), {0: {"address": "10.99.0.1", "netmask": "255.0.0.0"}})
    )
    theirs = with_ports(node, {0: {"address": "10.20.3.3"}})
    (made,) = work(wish(ONE_SUBNET, "node-1", removing=True), [theirs])
    assert "NPU 0: address" not in changes([made])
    assert "set to 10.20.3.3 by somebody else" in made.notes[0]
    assert work(wish(ONE_SUBNET, "node-1", removing=True), [bare("node-1")]) == []


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"error": "no JSON: …"}, "cannot be read"),
        ({"cluster": "other", "ports": {}}, "for cluster other"),
        *((broken, "cannot be read") for broken in BROKEN),
    ],
)
def test_a_record_that_is_not_ours_or_not_readable_changes_nothing(record: dict[str, Any], said: str) -> None:
    (made,) = work(wish(ONE_SUBNET, "node-1", removing=True), [noting(bare("node-1"), record)])
    assert made.changes == ()
    assert said in made.notes[0]


@pytest.mark.parametrize("record", [{"error": "no JSON: …"}, *BROKEN])
def test_ports_are_not_set_over_a_record_that_cannot_be_read(record: dict[str, Any]) -> None:
    works = work(wish(ONE_SUBNET, "node-1"), [noting(bare("node-1"), record)])
    assert ids(works) == [("node-1", "provision.ports_record")]
    assert works[0].changes == ()


def test_ports_of_another_cluster_are_not_taken_over_and_may_be_as_wanted() -> None:
    (there,) = settled(bare("node-1"))
    theirs = noting(there, {**there.setup.records["npu_network"], "cluster": "other"})
    assert work(wish(ONE_SUBNET, "node-1"), [theirs]) == []
    works = work(wish({**ONE_SUBNET, "mtu": 4000}, "node-1"), [theirs])
    assert ids(works) == [("node-1", "provision.ports_other_cluster")]
    assert "set for cluster other" in works[0].findings[0].seen
    assert works[0].changes == ()


def test_nothing_is_taken_back_from_under_a_replica_either() -> None:
    before = with_ports(bare("node-1"), {3: {"address": "10.99.0.1", "netmask": "255.0.0.0"}})
    (node,) = settled(before)
    busy = facts_with(node, containers=[container(3, mounts=(HCCN_CONF,))])
    works = work(wish(ONE_SUBNET, "node-1", removing=True), [busy])
    assert ids(works) == [("node-1", "provision.ports_in_use")]
    assert works[0].changes == ()


def test_addresses_that_nodes_show_are_those_that_were_given() -> None:
    nodes = settled(bare("node-1", "a3"), bare("node-2", "a3"), spec=TWO_PLANES)
    shown = addresses_on(nodes)
    assert len(set(shown.values())) == len(shown) == 32
