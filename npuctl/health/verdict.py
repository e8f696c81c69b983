"""Observation → state of a replica. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from npuctl.engines._contract import TokenProbe
from npuctl.spec.models import Service

State = Literal["ready", "starting", "degraded", "hung", "dead", "unreachable", "stopped"]
_HTTP_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
# Docker starts a container that ended again at once; one that ended this often will not come up by itself.
_CRASH_LOOP = 3


@dataclass(frozen=True, slots=True)
class ReplicaHealth:
    """The state of one replica, and why it is called so.

    Attributes:
        simulated: the node simulates its NPUs.
        token_seconds: time of the one token; None where none came out.
        log: last lines of the engine's log, where it is not ready.
    """

    service: str
    replica: str
    node: str
    state: State
    detail: str
    token_seconds: float | None = None
    restarts: int = 0
    log: tuple[str, ...] = ()
    simulated: bool = False


def judge(
    seen: dict[str, Any], service: Service, node: str, probe: TokenProbe, *, simulated: bool
) -> ReplicaHealth:
    """The state of a replica, from what library/npuctl_health.py observed."""
    container = seen.get("container")
    if container is None:
        state, detail = _without_container(seen)
    elif container["state"] != "running":
        state, detail = _not_running(container)
    else:
        state, detail = _running(seen, container, service, probe)
    token = seen.get("token") or {}
    return ReplicaHealth(
        service=service.name,
        replica=seen["name"],
        node=node,
        state=state,
        detail=detail,
        token_seconds=token.get("seconds") if state == "ready" else None,
        restarts=container["restarts"] if container else 0,
        log=tuple(seen.get("log", ())),
        simulated=simulated,
    )


def unreachable(service: Service, replica: str, node: str, reason: str) -> ReplicaHealth:
    """A replica on a node that could not be asked: it may well be serving."""
    return ReplicaHealth(service.name, replica, node, "unreachable", reason)


def service_state(replicas: Sequence[ReplicaHealth]) -> State:
    """One word for a service: that of its replicas where they agree, else degraded or the worst."""
    states = {replica.state for replica in replicas}
    if len(states) == 1:
        return states.pop()
    if "ready" in states:
        return "degraded"
    order: tuple[State, ...] = ("dead", "hung", "unreachable", "degraded", "starting", "stopped")
    return next(state for state in order if state in states)


def _without_container(seen: dict[str, Any]) -> tuple[State, str]:
    if seen.get("engine_error"):
        return "unreachable", f"Docker does not answer, what runs is unknown: {seen['engine_error']}"
    if seen["deployed"]:
        return "dead", "the container is not there"
    return "stopped", "not deployed"


def _not_running(container: dict[str, Any]) -> tuple[State, str]:
    code = container["exit_code"]
    if container["state"] == "restarting" or container["restarts"] >= _CRASH_LOOP:
        return "dead", f"ends again and again: exit code {code}, {container['restarts']} restarts"
    if container["state"] == "paused":
        return "hung", "the container is paused"
    if container["restart_policy"] == "no":
        return "stopped", f"stopped (exit code {code})"
    return "dead", f"the container is {container['state']} (exit code {code})"


def _running(
    seen: dict[str, Any], container: dict[str, Any], service: Service, probe: TokenProbe
) -> tuple[State, str]:
    alive = seen["alive"]
    if alive["status"] is None:
        return _no_answer(alive, container, service)
    if alive["status"] == probe.failing_status:
        return "dead", f"{probe.alive_path} says {alive['status']}: the engine behind the API server died"
    if alive["status"] != _HTTP_OK:
        return "degraded", f"{probe.alive_path} says {alive['status']}"
    return _judge_token(seen["token"], service, probe)


def _judge_token(token: dict[str, Any], service: Service, probe: TokenProbe) -> tuple[State, str]:
    if token["status"] is None and token["error"] == "time-out":
        return "hung", f"{probe.alive_path} is fine, but no token within {service.token_within_seconds} s"
    if token["status"] == _HTTP_OK and token["tokens"]:
        return "ready", f"a token in {token['seconds']:.2f} s"
    status = token["status"]
    reasons = {
        None: f"the request for a token broke off: {token['error']}",
        _UNAUTHORIZED: "the engine refuses the API key of the spec",
        _NOT_FOUND: f"the engine does not serve {service.model.id!r}",
        _HTTP_OK: f"the answer holds no token: {token['body'][:200]}",
    }
    return "degraded", reasons.get(status, f"the request for a token got {status}: {token['body'][:200]}")


def _no_answer(alive: dict[str, Any], container: dict[str, Any], service: Service) -> tuple[State, str]:
    up = container["up_seconds"]
    if container["restarts"] >= _CRASH_LOOP:
        return "dead", f"ends again and again: {container['restarts']} restarts"
    if alive["error"] == "time-out":
        return "hung", "the port is open but does not answer"
    if up > service.ready_within_seconds:
        return "hung", f"no port after {up:.0f} s (ready_within_seconds is {service.ready_within_seconds})"
    again = f", restarted {container['restarts']} times" if container["restarts"] else ""
    return "starting", f"no port yet, up {up:.0f} s{again}"
