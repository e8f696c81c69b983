"""Results as data, for `--output json`. Keys are a contract; they are added to, not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from npuctl.health.verdict import ReplicaHealth, service_state
from npuctl.operate.deploy import Applied
from npuctl.operate.stop import Stopped

SCHEMA = 1


def health_result(cluster: str, replicas: Sequence[ReplicaHealth]) -> dict[str, Any]:
    """States of services and replicas."""
    services = {
        service: service_state([entry for entry in replicas if entry.service == service])
        for service in dict.fromkeys(entry.service for entry in replicas)
    }
    return {
        "schema": SCHEMA,
        "cluster": cluster,
        "simulated": any(entry.simulated for entry in replicas),
        "services": services,
        "replicas": [asdict(entry) for entry in replicas],
    }


def applied_result(applied: Applied) -> dict[str, Any]:
    """What a deploy or a start did."""
    plan = applied.view.plan
    return {
        "cluster": plan.cluster,
        "simulated": plan.simulated,
        "check_mode": applied.dry_run,
        "steps": [{"node": step.node, "replica": step.name, "action": step.action} for step in applied.steps],
        "changed": applied.outcome.changed,
        "failed": applied.outcome.failed,
        "unreachable": {
            **{node: silent.reason for node, silent in plan.unreachable.items()},
            **applied.outcome.unreachable,
        },
        "left_out": list(applied.left_out),
        "replicas": [asdict(entry) for entry in applied.health],
    }


def stopped_result(stopped: Stopped) -> dict[str, Any]:
    """What a stop or a teardown did, with the proof."""
    return {
        "cluster": stopped.cluster,
        "simulated": stopped.simulated,
        "steps": [{"node": step.node, "replica": step.name, "action": step.action} for step in stopped.steps],
        "failed": stopped.outcome.failed,
        "evidence": [asdict(entry) for entry in stopped.evidence],
        "left_alone": stopped.foreign,
        "unreachable": {**stopped.unreachable, **stopped.outcome.unreachable},
    }
