"""What Ansible reports, as typed events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["started", "ok", "changed", "failed", "unreachable", "waiting"]

_STATUS: dict[str, Status] = {
    "runner_on_start": "started",
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_retry": "waiting",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one task on one node.

    `task` says the outcome the task is for; `message` what was done, or why it failed. A task that takes long
    asks again and again; `waiting` says how far it is.
    """

    node: str
    role: str
    task: str
    status: Status
    seconds: float = 0.0
    message: str = ""
    notable: bool = False


def read_event(raw: dict[str, Any]) -> Event | None:
    """An event of ansible-runner; None for those that say nothing of one node's task."""
    status = _STATUS.get(raw.get("event", ""))
    data = raw.get("event_data", {})
    if status is None or "host" not in data:
        return None
    result = data.get("res") or {}
    if status == "ok" and result.get("changed"):
        status = "changed"
    return Event(
        node=data["host"],
        role=data.get("role", ""),
        task=data.get("task", ""),
        status=status,
        seconds=float(data.get("duration") or 0.0),
        message=_message(result),
        notable=bool(result.get("unset")),
    )


def _message(result: dict[str, Any]) -> str:
    if result.get("argument_errors"):
        return "; ".join(str(error) for error in result["argument_errors"])
    if result.get("done"):
        return ", ".join(str(word) for word in result["done"])
    failed_items = [item for item in result.get("results", []) if item.get("failed")]
    if failed_items:
        return "; ".join(str(item.get("msg", "failed")) for item in failed_items)
    if result.get("censored"):
        return "hidden: it concerns a secret"
    # A loop's own message says only that it came to its end.
    return "" if "results" in result else str(result.get("msg", ""))
