"""Statistics over rounds, and the time and CPU of one command. Knows nothing of npuctl."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12  # fields 14 and 15 of proc(5) stat, counted after the command's name


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one command.

    Attributes:
        wall: seconds.
        controller: CPU seconds (user and system) of the command, its children and the SSH connections kept
            in the background.
        nodes: CPU seconds of all nodes together; None where they cannot be read.
    """

    wall: float
    controller: float
    nodes: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and most of some figures."""

    median: float
    least: float
    most: float


def spread(figures: Sequence[float]) -> Spread:
    """Median, least and most.

    Raises:
        ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("no figures")
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ours to theirs, round by round; rounds that only one of them ran are left out.

    Raises:
        ValueError: one of theirs is not above 0.
    """
    if any(their <= 0 for their in theirs):
        raise ValueError("a ratio to nothing")
    return [our / their for our, their in zip(ours, theirs, strict=False)]


def background_seconds(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU that background processes used between two readings (pid → CPU seconds).

    One that began in between counts from 0; what one that ended had used since the first reading is lost.
    """
    return sum(max(0.0, used - before.get(pid, 0.0)) for pid, used in after.items())


def stat_seconds(stat: str) -> float:
    """User and system CPU seconds of a line of /proc/PID/stat; the command's name may hold spaces."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS


def processes_naming(text: str, proc: Path = Path("/proc")) -> dict[int, float]:
    """CPU seconds by pid, of every process whose command line has `text` in it."""
    found: dict[int, float] = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found[int(folder.name)] = stat_seconds((folder / "stat").read_text(encoding="utf-8"))
        except OSError:
            continue  # it ended meanwhile
    return found


@dataclass(frozen=True, slots=True)
class Meters:
    """What to read around a run besides the command itself: pid → seconds, and the nodes' CPU."""

    background: Callable[[], dict[int, float]] = dict
    nodes: Callable[[], float | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Run:
    """A run with what the command said."""

    sample: Sample
    code: int
    output: str


def run(argv: Sequence[str], log: Path, meters: Meters, *, environment: Mapping[str, str]) -> Run:
    """Run a command to its end; what it prints goes to `log`, for a terminal's speed is not measured."""
    nodes_before, background_before = meters.nodes(), meters.background()
    with log.open("wb") as sink:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=dict(environment)
        )
        # wait4 tells the CPU of this process and of all its descendants that were waited for.
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    background = background_seconds(background_before, meters.background())
    nodes_after = meters.nodes()
    nodes = None if nodes_before is None or nodes_after is None else nodes_after - nodes_before
    sample = Sample(wall, usage.ru_utime + usage.ru_stime + background, nodes)
    return Run(sample, process.returncode, log.read_text(encoding="utf-8", errors="replace"))


def rounds(
    runners: Mapping[str, Callable[[], Sample]], count: int, limits: Mapping[str, int]
) -> dict[str, list[Sample]]:
    """Run A B C A B C …, `count` rounds; a runner named in `limits` only in that many first rounds."""
    samples: dict[str, list[Sample]] = {name: [] for name in runners}
    for number in range(count):
        for name, once in runners.items():
            if number < limits.get(name, count):
                samples[name].append(once())
    return samples
