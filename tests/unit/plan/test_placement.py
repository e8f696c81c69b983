"""Which replica sits where: written chips, kept chips, free chips; ports; and what cannot be."""

from __future__ import annotations

import pytest

from npuctl.facts.model import HolderFacts
from npuctl.plan.model import Plan
from npuctl.plan.placement import chips_of_label
from tests.making import (
    actions,
    after_apply,
    chips,
    container_of,
    facts_of,
    node,
    plan_of,
    service_data,
    spec_of,
)


def seats(plan: Plan) -> dict[str, tuple[str, tuple[int, ...], int]]:
    return {replica.name: (replica.node, replica.chips, replica.port) for replica in plan.replicas}


def conflicts(plan: Plan) -> list[str]:
    return [finding.seen for finding in plan.findings if finding.id == "place.conflict"]


def test_replicas_go_round_the_hosts_and_ports_count_up() -> None:
    spec = spec_of(service_data(hosts="serving", replicas=4, topology={"tensor_parallel": 2}))
    plan = plan_of(spec, facts_of(node_1=node(), node_2=node()))
    assert seats(plan) == {
        "chat-0": ("node-1", (0, 1), 8000),
        "chat-1": ("node-2", (0, 1), 8000),
        "chat-2": ("node-1", (2, 3), 8001),
        "chat-3": ("node-2", (2, 3), 8001),
    }


def test_hosts_are_taken_in_rank_order() -> None:
    spec = spec_of(service_data(hosts=["node-2", "node-1"], replicas=2))
    plan = plan_of(spec, facts_of(node_1=node(), node_2=node()))
    assert [replica.node for replica in plan.replicas] == ["node-2", "node-1"]


def test_an_aligned_run_of_chips_comes_first() -> None:
    spec = spec_of(service_data("one"), service_data("four", port=9000, topology={"tensor_parallel": 4}))
    assert seats(plan_of(spec, facts_of(node_1=node())))["four-0"][1] == (4, 5, 6, 7)


def test_written_chips_are_taken_as_written() -> None:
    spec = spec_of(service_data(chips=[5, 2, 7, 6], replicas=2, topology={"tensor_parallel": 2}))
    plan = plan_of(spec, facts_of(node_1=node()))
    assert [replica.chips for replica in plan.replicas] == [(5, 2), (7, 6)]


def test_written_chips_go_before_free_ones_whatever_the_order() -> None:
    spec = spec_of(service_data("any"), service_data("wants", chips=[0], port=9000))
    assert seats(plan_of(spec, facts_of(node_1=node()))) == {
        "any-0": ("node-1", (1,), 8000),
        "wants-0": ("node-1", (0,), 9000),
    }


def test_a_running_replica_keeps_its_chips_when_another_comes_before_it() -> None:
    old = spec_of(service_data("chat", topology={"tensor_parallel": 4}))
    before = facts_of(node_1=node())
    there = after_apply(plan_of(old, before), before)
    new = spec_of(
        service_data("first", port=9000, topology={"tensor_parallel": 4}),
        service_data("chat", topology={"tensor_parallel": 4}),
    )
    plan = plan_of(new, there)
    assert seats(plan)["chat-0"][1] == (0, 1, 2, 3)
    assert seats(plan)["first-0"][1] == (4, 5, 6, 7)
    assert actions(plan) == {"first-0": "create", "chat-0": "none"}


def test_a_running_replica_gives_way_to_chips_that_a_person_wrote() -> None:
    before = facts_of(node_1=node())
    there = after_apply(plan_of(spec_of(service_data("chat")), before), before)
    plan = plan_of(spec_of(service_data("chat"), service_data("wants", port=9000, chips=[0])), there)
    assert {name: seat[1] for name, seat in seats(plan).items()} == {"chat-0": (1,), "wants-0": (0,)}


def test_two_that_want_one_chip_are_a_conflict() -> None:
    spec = spec_of(service_data("a", chips=[1]), service_data("b", chips=[1], port=9000))
    plan = plan_of(spec, facts_of(node_1=node()))
    assert conflicts(plan) == ["b-0 and a-0 both want chip 1"]
    assert plan.errors[0].npu == 1


def test_a_chip_that_is_not_there_is_a_conflict() -> None:
    plan = plan_of(spec_of(service_data(chips=[99])), facts_of(node_1=node()))
    assert "no such chip" in conflicts(plan)[0]
    assert "0, 1, 2" in plan.errors[0].remedy


