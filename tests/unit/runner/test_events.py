"""Raw events of ansible-runner → typed events, and what they add up to."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.runner.events import Event, read_event
from npuctl.runner.run import Outcome


def raw(event: str = "runner_on_ok", **data: Any) -> dict[str, Any]:
    own = {"host": "node-1", "role": "npu_container", "task": "Run the container as planned", "duration": 1.5}
    return {"event": event, "event_data": own | data, "stdout": "never read: it may hold a secret"}


def event(name: str = "runner_on_ok", **data: Any) -> Event:
    found = read_event(raw(name, **data))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "result", "status"),
    [
        ("runner_on_start", None, "started"),
        ("runner_on_ok", {"changed": False}, "ok"),
        ("runner_on_ok", {"changed": True}, "changed"),
        ("runner_on_failed", {"changed": True}, "failed"),
        ("runner_on_unreachable", {"unreachable": True}, "unreachable"),
        ("runner_retry", {"changed": False, "attempts": 1}, "waiting"),
    ],
)
def test_the_status_of_a_task(name: str, result: dict[str, Any] | None, status: str) -> None:
    found = event(name, res=result)
    assert (found.status, found.node, found.role) == (status, "node-1", "npu_container")
    assert (found.task, found.seconds) == ("Run the container as planned", 1.5)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"event": "playbook_on_start"},
        {"event": "runner_on_ok"},
        {"event": "runner_on_ok", "event_data": {}},
        {"event": "runner_item_on_ok", "event_data": {"host": "a"}},
        {"event": "verbose", "stdout": "x"},
    ],
)
def test_what_says_nothing_of_a_task_is_passed_over(given: dict[str, Any]) -> None:
    assert read_event(given) is None


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "boom"}, "boom"),
        (
            {"argument_errors": ["a is missing", "b is wrong"], "msg": "Validation failed"},
            "a is missing; b is wrong",
        ),
        ({"done": ["created", "started"]}, "created, started"),
        (
            {
                "results": [{"failed": True, "msg": "x"}, {"msg": "fine"}, {"failed": True}],
                "msg": "All items",
            },
            "x; failed",
        ),
        ({"censored": "the output has been hidden"}, "hidden: it concerns a secret"),
        ({"censored": "hidden", "msg": "s3cret"}, "hidden: it concerns a secret"),
        ({}, ""),
    ],
)
def test_the_message_of_a_failure(result: dict[str, Any], message: str) -> None:
    assert event("runner_on_failed", res=result).message == message


def test_fields_that_are_missing_are_empty() -> None:
    found = read_event({"event": "runner_on_start", "event_data": {"host": "a"}})
    assert found == Event(node="a", role="", task="", status="started")


def test_an_outcome_is_the_sum_of_its_events() -> None:
    outcome = Outcome()
    for entry in (
        Event("a", "r", "Write", "changed", message=""),
        Event("a", "r", "Run", "changed", message="created, started"),
        Event("b", "r", "Run", "failed", message="first"),
        Event("b", "r", "Run", "failed", message="second"),
        Event("c", "r", "Run", "unreachable", message=""),
        Event("d", "r", "Run", "ok"),
        Event("e", "r", "Run", "failed", message=""),
    ):
        outcome.add(entry)
    assert outcome.changed == {"a": ["Write", "created, started"]}
    assert outcome.failed == {"b": "Run: first", "e": "Run: failed"}
    assert outcome.unreachable == {"c": "unreachable"}


def test_what_could_not_be_set_is_worth_a_line_though_nothing_changed() -> None:
    result = {"changed": False, "done": ["/sys/x cannot be set to 1: no"], "unset": {"/sys/x": "no"}}
    found = event("runner_on_ok", res=result)
    assert (found.status, found.notable) == ("ok", True)
    assert not event("runner_on_ok", res={"changed": False, "done": [], "unset": {}}).notable
