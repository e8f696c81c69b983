"""The append-only journal of a cluster, and the folders of its runs.

A run is written down before it begins and when it ends: a run that has only a beginning was killed.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KEPT_RUNS = 20


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a verb that changes nodes."""

    id: str
    verb: str
    folder: Path
    journal: Path

    def write(self, event: str, **details: Any) -> None:
        """Append one line; it is on the disk when this returns."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self.id,
            "verb": self.verb,
            "event": event,
            **details,
        }
        descriptor = os.open(self.journal, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # A kill may have cut the last line short: it must not swallow this one.
            size = os.fstat(descriptor).st_size
            cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            text = ("\n" if cut else "") + json.dumps(line, ensure_ascii=False) + "\n"
            os.write(descriptor, text.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def begin_run(state: Path, verb: str, details: Mapping[str, Any]) -> Run:
    """Make the run's folder (mode 0700), note the beginning, and forget all but the last runs' folders."""
    runs = state / "runs"
    runs.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in sorted(runs.iterdir())[: -KEPT_RUNS or None]:
        shutil.rmtree(old, ignore_errors=True)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{verb}-{secrets.token_hex(2)}"
    run = Run(name, verb, runs / name, state / "journal.jsonl")
    run.folder.mkdir(mode=0o700)
    run.write("begun", **details)
    return run


def forget_killed_runs(state: Path) -> None:
    """Remove what runs that were killed left of ansible-runner: the whole environment, tokens and all.

    A run that ends by itself takes it away. Only the holder of the lock knows that no other run is alive.
    """
    for killed in (state / "runs").glob("*/runner"):
        shutil.rmtree(killed, ignore_errors=True)


def read_journal(state: Path) -> list[dict[str, Any]]:
    """Every line of the journal; a line that a kill cut short is left out."""
    path = state / "journal.jsonl"
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run as the journal tells it; `end` in words, `exit_code` where the run came to a result."""

    id: str
    verb: str
    began: str
    end: str
    exit_code: int | None = None


_NO_END = "has no end in the journal: it was killed, or is still going on"


def summarise(lines: Sequence[Mapping[str, Any]]) -> list[PastRun]:
    """One entry a run, in the order in which they began."""
    runs: dict[str, PastRun] = {}
    for line in lines:
        run, event = line["run"], line["event"]
        if event == "begun":
            runs[run] = PastRun(run, line["verb"], line["time"], _NO_END)
        elif run in runs:
            runs[run] = _after(runs[run], event, line)
    return list(runs.values())


def _after(run: PastRun, event: str, line: Mapping[str, Any]) -> PastRun:
    if event == "result":
        return replace(run, exit_code=line.get("exit_code"))
    if event == "ended":
        return replace(run, end=f"ended with {run.exit_code}")
    if event == "failed":
        return replace(run, end=f"failed: {line['error']}")
    # What a run writes on its way, as the steps of a driver's change, is no end.
    return replace(run, end=event) if event == "interrupted" else run
