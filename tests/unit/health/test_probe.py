"""Asking replicas, and waiting for them with a clock of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from npuctl.health import probe
from npuctl.health.probe import Target, ask_replicas, wait_until_ready
from npuctl.health.verdict import ReplicaHealth, State
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import Program
from npuctl.remote.ssh import Answer
from npuctl.spec.models import Service
from tests.making import inventory_of, service, service_data, spec_of

SERVICE = service(ready_within_seconds=100, token_within_seconds=10)
Say = tuple[State, int]


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def target(name: str = "chat-0", own: Service = SERVICE, node: str = "node-1") -> Target:
    return Target(own, name, node, 8000, f"npuctl-prod-{name}", f"/etc/npuctl/prod/{name}")


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return inventory_of(tmp_path, spec_of(service_data()), "node-1", "node-2", secrets={"key": "s3cret"})


@pytest.fixture
def wait(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[ReplicaHealth], float]]:
    """Wait for replicas that say one thing after another; the last word is said for ever."""

    def run(**script: list[Say]) -> tuple[list[ReplicaHealth], float]:
        said = {name.replace("_", "-"): forever(words) for name, words in script.items()}
        clock = Clock()

        def ask(_inventory: Inventory, targets: Sequence[Target]) -> list[ReplicaHealth]:
            assert clock.now < 5000, "waits for ever"
            return [health(entry, *next(said[entry.replica])) for entry in targets]

        monkeypatch.setattr(probe, "ask_replicas", ask)
        targets = [target(name) for name in said]
        found = wait_until_ready(inventory, targets, seen.append, clock=clock, sleep=clock.sleep)
        assert [entry.replica for entry in found] == list(said)
        return found, clock.now - 1000

    seen: list[ReplicaHealth] = []
    return run


def forever(words: list[Say]) -> Iterator[Say]:
    yield from words
    while True:
        yield words[-1]


def health(entry: Target, state: State, restarts: int) -> ReplicaHealth:
    return ReplicaHealth("chat", entry.replica, entry.node, state, "", restarts=restarts)


Wait = Callable[..., tuple[list[ReplicaHealth], float]]


def test_ready_at_once(wait: Wait) -> None:
    (found,), seconds = wait(chat_0=[("ready", 0)])
    assert (found.state, seconds) == ("ready", 0)


def test_a_start_is_waited_for(wait: Wait) -> None:
    (found,), seconds = wait(chat_0=[("starting", 0)] * 50 + [("ready", 0)])
    assert (found.state, seconds) == ("ready", 50)


def test_a_start_that_takes_too_long_is_given_up(wait: Wait) -> None:
    (found,), seconds = wait(chat_0=[("starting", 0)])
    assert found.state == "starting"
    assert seconds == pytest.approx(101, abs=1)


@pytest.mark.parametrize("state", ["dead", "stopped"])
def test_what_ended_is_not_waited_for(wait: Wait, state: State) -> None:
    (found,), seconds = wait(chat_0=[(state, 0)])
    assert (found.state, seconds) == (state, 0)


def test_a_first_restart_is_the_end(wait: Wait) -> None:
    (found,), seconds = wait(chat_0=[("starting", 0), ("starting", 1), ("ready", 1)])
    assert (found.state, seconds) == ("dead", 1)
    assert "its process ended 1 times" in found.detail


def test_a_restart_long_ago_does_not_matter_once_there_is_a_token(wait: Wait) -> None:
    (found,), seconds = wait(chat_0=[("ready", 1)])
    assert (found.state, seconds) == ("ready", 0)


@pytest.mark.parametrize("state", ["hung", "degraded", "unreachable"])
def test_a_doubtful_one_gets_the_time_of_two_tokens(wait: Wait, state: State) -> None:
    (found,), seconds = wait(chat_0=[(state, 0)])
    assert found.state == state
    assert seconds == pytest.approx(21, abs=1)


@pytest.mark.parametrize("state", ["hung", "degraded", "unreachable"])
def test_a_doubtful_one_may_come_round(wait: Wait, state: State) -> None:
    (found,), seconds = wait(chat_0=[(state, 0)] * 15 + [("ready", 0)])
    assert (found.state, seconds) == ("ready", 15)


def test_the_patience_begins_anew_after_a_good_word(wait: Wait) -> None:
    hung: list[Say] = [("hung", 0)] * 15
    degraded: list[Say] = [("degraded", 0)] * 15
    script: list[Say] = [*hung, ("starting", 0), *degraded, ("ready", 0)]
    (found,), _seconds = wait(chat_0=script)
    assert found.state == "ready"


def test_a_change_of_doubt_is_no_good_word(wait: Wait) -> None:
    (found,), seconds = wait(chat_0=[("hung", 0)] * 15 + [("degraded", 0)] * 15 + [("ready", 0)])
    assert found.state == "degraded"
    assert seconds == pytest.approx(21, abs=1)


def test_each_replica_ends_for_itself(wait: Wait) -> None:
    found, seconds = wait(
        chat_0=[("dead", 0)], chat_1=[("starting", 0)] * 5 + [("ready", 0)], chat_2=[("ready", 0)]
    )
    assert [entry.state for entry in found] == ["dead", "ready", "ready"]
    assert seconds == 5


def test_nobody_to_wait_for(wait: Wait) -> None:
    assert wait() == ([], 0)


def test_each_node_is_asked_once_for_all_its_replicas(
    inventory: Inventory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    keyed = service("open", api_key={"secret": "key"}, token_within_seconds=50)

    def ask(_inv: Inventory, program: Program, requests: dict[str, Any], *, seconds: float) -> list[Answer]:
        asked.append(requests)
        assert program.name == "npuctl_health"
        assert seconds > 50
        replicas = [
            {"name": entry["name"], "deployed": False, "container": None}
            for entry in requests["node-1"]["replicas"]
        ]
        data = {"simulated": True, "replicas": list(reversed(replicas))}
        return [Answer("node-2", error="off"), Answer("node-1", data=data)]

    monkeypatch.setattr(probe, "ask", ask)
    found = ask_replicas(inventory, [target("a"), target("b", node="node-2"), target("c", keyed)])
    assert [(entry.replica, entry.state) for entry in found] == [
        ("a", "stopped"),
        ("b", "unreachable"),
        ("c", "stopped"),
    ]
    assert found[0].simulated
    assert found[1].detail == "off"
    (requests,) = asked
    first, second = requests["node-1"]["replicas"]
    assert (first["api_key"], second["api_key"]) == ("", "s3cret")
    assert (first["seconds"], second["seconds"]) == (10, 50)
    assert first["body"]["max_tokens"] == 1
    assert first["container"] == "npuctl-prod-a"
