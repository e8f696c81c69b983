"""From what is there to what should be: which step, why, and the lines that differ."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.model import ClusterFacts, ContainerFacts, DockerFacts, FileFacts, NodeFacts
from npuctl.plan.difference import DEFAULT_GRACE_SECONDS, step_for_container
from npuctl.plan.model import Plan
from tests.making import (
    actions,
    after_apply,
    container_of,
    facts_of,
    node,
    plan_of,
    root_files,
    service_data,
    spec_of,
)

SECRET = {"api_key": {"secret": "key"}}
SECRETS = {"key": "s3cret"}
FOLDER = "/etc/npuctl/prod/chat-0"


def applied(**changes: Any) -> tuple[Plan, ClusterFacts]:
    facts = facts_of(node_1=node(files=root_files()))
    plan = plan_of(spec_of(service_data(**changes)), facts, secrets=SECRETS)
    return plan, after_apply(plan, facts)


def with_node(facts: ClusterFacts, **changes: Any) -> ClusterFacts:
    return facts_of(node_1=facts.nodes["node-1"].model_copy(update=changes))


def with_container(facts: ClusterFacts, **changes: Any) -> ClusterFacts:
    found = facts.nodes["node-1"].containers[0].model_copy(update=changes)
    return with_node(facts, containers=[found])


def with_files(facts: ClusterFacts, path: str, file: FileFacts | None) -> ClusterFacts:
    files = {name: entry for name, entry in facts.nodes["node-1"].files.items() if name != path}
    return with_node(facts, files=files | ({path: file} if file else {}))


def again(facts: ClusterFacts, secrets: dict[str, str] | None = None, **changes: Any) -> Plan:
    return plan_of(spec_of(service_data(**changes)), facts, secrets=secrets or SECRETS)


def test_an_empty_node_gets_a_container() -> None:
    plan, _facts = applied()
    (step,) = plan.steps
    assert (step.action, step.reasons[0]) == ("create", "the container is absent")
    assert all(line.startswith("+ ") for line in step.diff)
    assert "+   --port 8000" in step.diff
    assert "+ device /dev/davinci0" in step.diff


def test_what_was_applied_is_as_it_should_be() -> None:
    _plan, facts = applied(**SECRET)
    plan = again(facts, **SECRET)
    assert plan.changes == ()
    assert plan.errors == ()


def test_one_changed_argument_is_two_lines() -> None:
    _plan, facts = applied(args={"max-model-len": 4096})
    (step,) = again(facts, args={"max-model-len": 8192}).steps
    assert step.action == "recreate"
    assert step.reasons == ("the configuration changed",)
    assert step.diff == ("-   --max-model-len 4096", "+   --max-model-len 8192")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"env": {"A": "1"}}, "+ env A=1"),
        ({"shm_gib": 2}, "+ shm 2 GiB"),
        ({"stop_grace_seconds": 5}, "+ stop grace 5 s"),
        ({"mounts": ["/data:/x:ro"]}, "+ mount /data → /x (read-only)"),
        ({"image": "mine:1"}, "+ image mine:1"),
        ({"chips": [3]}, "+ device /dev/davinci3"),
    ],
)
def test_every_part_of_a_container_counts(change: dict[str, Any], line: str) -> None:
    _plan, facts = applied()
    (step,) = again(facts, **change).steps
    assert step.action == "recreate"
    assert line in step.diff


def test_what_only_npuctl_looks_at_changes_no_container() -> None:
    _plan, facts = applied()
    assert again(facts, ready_within_seconds=60, token_within_seconds=5).changes == ()


def test_a_label_that_cannot_be_read_is_a_whole_new_container() -> None:
    _plan, facts = applied()
    (step,) = again(with_container(facts, config="", spec="no json")).steps
    assert step.action == "recreate"
    assert all(line.startswith("+ ") for line in step.diff)


@pytest.mark.parametrize("state", ["exited", "created", "dead", "paused"])
def test_a_container_that_does_not_run_is_started(state: str) -> None:
    _plan, facts = applied()
    (step,) = again(with_container(facts, state=state, exit_code=137)).steps
    assert (step.action, step.reasons) == ("start", (f"the container is {state} (exit code 137)",))


def test_a_container_that_would_not_come_back_is_started() -> None:
    _plan, facts = applied()
    (step,) = again(with_container(facts, restart_policy="no")).steps
    assert (step.action, step.reasons) == ("start", ("its restart policy is 'no'",))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (FileFacts(kind="directory", mode="0755", owner="root:root"), "mode 0755 → 0750"),
        (FileFacts(kind="directory", mode="0750", owner="joe:joe"), "owner joe:joe → root:root"),
        (FileFacts(kind="file", mode="0750", owner="root:root"), "kind file → directory"),
    ],
)
def test_a_folder_that_somebody_changed(file: FileFacts, line: str) -> None:
    _plan, facts = applied()
    (step,) = again(with_files(facts, FOLDER, file)).steps
    assert (step.action, step.reasons) == ("recreate", (f"{FOLDER} changed",))
    assert step.diff == (f"  {FOLDER}: {line}",)


def test_a_secret_that_changed_is_told_without_a_word_of_it() -> None:
    _plan, facts = applied(**SECRET)
    (step,) = again(facts, {"key": "n3w"}, **SECRET).steps
    assert step.action == "recreate"
    assert step.reasons == (f"{FOLDER}/secrets.env changed",)
    assert step.diff == (f"  {FOLDER}/secrets.env: content differs",)


def test_secrets_that_are_gone_are_written_again() -> None:
    _plan, facts = applied(**SECRET)
    (step,) = again(with_files(facts, f"{FOLDER}/secrets.env", None), **SECRET).steps
    assert (step.action, step.reasons) == ("recreate", (f"{FOLDER}/secrets.env is absent",))


def test_a_replica_too_many_is_removed() -> None:
    _plan, facts = applied(replicas=2)
    plan = again(facts, replicas=1)
    assert actions(plan) == {"chat-1": "remove", "chat-0": "none"}
    (step,) = plan.changes
    assert step.reasons == ("the spec has no such replica here",)
    assert (step.container, step.engine) == ("npuctl-prod-chat-1", "vllm")
    assert step.directory == "/etc/npuctl/prod/chat-1"


def test_a_folder_without_a_replica_is_removed_once() -> None:
    _plan, facts = applied(replicas=2)
    files = facts.nodes["node-1"].files
    gone = {"/etc/npuctl/prod/old-3": FileFacts(kind="directory", mode="0750", owner="root:root")}
    deeper = {"/etc/npuctl/prod/old-3/x": FileFacts(kind="directory", mode="0750", owner="root:root")}
    plan = again(with_node(facts, files=files | gone | deeper), replicas=1)
    steps = {step.directory: step for step in plan.changes}
    assert set(steps) == {"/etc/npuctl/prod/chat-1", "/etc/npuctl/prod/old-3"}
    orphan = steps["/etc/npuctl/prod/old-3"]
    assert (orphan.action, orphan.engine, orphan.container) == ("remove", "", "")


def test_where_docker_does_not_answer_nothing_is_planned() -> None:
    _plan, facts = applied()
    blind = with_node(facts, containers=[], docker=DockerFacts(error="no answer"))
    plan = again(blind)
    assert plan.steps == ()
    assert [finding.id for finding in plan.errors] == ["docker.engine"]


def test_a_step_for_what_is_there_takes_its_own_grace() -> None:
    plan, _facts = applied(stop_grace_seconds=77)
    there = container_of(plan.replicas[0])
    assert step_for_container("node-1", there, "stop", "prod").stop_grace_seconds == 77
    unreadable = ContainerFacts(name="x", id="", image="", state="running", spec="?")
    assert (
        step_for_container("node-1", unreadable, "stop", "prod").stop_grace_seconds == DEFAULT_GRACE_SECONDS
    )


def test_a_node_of_another_product_is_planned_for_itself() -> None:
    spec = spec_of(service_data(hosts=["node-1", "node-2"], replicas=2))
    plan = plan_of(spec, facts_of(node_1=node("a2"), node_2=node("a3")))
    assert [replica.container.image.rpartition("v0.18.0")[2] for replica in plan.replicas] == ["", "-a3"]


def test_a_node_that_knows_nothing_makes_no_steps() -> None:
    plan = plan_of(spec_of(service_data()), facts_of(node_1=NodeFacts()))
    assert plan.steps == ()
    assert "npu.readable" in {finding.id for finding in plan.errors}
