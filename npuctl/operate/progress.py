"""What an operation tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from npuctl.health.verdict import ReplicaHealth
from npuctl.runner.events import Event


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person wants to know now; `stage` is where in the operation we are."""

    stage: str
    text: str


Progress = Notice | Event | ReplicaHealth
Emit = Callable[[Progress], None]