def test_too_few_written_chips_are_a_conflict() -> None:
    plan = plan_of(spec_of(service_data(chips=[0], replicas=2)), facts_of(node_1=node()))
    assert conflicts(plan) == ["chat-1 is replica 2 on this node and needs 1 chips; chips lists 1 in all"]


def test_too_few_free_chips_say_who_has_them() -> None:
    holder = HolderFacts(chip=6, pid=77, command="python train.py")
    facts = facts_of(
        node_1=node(
            holders=[holder],
            chips=[
                *chips(count=6),
                *chips(count=7)[6:],
                chips()[7].model_copy(update={"health": "Alarm"}),
            ],
        )
    )
    plan = plan_of(spec_of(service_data(topology={"tensor_parallel": 8})), facts)
    (seen,) = conflicts(plan)
    assert "needs 8 free chips; 6 of 8 are free" in seen
    assert "6: held by pid 77 (python train.py)" in seen
    assert "7: health Alarm" in seen


def test_a_chip_in_use_without_a_visible_process_is_not_given() -> None:
    found = chips()
    found[0] = found[0].model_copy(update={"memory_used_mb": 30000})
    plan = plan_of(spec_of(service_data()), facts_of(node_1=node(chips=found)))
    assert plan.replicas[0].chips == (1,)


def test_a_chip_with_a_warning_may_be_given() -> None:
    plan = plan_of(spec_of(service_data()), facts_of(node_1=node(chips=chips(health="Warning"))))
    assert plan.replicas[0].chips == (0,)
    assert not plan.errors


def test_a_chip_held_by_a_cluster_whose_name_begins_with_ours_is_not_given() -> None:
    holder = HolderFacts(chip=0, pid=5, command="VLLM", container="npuctl-prod-b-chat-0")
    plan = plan_of(spec_of(service_data(), name="prod"), facts_of(node_1=node(holders=[holder])))
    assert plan.replicas[0].chips == (1,)
    assert not plan.errors


def test_a_replica_that_grows_may_take_its_own_chips_again() -> None:
    before = facts_of(node_1=node(count=2))
    there = after_apply(plan_of(spec_of(service_data()), before), before)
    plan = plan_of(spec_of(service_data(topology={"tensor_parallel": 2})), there)
    assert seats(plan)["chat-0"][1] == (0, 1)
    assert actions(plan) == {"chat-0": "recreate"}
    assert not plan.errors


def test_a_renamed_service_takes_the_chips_and_the_port_of_the_old_one() -> None:
    """The old container is removed first: what it holds is no obstacle."""
    before = facts_of(node_1=node(count=1))
    there = after_apply(plan_of(spec_of(service_data("old")), before), before)
    plan = plan_of(spec_of(service_data("new")), there)
    assert actions(plan) == {"old-0": "remove", "new-0": "create"}
    assert plan.errors == ()


def test_two_services_on_one_port_are_a_conflict() -> None:
    spec = spec_of(service_data("a", replicas=2), service_data("b", port=8001))
    assert conflicts(plan_of(spec, facts_of(node_1=node()))) == ["b-0 and a-1 both want port 8001"]


def test_ports_end_at_65535() -> None:
    spec = spec_of(service_data(port=65535, replicas=2))
    assert conflicts(plan_of(spec, facts_of(node_1=node()))) == ["chat-1 would get port 65536"]


def test_a_running_replica_that_has_lost_its_place_is_not_removed() -> None:
    """Its chip is gone from the table, or npu-smi hangs: that is a finding, no reason to take it away."""
    before = facts_of(node_1=node(count=2))
    spec = spec_of(service_data(topology={"tensor_parallel": 2}))
    there = after_apply(plan_of(spec, before), before).nodes["node-1"]
    blind = there.model_copy(update={"chips": [], "npu_error": "npu-smi did not end within 20 s"})
    plan = plan_of(spec, facts_of(node_1=blind))
    assert plan.errors
    assert "remove" not in actions(plan).values()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"devices": 3}', '{"devices": [3]}', "{"])
def test_a_label_that_cannot_be_read_names_no_chip(text: str) -> None:
    assert chips_of_label(text) == ()


def test_the_chips_of_a_label_are_those_of_the_container() -> None:
    plan = plan_of(spec_of(service_data(topology={"tensor_parallel": 4})), facts_of(node_1=node()))
    assert chips_of_label(container_of(plan.replicas[0]).spec) == (0, 1, 2, 3)
