"""Observation → state: one case for each way in which a replica can be."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.engines import load
from npuctl.health.verdict import ReplicaHealth, State, judge, service_state, unreachable
from tests.making import service

SERVICE = service(ready_within_seconds=600, token_within_seconds=30)
PROBE = load("vllm").token_probe(SERVICE)
CONTAINER = {
    "state": "running",
    "exit_code": 0,
    "restarts": 0,
    "restart_policy": "always",
    "up_seconds": 100.0,
}
OK = {"status": 200, "error": "", "body": "", "seconds": 0.1}
TOKEN = {**OK, "tokens": 1, "seconds": 0.25}
NO_PORT = {"status": None, "error": "Connection refused", "body": "", "seconds": 0.0}
TIME_OUT = {**NO_PORT, "error": "time-out"}


def verdict(**seen: Any) -> ReplicaHealth:
    own: dict[str, Any] = {
        "name": "chat-0",
        "deployed": True,
        "container": CONTAINER,
        "alive": OK,
        "token": TOKEN,
    }
    return judge(own | seen, SERVICE, "node-1", PROBE, simulated=False)


def not_running(**container: Any) -> dict[str, Any]:
    return {"container": {**CONTAINER, "state": "exited", **container}}


def up(alive: dict[str, Any], **container: Any) -> dict[str, Any]:
    return {"alive": alive, "token": None, "container": {**CONTAINER, **container}}


def answered(**token: Any) -> dict[str, Any]:
    return {"token": {**TOKEN, "tokens": 0, **token}}


@pytest.mark.parametrize(
    ("seen", "state", "detail"),
    [
        ({}, "ready", "a token in 0.25 s"),
        ({"container": None, "deployed": False}, "stopped", "not deployed"),
        ({"container": None}, "dead", "the container is not there"),
        ({"container": None, "engine_error": "no socket"}, "unreachable", "no socket"),
        (not_running(restart_policy="no", exit_code=143), "stopped", "exit code 143"),
        (not_running(exit_code=0), "dead", "the container is exited (exit code 0)"),
        (not_running(state="created"), "dead", "the container is created"),
        (not_running(state="restarting", restarts=1, exit_code=1), "dead", "again and again: exit code 1, 1 restarts"),
        (not_running(restarts=3), "dead", "ends again and again"),
        (not_running(state="paused"), "hung", "paused"),
        (up(NO_PORT), "starting", "no port yet, up 100 s"),
        (up(NO_PORT, restarts=2), "starting", "restarted 2 times"),
        (up(NO_PORT, restarts=3), "dead", "again and again: 3 restarts"),
        (up(NO_PORT, up_seconds=601.0), "hung", "no port after 601 s"),
        (up(TIME_OUT), "hung", "the port is open but does not answer"),
        (up({**OK, "status": 503}), "dead", "/health says 503"),
        (up({**OK, "status": 500}), "degraded", "/health says 500"),
        (answered(status=None, error="time-out"), "hung", "no token within 30 s"),
        (answered(status=None, error="reset"), "degraded", "broke off: reset"),
        (answered(status=401), "degraded", "refuses the API key"),
        (answered(status=404), "degraded", "does not serve 'Qwen/Qwen3-0.6B'"),
        (answered(body="{}"), "degraded", "the answer holds no token: {}"),
        (answered(status=500, body="oops"), "degraded", "got 500: oops"),
    ],
)  # fmt: skip
def test_the_state_of_a_replica(seen: dict[str, Any], state: str, detail: str) -> None:
    found = verdict(**seen)
    assert (found.state, found.service, found.replica, found.node) == (state, "chat", "chat-0", "node-1")
    assert detail in found.detail
    assert (found.token_seconds is not None) == (state == "ready")


def test_log_and_restarts_are_kept() -> None:
    found = verdict(**up(NO_PORT, restarts=1), log=["a", "b"])
    assert (found.log, found.restarts) == (("a", "b"), 1)
    assert verdict(container=None).restarts == 0


def test_a_sandbox_is_called_one() -> None:
    own = {"name": "chat-0", "deployed": False, "container": None}
    assert judge(own, SERVICE, "n", PROBE, simulated=True).simulated


def test_a_silent_node_is_unreachable_and_not_dead() -> None:
    found = unreachable(SERVICE, "chat-0", "node-1", "the node does not answer")
    assert (found.state, found.detail) == ("unreachable", "the node does not answer")


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (["ready", "ready"], "ready"),
        (["stopped"], "stopped"),
        (["ready", "dead"], "degraded"),
        (["ready", "stopped"], "degraded"),
        (["dead", "hung"], "dead"),
        (["hung", "unreachable"], "hung"),
        (["unreachable", "starting"], "unreachable"),
        (["starting", "stopped"], "starting"),
        (["degraded", "starting"], "degraded"),
    ],
)
def test_a_service_in_one_word(states: list[State], word: str) -> None:
    replicas = [ReplicaHealth("chat", f"chat-{index}", "n", state, "") for index, state in enumerate(states)]
    assert service_state(replicas) == word
