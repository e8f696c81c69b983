"""What was measured, as data: samples → medians, ratios, goals."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Sample, ratios, spread

SCHEMA = 1
HELP_SECONDS = 0.25
# ours, theirs, largest ratio of wall time that is the goal (None: only told)
COMPARED: dict[str, list[tuple[str, str, float | None]]] = {
    "deploy": [
        ("deploy-npuctl", "deploy-pyinfra", 0.5),
        ("deploy-npuctl", "deploy-ansible", 0.05),
        ("deploy-npuctl-cold", "deploy-pyinfra", None),
        ("deploy-npuctl", "deploy-ansible-one-module", None),
    ],
    "health": [
        ("health-npuctl", "health-plain", 2.0),
        ("health-npuctl", "health-pyinfra", None),
        ("health-npuctl", "health-ansible", None),
    ],
}


def table(samples: Mapping[str, Sequence[Sample]], nodes: int) -> list[dict[str, Any]]:
    """One row a command: rounds, and median, least and most of each figure."""
    rows = []
    for key, taken in samples.items():
        node_seconds = [sample.nodes for sample in taken if sample.nodes is not None]
        controller = [sample.controller for sample in taken]
        rows.append(
            {
                "key": key,
                "rounds": len(taken),
                "wall": asdict(spread([sample.wall for sample in taken])),
                "controller": asdict(spread(controller)),
                "controller_per_node": spread(controller).median / nodes,
                "nodes": asdict(spread(node_seconds)) if len(node_seconds) == len(taken) else None,
            }
        )
    return rows


def compared(samples: Mapping[str, Sequence[Sample]], group: str) -> list[dict[str, Any]]:
    """Ratios round by round, of wall time and of the controller's CPU, with the goal where there is one."""
    rows = []
    for ours, theirs, goal in COMPARED[group]:
        wall = spread(ratios([s.wall for s in samples[ours]], [s.wall for s in samples[theirs]]))
        cpu = spread(ratios([s.controller for s in samples[ours]], [s.controller for s in samples[theirs]]))
        rows.append(
            {
                "ours": ours,
                "theirs": theirs,
                "wall": asdict(wall),
                "controller": asdict(cpu),
                "goal": goal,
                "met": None if goal is None else wall.median <= goal,
            }
        )
    return rows


def started(samples: Mapping[str, Sequence[Sample]]) -> list[dict[str, Any]]:
    """CPU seconds of each start."""
    return [
        {"key": key, "cpu": asdict(spread([sample.controller for sample in taken]))}
        for key, taken in samples.items()
    ]


def machine() -> dict[str, Any]:
    """The machine without its name: cores, memory, kernel, and how busy it was."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.group(1)) / 2**20) if memory else None,
        "kernel": platform.release().split("-")[0],
        "architecture": platform.machine(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def versions() -> dict[str, str]:
    """Of everything whose speed is measured."""
    ssh = subprocess.run(["ssh", "-V"], check=True, capture_output=True, text=True).stderr
    return {
        "npuctl": version("npuctl"),
        "Python": platform.python_version(),
        "ansible-core": version("ansible-core"),
        "pyinfra": version("pyinfra"),
        "paramiko": version("paramiko"),
        "OpenSSH": ssh.split(",")[0].split()[0].removeprefix("OpenSSH_"),
    }
