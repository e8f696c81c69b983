"""In which order replicas are changed."""

from __future__ import annotations

from typing import get_args

import pytest

from npuctl.plan.model import Action, Step
from npuctl.plan.waves import sparing_services, split_waves


def step(name: str, action: Action) -> Step:
    return Step("n", action, name, f"npuctl-prod-{name}", "vllm", f"/etc/npuctl/prod/{name}")


def names(steps: list[Step], ready: set[str] | None = None) -> list[list[str]]:
    return [[entry.name for entry in wave] for wave in split_waves(steps, ready or set())]


def test_one_recreation_a_service_comes_first() -> None:
    steps = [step(name, "recreate") for name in ("a-0", "a-1", "b-0", "a-2", "b-1")]
    assert names(steps) == [["a-0", "b-0"], ["a-1", "a-2", "b-1"]]


@pytest.mark.parametrize("action", [action for action in get_args(Action) if action != "recreate"])
def test_what_takes_no_replica_out_of_service_comes_first(action: Action) -> None:
    steps = [step("a-0", "recreate"), step("a-1", action), step("a-2", "recreate")]
    assert names(steps) == [["a-0", "a-1"], ["a-2"]]


def test_nothing_to_do_is_no_wave() -> None:
    assert split_waves([], set()) == []


def test_services_whose_names_begin_alike_are_not_mixed_up() -> None:
    assert names([step("a-0", "recreate"), step("a-b-0", "recreate")]) == [["a-0", "a-b-0"]]


def test_a_service_that_failed_is_left_out() -> None:
    steps = [step("a-1", "recreate"), step("a-b-1", "recreate")]
    assert [entry.name for entry in sparing_services(steps, {"a"})] == ["a-b-1"]
    assert sparing_services(steps, set()) == tuple(steps)


@pytest.mark.parametrize("action", [action for action in get_args(Action) if action != "recreate"])
def test_a_service_that_failed_still_gets_what_takes_nothing_out_of_service(action: Action) -> None:
    assert sparing_services([step("a-1", action)], {"a"}) == (step("a-1", action),)


def test_a_replica_that_does_not_serve_is_tried_first() -> None:
    steps = [step(name, "recreate") for name in ("a-0", "a-1", "a-2")]
    assert names(steps, {"a-0", "a-2"}) == [["a-1"], ["a-0", "a-2"]]
