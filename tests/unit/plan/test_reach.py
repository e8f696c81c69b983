"""Who probes whom: every NPU every NPU of the other nodes, or a sample that is as good; and what came of it."""

from __future__ import annotations

from collections import Counter

import pytest

from npuctl.plan.reach import FULL_NODES, NodeAnswer, ProbePlan, plan_probes, read_reach
from tests.making import facts_of, network_of, node, on_network

GOOD = "device 0 PING 10.20.2.11\n3 packets transmitted, 3 received, 0.00% packet loss\n"
LOST = "device 0 PING 10.20.2.11\n3 packets transmitted, 0 received, 100.00% packet loss\nCommand execute failed!\n"
PARTLY = "device 0 PING 10.20.2.11\n3 packets transmitted, 2 received, 33.33% packet loss\n"
HCCS_LOST = "device 0 PING 192.2.2.199\n3 packets transmitted, 0 received, 100.00% packets loss\n"


def cluster(count: int, product: str = "a2") -> ProbePlan:
    return plan_probes(network_of(*(on_network(index + 1, product) for index in range(count))))


def edges(plan: ProbePlan) -> list[tuple[tuple[str, int], tuple[str, int]]]:
    return [
        ((name, chip), target.peer)
        for name, chips in plan.targets.items()
        for chip, targets in chips.items()
        for target in targets
    ]


@pytest.mark.parametrize(
    ("nodes", "product", "probes"), [(2, "a2", 128), (4, "a2", 768), (3, "a3", 16 * 32 * 3)]
)
def test_every_npu_probes_every_npu_of_the_other_nodes(nodes: int, product: str, probes: int) -> None:
    plan = cluster(nodes, product)
    made = edges(plan)
    assert (plan.probes, plan.pairs, plan.sampled) == (probes, probes, False)
    assert len(set(made)) == probes
    assert all(source[0] != peer[0] for source, peer in made)


def test_probes_made_at_one_time_go_to_different_ports() -> None:
    plan = cluster(4)
    for turn in range(24):
        at_once = [targets[turn].peer for chips in plan.targets.values() for targets in chips.values()]
        assert Counter(at_once).most_common(1)[0][1] == 1


def test_a_large_cluster_is_sampled_so_that_every_npu_probes_and_is_probed_by_eight_nodes() -> None:
    plan = cluster(64)
    assert (plan.sampled, plan.pairs) == (True, 258_048)
    made = edges(plan)
    assert len(made) == len(set(made)) == 64 * 8 * 8
    to: dict[tuple[str, int], set[str]] = {}
    back: dict[tuple[str, int], set[str]] = {}
    rails: dict[tuple[str, int], set[int]] = {}
    for source, peer in made:
        to.setdefault(peer, set()).add(source[0])
        back.setdefault(source, set()).add(peer[0])
        rails.setdefault(source, set()).add(peer[1])
    assert {len(nodes) for nodes in to.values()} == {len(nodes) for nodes in back.values()} == {8}
    assert {len(chips) for chips in rails.values()} == {8}
    assert len(to) == len(back) == 512


@pytest.mark.parametrize("nodes", [FULL_NODES + 1, 10, 16, 17, 33])
def test_a_sample_misses_no_npu_whatever_the_number_of_nodes(nodes: int) -> None:
    made = edges(cluster(nodes))
    assert len(set(made)) == len(made)
    assert len({source for source, _ in made}) == len({peer for _, peer in made}) == nodes * 8
    assert all(source[0] != peer[0] for source, peer in made)


def test_a_sample_of_unequal_nodes_misses_no_npu() -> None:
    sizes = [8, 4, 8, 1, 8, 8, 2, 8, 8, 8]
    plan = plan_probes(network_of(*(on_network(at + 1, count=size) for at, size in enumerate(sizes))))
    assert len({peer for _, peer in edges(plan)}) == len({source for source, _ in edges(plan)}) == sum(sizes)


def test_all_pairs_can_be_asked_for() -> None:
    facts = network_of(*(on_network(index + 1) for index in range(9)))
    assert plan_probes(facts).probes == 9 * 8 * 8
    assert plan_probes(facts, all_pairs=True).probes == 9 * 8 * 64


def test_the_address_of_hccn_conf_is_probed_before_that_of_the_device() -> None:
    stale = on_network(2, c3={"address": "10.20.2.99"}, saved_c4={"address": ""})
    plan = plan_probes(network_of(on_network(1), stale))
    probed = {target.peer: target.address for target in plan.targets["node-1"][0]}
    assert probed["node-2", 3] == "10.20.2.14"
    assert probed["node-2", 4] == "10.20.2.15"
    sources = {(port.node, port.chip): port.source for port in plan.ports}
    assert (sources["node-2", 3], sources["node-2", 4]) == ("hccn.conf", "device")


def test_an_npu_without_an_address_takes_no_part() -> None:
    bare = on_network(2, c3={"address": ""}, saved_c3={"address": ""})
    plan = plan_probes(network_of(on_network(1), bare))
    assert plan.probes == 2 * 8 * 7
    assert ("node-2", 3) not in {end for edge in edges(plan) for end in edge}


