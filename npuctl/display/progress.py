"""Where progress goes: live lines on a terminal, plain lines without one, JSON lines for machines.

Progress goes to standard error (JSON lines: standard output), results to standard output.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from npuctl.health.verdict import ReplicaHealth
from npuctl.operate.progress import Emit, Notice, Progress
from npuctl.runner.events import Event

_STARTING_EVERY_SECONDS = 5.0


def open_progress(output: str) -> Emit:
    """The consumer that fits `--output` and the terminal."""
    if output == "json":
        return JsonLines(sys.stdout)
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        return Live(sys.stderr)
    return Plain(sys.stderr.write)


class JsonLines:
    """One JSON object a line: {"type": "notice" | "event" | "health", …}."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, progress: Progress) -> None:
        """Write one line."""
        kind = {Notice: "notice", Event: "event", ReplicaHealth: "health"}[type(progress)]
        line = {"type": kind, **dataclasses.asdict(progress)}
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()


class Plain:
    """Lines for a log: what changed, what failed, and the state of what is awaited when it changes."""

    def __init__(
        self, write: Callable[[str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._states: dict[str, tuple[str, float]] = {}

    def __call__(self, progress: Progress) -> None:
        """Write a line, or nothing where nothing is new."""
        line = self.line(progress)
        if line:
            self._write(line + "\n")

    def line(self, progress: Progress) -> str:
        """The line for one step of progress; empty where nothing is new."""
        if isinstance(progress, Notice):
            return f"{progress.stage}: {progress.text}"
        if isinstance(progress, Event):
            return _event_line(progress)
        return self._health_line(progress)

    def _health_line(self, health: ReplicaHealth) -> str:
        before, since = self._states.get(health.replica, ("", 0.0))
        now = self._clock()
        if before == health.state and now - since < _STARTING_EVERY_SECONDS:
            return ""
        self._states[health.replica] = (health.state, now)
        last = f": {health.log[-1].strip()[:100]}" if health.log and health.state == "starting" else ""
        return f"  {health.node} {health.replica} {health.state} ({health.detail}){last}"


class Live:
    """The same lines, and below them one line that says what is going on right now."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._plain = Plain(self._above)

    def __call__(self, progress: Progress) -> None:
        """Write what is new, then redraw the last line."""
        self._plain(progress)
        now = _now_line(progress)
        if now:
            width = os.get_terminal_size(self._stream.fileno()).columns
            self._stream.write(f"\r\x1b[2K\x1b[2m{now[: width - 1]}\x1b[0m\r")
            self._stream.flush()

    def _above(self, line: str) -> None:
        self._stream.write(f"\r\x1b[2K{line}")
        self._stream.flush()


def _event_line(event: Event) -> str:
    if event.status == "changed" or (event.status == "ok" and event.notable):
        return f"  {event.node} {event.task}: {event.message or 'changed'} ({event.seconds:.1f} s)"
    if event.status in {"failed", "unreachable"}:
        return f"  {event.node} {event.status.upper()} {event.task}: {event.message}"
    if event.status == "waiting":
        return f"  {event.node} {event.task}: {event.message or 'not yet'}"
    return ""


def _now_line(progress: Progress) -> str:
    if isinstance(progress, Event) and progress.status == "started":
        return f"… {progress.node}: {progress.task}"
    if isinstance(progress, ReplicaHealth) and progress.state != "ready":
        last = f" · {progress.log[-1].strip()}" if progress.log else ""
        return f"… {progress.node} {progress.replica}: {progress.detail}{last}"
    return ""
