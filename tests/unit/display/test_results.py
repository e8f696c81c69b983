"""Results as text and as data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from npuctl.display.findings import findings_text
from npuctl.display.results import applied_result, health_result, stopped_result
from npuctl.display.text import (
    SIMULATED,
    applied_text,
    health_text,
    plan_text,
    stopped_text,
)
from npuctl.facts.model import ClusterFacts, Unreachable
from npuctl.health.verdict import ReplicaHealth
from npuctl.operate.deploy import Applied
from npuctl.operate.look import View
from npuctl.operate.stop import Stopped
from npuctl.plan.model import Plan, Step
from npuctl.plan.proof import Evidence
from npuctl.runner.run import Outcome
from tests.making import after_apply, facts_of, inventory_of, node, plan_of, service_data, spec_of

READY = ReplicaHealth("chat", "chat-0", "node-1", "ready", "a token in 0.10 s", token_seconds=0.1)
DEAD = ReplicaHealth("chat", "chat-1", "node-2", "dead", "the container is gone", log=("Traceback", "boom"))
STEP = Step("node-1", "stop", "chat-0", "npuctl-prod-chat-0", "vllm", "/etc/npuctl/prod/chat-0")


def plan(simulated: bool = False, **changes: Any) -> Plan:  # noqa: FBT001, FBT002
    return plan_of(spec_of(service_data(**changes)), facts_of(node_1=node(simulated=simulated)))


def applied(tmp_path: Path, made: Plan, steps: tuple[Step, ...] = (), **changes: Any) -> Applied:
    view = View(inventory_of(tmp_path, spec_of(service_data())), ClusterFacts(), made)
    return Applied(view, steps, **changes)


def stopped(**changes: Any) -> Stopped:
    return replace(Stopped("prod", (STEP,), Outcome(), ()), **changes)


def test_a_plan_in_words() -> None:
    lines = plan_text(plan()).splitlines()
    assert lines[:3] == [
        "plan of cluster prod",
        "node-1:",
        "  + chat-0  create (chips 0, port 8000): the container is absent; /etc/npuctl/prod/chat-0 is absent",
    ]
    assert "        +   --tensor-parallel-size 1" in lines
    assert lines[-1] == "1 to create"


def test_a_plan_with_nothing_to_do() -> None:
    facts = facts_of(node_1=node())
    there = after_apply(plan_of(spec_of(service_data()), facts), facts)
    text = plan_text(plan_of(spec_of(service_data()), there))
    assert "chat-0  as it should be (chips 0, port 8000)" in text
    assert text.endswith("nothing to do")


def test_findings_and_silent_nodes_are_in_the_plan() -> None:
    made = replace(plan(chips=[99]), unreachable={"node-9": Unreachable(reason="off", hint="turn it on")})
    text = plan_text(made)
    assert "node-9 is unreachable: off; nothing is planned for it" in text
    assert "error place.conflict · node-1 NPU 99" in text
    assert "remedy: chips of this node" in text
    assert "checks refuse a deploy" in text


def test_a_sandbox_is_called_one_everywhere() -> None:
    assert SIMULATED in plan_text(plan(simulated=True))
    assert SIMULATED in findings_text(plan(simulated=True), ClusterFacts())
    assert SIMULATED in health_text([replace(READY, simulated=True)])
    assert SIMULATED in stopped_text(stopped(simulated=True), "stopped")
    assert SIMULATED not in plan_text(plan())


def test_a_long_difference_is_cut() -> None:
    made = plan()
    step = replace(made.steps[0], diff=tuple(f"+ {number}" for number in range(100)))
    text = plan_text(replace(made, steps=(step,)))
    assert "+ 59" in text
    assert "+ 60" not in text
    assert "… 40 more lines (--output json has all)" in text


def test_findings_are_counted() -> None:
    facts = facts_of(node_1=node(images=[], free_bytes={"/": 0}))
    text = findings_text(plan_of(spec_of(service_data()), facts), facts)
    assert "nodes checked: 1 of 1; 1 error, 1 warning\n" in text
    assert text.endswith("npuctl check --explain ID tells more about each")


def test_health_in_words() -> None:
    text = health_text([READY, DEAD])
    assert text.splitlines()[0] == "chat: degraded (1 of 2 replicas ready)"
    assert "      | boom" in text
    assert "ready        a token in 0.10 s" in text


def test_health_as_data() -> None:
    data = health_result("prod", [READY, DEAD])
    assert data["services"] == {"chat": "degraded"}
    assert [entry["state"] for entry in data["replicas"]] == ["ready", "dead"]
    assert data["schema"] == 1
    json.dumps(data)


def test_a_deploy_with_nothing_to_do(tmp_path: Path) -> None:
    facts = facts_of(node_1=node())
    there = after_apply(plan_of(spec_of(service_data()), facts), facts)
    made = plan_of(spec_of(service_data()), there)
    assert applied_text(applied(tmp_path, made)) == (
        "cluster prod: nothing to do; 1 replicas are as they should be"
    )


def test_a_start_that_may_do_nothing_does_not_say_that_all_is_well(tmp_path: Path) -> None:
    text = applied_text(applied(tmp_path, plan(), left_out=("chat-0 on node-1 needs create: npuctl deploy",)))
    assert "left as it was: chat-0 on node-1 needs create: npuctl deploy" in text
    assert "1 replicas are as they should be" not in text


def test_a_deploy_that_went_wrong(tmp_path: Path) -> None:
    made = replace(plan(), unreachable={"node-9": Unreachable(reason="off", hint="turn it on")})
    outcome = Outcome(failed={"node-1": "Run: boom"}, unreachable={"node-2": "gone"})
    done = applied(tmp_path, made, made.steps, outcome=outcome, health=(DEAD,))
    text = applied_text(done)
    assert "FAILED node-1: Run: boom" in text
    assert "UNREACHABLE node-2: gone; it was lost on the way" in text
    assert "UNREACHABLE node-9: off" in text
    assert "chat: dead (0 of 1 replicas ready)" in text
    data = applied_result(done)
    assert data["failed"] == {"node-1": "Run: boom"}
    assert data["unreachable"] == {"node-9": "off", "node-2": "gone"}
    assert data["steps"] == [{"node": "node-1", "replica": "chat-0", "action": "create"}]
    json.dumps(data)


def test_check_mode_says_so(tmp_path: Path) -> None:
    made = plan()
    done = applied(tmp_path, made, made.steps, dry_run=True)
    assert "check mode: nothing was changed; 1 replicas would be" in applied_text(done)
    assert applied_result(done)["check_mode"] is True


def test_a_proven_stop() -> None:
    evidence = (Evidence("node-1", "port 8000", holds=True, seen="free"),)
    text = stopped_text(stopped(evidence=evidence, foreign={"node-1": ["chip 7: pid 9 (x)"]}), "stopped")
    assert "ok  port 8000: free" in text
    assert "left alone, not ours: chip 7: pid 9 (x)" in text
    assert text.endswith("stopped, proven")


def test_a_stop_that_is_not_proven() -> None:
    evidence = (Evidence("node-1", "port 8000", holds=False, seen="held by pid 3"),)
    text = stopped_text(stopped(evidence=evidence, unreachable={"node-2": "off"}), "removed")
    assert "NOT port 8000: held by pid 3" in text
    assert "UNREACHABLE: off; not removed" in text
    assert text.endswith("NOT proven removed: see the lines marked NOT")


def test_a_stop_of_nothing() -> None:
    text = stopped_text(stopped(steps=()), "stopped")
    assert text == "cluster prod: nothing of it runs on the nodes that answered"


def test_a_stop_as_data() -> None:
    evidence = (Evidence("node-1", "port 8000", holds=True, seen="free"),)
    data = stopped_result(stopped(evidence=evidence, foreign={"a": ["b"]}, unreachable={"n": "off"}))
    assert data["evidence"] == [{"node": "node-1", "what": "port 8000", "holds": True, "seen": "free"}]
    assert (data["left_alone"], data["unreachable"]) == ({"a": ["b"]}, {"n": "off"})
    json.dumps(data)