def test_inside_a_super_pod_the_vnic_is_probed_and_between_two_the_port() -> None:
    other = on_network(3, "a3")
    assert other.survey is not None
    away = [chip.model_copy(update={"super_pod_id": 1}) for chip in other.survey.chips]
    other = other.model_copy(update={"survey": other.survey.model_copy(update={"chips": away})})
    plan = plan_probes(network_of(on_network(1, "a3"), on_network(2, "a3"), other))
    ways = {target.peer: (target.plane, target.address) for target in plan.targets["node-1"][0]}
    assert ways["node-2", 1] == ("hccs", "192.2.3.198")
    assert ways["node-3", 1] == ("roce", "10.21.3.12")


def test_nodes_without_such_a_network_are_skipped_with_the_reason() -> None:
    facts = network_of(on_network(1), on_network(2), node("310p", survey=on_network(3).survey), node("a2"))
    plan = plan_probes(facts)
    assert set(plan.skipped) == {"node-3", "node-4"}
    assert "no network" in plan.skipped["node-3"]
    assert "not read" in plan.skipped["node-4"]
    assert plan.probes == 128


@pytest.mark.parametrize("nodes", [[], [on_network(1)], [node("a2"), node("a2")]])
def test_fewer_than_two_nodes_with_ports_have_nothing_to_probe(nodes: list[object]) -> None:
    plan = plan_probes(network_of(*nodes))  # type: ignore[arg-type]
    assert (plan.probes, plan.pairs) == (0, 0)
    assert read_reach(plan, {}, seconds=0.0).asked == 0


def test_answers_become_counts_and_the_probes_that_did_not_come_back() -> None:
    plan = plan_probes(network_of(on_network(1, count=2), on_network(2, count=2)))
    answers = {
        "node-1": NodeAnswer({"0": [None, {"text": LOST}], "1": [{"text": PARTLY}, {"text": GOOD}]}, 1),
        "node-2": NodeAnswer({"0": [{"text": "hccn_tool is busy, please try again."}, None], "1": [None]}),
    }
    reach = read_reach(plan, answers, seconds=1.25)
    assert (reach.asked, reach.ok, reach.pairs, reach.repeated) == (8, 4, 8, 1)
    assert (reach.seconds, reach.plane, reach.asked_of) == (1.25, "roce", ["node-1", "node-2"])
    said = {(probe.node, probe.chip, probe.peer_chip): probe for probe in reach.probes}
    lost = plan.targets["node-1"][0][1]
    assert said["node-1", 0, lost.peer[1]].outcome == "lost"
    assert said["node-1", 0, lost.peer[1]].loss_percent == 100.0
    assert said["node-1", 1, plan.targets["node-1"][1][0].peer[1]].outcome == "partly"
    busy = said["node-2", 0, plan.targets["node-2"][0][0].peer[1]]
    assert (busy.outcome, busy.why) == ("unread", "hccn_tool is busy, please try again.")
    assert sum(probe.outcome == "unread" for probe in reach.probes) == 2  # one answer is missing altogether
    assert sum(port.from_ok for port in reach.ports) == sum(port.to_ok for port in reach.ports) == 4


def test_the_figures_of_a_ping_inside_a_super_pod_decide_though_it_ended_well() -> None:
    plan = plan_probes(network_of(on_network(1, "a3", count=2), on_network(2, "a3", count=2)))
    reach = read_reach(plan, {"node-1": NodeAnswer({"0": [{"rc": 0, "text": HCCS_LOST}, None]})}, seconds=1)
    assert (reach.plane, reach.probes[0].outcome) == ("hccs", "lost")


def test_a_node_that_could_not_be_asked_is_skipped_and_its_probes_are_not_counted() -> None:
    plan = plan_probes(network_of(on_network(1), on_network(2)))
    whole = {str(chip): [None] * 8 for chip in range(8)}
    reach = read_reach(
        plan, {"node-1": NodeAnswer(whole), "node-2": NodeAnswer(error="it is gone")}, seconds=1
    )
    assert reach.skipped == {"node-2": "it is gone"}
    assert (reach.asked, reach.ok, reach.asked_of) == (64, 64, ["node-1"])


def test_a_reach_survives_its_file() -> None:
    plan = plan_probes(network_of(on_network(1), on_network(2)))
    reach = read_reach(plan, {"node-1": NodeAnswer({"0": [{"text": LOST}]})}, seconds=1)
    facts = facts_of(node_1=on_network(1)).model_copy(update={"reach": reach})
    assert type(facts).model_validate_json(facts.model_dump_json(by_alias=True)).reach == reach


def test_a_probe_that_sent_nothing_proves_nothing() -> None:
    nothing = "device 0 PING 10.20.2.11\n0 packets transmitted, 0 received, 0.00% packet loss\n"
    reach = read_reach(cluster(2), {"node-1": NodeAnswer({"0": [{"text": nothing}]})}, seconds=1)
    assert (reach.probes[0].outcome, reach.ok) == ("unread", 0)
