"""The memory of everything that a command starts, sampled while it runs."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_SECONDS = 0.25
_PPID = 1  # of the fields after the command's name in proc(5) stat


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: seconds, CPU seconds of the controller's processes, MB at the fullest moment."""

    wall: float
    cpu: float
    peak_mb: float
    code: int
    output: str


def measure(argv: Sequence[str], environment: Mapping[str, str], log: Path, *, beside: str) -> Measured:
    """Run a command; memory is that of its process tree and of every process that names `beside`.

    Memory is the proportional set size: what processes share is counted once.
    """
    with log.open("wb") as sink:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=dict(environment)
        )
        ended, peaks = threading.Event(), [0.0]
        sampler = threading.Thread(target=_sample, args=(process.pid, beside, ended, peaks))
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
    output = log.read_text(encoding="utf-8", errors="replace")
    return Measured(wall, usage.ru_utime + usage.ru_stime, peaks[0], process.returncode, output)


def _sample(root: int, beside: str, ended: threading.Event, peaks: list[float]) -> None:
    while not ended.wait(_EVERY_SECONDS):
        peaks[0] = max(peaks[0], sum(map(_pss_mb, _processes(root, beside))))


def _processes(root: int, beside: str) -> Iterable[int]:
    """The process, its descendants, and those that name `beside` in their command lines."""
    parents: dict[int, int] = {}
    named: set[int] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[_PPID])
                if beside.encode() in (folder / "cmdline").read_bytes():
                    named.add(int(folder.name))
            except OSError:
                continue  # it ended meanwhile
    found = {root} | named
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def _pss_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0) / 1024
