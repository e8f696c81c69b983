"""A stop is proven by what the node shows afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.model import ContainerFacts, HolderFacts, ListenerFacts, NodeFacts
from npuctl.hardware.catalog import A2
from npuctl.plan.proof import Evidence, foreign_holders, prove_stopped
from tests.making import chips, container_of, facts_of, node, plan_of, service_data, spec_of


def ours() -> ContainerFacts:
    plan = plan_of(
        spec_of(service_data(chips=[1, 2], topology={"tensor_parallel": 2})), facts_of(node_1=node())
    )
    return container_of(plan.replicas[0])


def proof(**changes: Any) -> dict[str, Evidence]:
    return {entry.what: entry for entry in prove_stopped("node-1", [ours()], node(**changes), A2)}


def broken(evidence: dict[str, Evidence]) -> list[str]:
    return [what for what, entry in evidence.items() if not entry.holds]


def test_all_that_must_hold_is_looked_at() -> None:
    evidence = proof()
    assert set(evidence) == {
        "process npuctl-prod-chat-0",
        "port 8000",
        "HBM of chip 1",
        "HBM of chip 2",
        "shared memory of npuctl-prod-chat-0",
    }
    assert broken(evidence) == []
    assert evidence["HBM of chip 1"].seen == "3400 of 65536 MB"


@pytest.mark.parametrize("state", ["running", "restarting", "paused"])
def test_a_container_that_lives_is_no_proof(state: str) -> None:
    left = ours().model_copy(update={"state": state})
    evidence = broken(proof(containers=[left]))
    assert evidence == ["process npuctl-prod-chat-0", "shared memory of npuctl-prod-chat-0"]


def test_a_container_that_ended_is_proof() -> None:
    left = ours().model_copy(update={"state": "exited"})
    assert broken(proof(containers=[left])) == []


def test_a_port_that_is_held_is_no_proof() -> None:
    evidence = proof(listeners=[ListenerFacts(port=8000, pid=4, command="vllm serve")])
    assert broken(evidence) == ["port 8000"]
    assert evidence["port 8000"].seen == "held by pid 4: vllm serve"


def test_memory_that_did_not_come_back_is_no_proof() -> None:
    found = chips()
    found[2] = found[2].model_copy(update={"memory_used_mb": A2.idle_memory_mb + 1})
    assert broken(proof(chips=found)) == ["HBM of chip 2"]


def test_memory_at_the_idle_ceiling_is_proof() -> None:
    found = chips(memory_used_mb=A2.idle_memory_mb)
    assert broken(proof(chips=found)) == []


def test_a_process_that_holds_a_chip_is_no_proof() -> None:
    evidence = proof(holders=[HolderFacts(chip=1, pid=9, command="VLLM::Worker")])
    assert broken(evidence) == ["HBM of chip 1"]
    assert "held by pid 9" in evidence["HBM of chip 1"].seen


def test_a_chip_that_cannot_be_read_is_no_proof() -> None:
    evidence = proof(chips=[], npu_error="ret is -8005")
    assert broken(evidence) == ["HBM of chip 1", "HBM of chip 2"]
    assert evidence["HBM of chip 1"].seen == "ret is -8005"


def test_a_product_that_is_not_known_is_no_proof() -> None:
    evidence = prove_stopped("node-1", [ours()], node(), None)
    assert [entry.what for entry in evidence if not entry.holds] == ["HBM of chip 1", "HBM of chip 2"]


def test_shared_memory_of_the_node_is_told_and_not_blamed_on_us() -> None:
    evidence = proof(shared_memory=["psm_abc"])
    assert broken(evidence) == []
    assert "psm_abc" in evidence["shared memory of npuctl-prod-chat-0"].seen


def test_processes_of_others_are_reported() -> None:
    facts = node(
        holders=[
            HolderFacts(chip=1, pid=1, command="ours"),
            HolderFacts(chip=7, pid=2, command="theirs"),
            HolderFacts(chip=6, pid=3, command="ours too", container="npuctl-prod-other-0"),
        ],
        containers=[ours().model_copy(update={"name": "npuctl-prod-other-0"})],
    )
    assert foreign_holders([ours()], facts) == ["chip 7: pid 2 (theirs)"]


def test_nothing_stopped_needs_no_proof() -> None:
    assert prove_stopped("n", [], NodeFacts(), None) == []
