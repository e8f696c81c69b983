"""Ask replicas for a token, once, or until they are ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from npuctl import engines
from npuctl.health.verdict import ReplicaHealth, judge, unreachable
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import load_program
from npuctl.remote.ssh import ask
from npuctl.spec.models import Service

_CONNECTION_SECONDS = 20
_PAUSE_SECONDS = 1.0
_PATIENCE_TOKENS = 2
_FINAL = frozenset({"ready", "dead", "stopped"})
_DOUBTFUL = frozenset({"hung", "degraded", "unreachable"})


@dataclass(frozen=True, slots=True)
class Target:
    """One replica to ask."""

    service: Service
    replica: str
    node: str
    port: int
    container: str
    directory: str


def ask_replicas(inventory: Inventory, targets: Sequence[Target]) -> list[ReplicaHealth]:
    """One round trip a node; the states in the order of `targets`."""
    requests = {node: {"replicas": asked} for node, asked in requests_of(inventory, targets).items()}
    found: dict[tuple[str, str], ReplicaHealth] = {}
    seconds = longest_token(targets) + _CONNECTION_SECONDS
    for answer in ask(inventory, load_program("npuctl_health"), requests, seconds=seconds):
        here = [target for target in targets if target.node == answer.node]
        if answer.error:
            for target in here:
                lost = unreachable(target.service, target.replica, target.node, answer.error)
                found[target.node, target.replica] = lost
            continue
        for health in judge_node(here, answer.data["replicas"], simulated=answer.data["simulated"]):
            found[health.node, health.replica] = health
    return [found[target.node, target.replica] for target in targets]


def requests_of(inventory: Inventory, targets: Sequence[Target]) -> dict[str, list[dict[str, Any]]]:
    """Node → what library/module_utils/npuctl_probe.py takes for its replicas."""
    requests: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        requests.setdefault(target.node, []).append(_request(target, inventory.secrets))
    return requests


def longest_token(targets: Sequence[Target]) -> int:
    """Seconds that the slowest of these replicas may take for a token."""
    return max((target.service.token_within_seconds for target in targets), default=0)


def judge_node(
    targets: Sequence[Target], observed: Sequence[dict[str, Any]], *, simulated: bool
) -> list[ReplicaHealth]:
    """The states of one node's replicas, from what was observed there."""
    by_name = {target.replica: target for target in targets}
    return [
        judge(
            seen,
            (target := by_name[seen["name"]]).service,
            target.node,
            engines.load(target.service.engine).token_probe(target.service),
            simulated=simulated,
        )
        for seen in observed
    ]


def wait_until_ready(
    inventory: Inventory,
    targets: Sequence[Target],
    on_state: Callable[[ReplicaHealth], None],
    *,
    restarts_before: Mapping[str, int] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[ReplicaHealth]:
    """Ask again until every replica is ready, has failed, or has used up its time.

    A replica whose process ended is not waited for: its container restarts for ever, but it failed within
    seconds, and the last log lines say why. One that is hung, degraded or unreachable gets the time of two
    tokens to come round: the first token of a fresh engine is slow, and a network may blink.

    Args:
        inventory: the cluster.
        targets: whom to wait for.
        on_state: called with every state seen.
        restarts_before: replica → restarts that its container had already; none for a fresh container.
        clock: seconds, rising.
        sleep: waits that many seconds.
    """
    before = restarts_before or {}
    began = clock()
    bad_since: dict[str, float] = {}
    final: dict[str, ReplicaHealth] = {}
    while waiting := [target for target in targets if target.replica not in final]:
        for target, health in zip(waiting, ask_replicas(inventory, waiting), strict=True):
            on_state(health)
            now = clock()
            if health.state in _DOUBTFUL:
                bad_since.setdefault(target.replica, now)
            else:
                bad_since.pop(target.replica, None)
            lasted = now - bad_since.get(target.replica, now)
            given_up = lasted > _PATIENCE_TOKENS * target.service.token_within_seconds
            overdue = now - began > target.service.ready_within_seconds
            if health.restarts > before.get(target.replica, 0) and health.state != "ready":
                final[target.replica] = _ended(health)
            elif health.state in _FINAL or given_up or overdue:
                final[target.replica] = health
        if len(final) < len(targets):
            sleep(_PAUSE_SECONDS)
    return [final[target.replica] for target in targets]


def _ended(health: ReplicaHealth) -> ReplicaHealth:
    """A fresh container that Docker had to start again: its process ended before any token."""
    detail = f"its process ended {health.restarts} times since the start; the log below says why"
    return replace(health, state="dead", detail=detail)


def _request(target: Target, secrets: Mapping[str, str]) -> dict[str, Any]:
    probe = engines.load(target.service.engine).token_probe(target.service)
    key = target.service.api_key
    return {
        "name": target.replica,
        "container": target.container,
        "directory": target.directory,
        "port": target.port,
        "alive_path": probe.alive_path,
        "token_path": probe.token_path,
        "body": probe.body,
        "seconds": target.service.token_within_seconds,
        "api_key": secrets.get(key.secret, "") if key else "",
    }
