"""CPU that the nodes of a sandbox used, from their control groups."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

_NANOSECONDS, _MICROSECONDS = 1e9, 1e6


def meters_of(containers: Sequence[str]) -> list[Path]:
    """For each container the file that counts its CPU; none at all where one is not found.

    Control groups v1 (cpuacct.usage) and v2 (cpu.stat); both count what runs in containers inside.
    """
    command = ["docker", "inspect", "--format", "{{json .}}", *containers]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = []
    for line in done.stdout.splitlines():
        entry = json.loads(line)
        path = _meter(entry["State"]["Pid"], entry["Id"])
        if path is None:
            return []
        found.append(path)
    return found


def read(meters: Sequence[Path]) -> float | None:
    """CPU seconds of all together; None without meters."""
    if not meters:
        return None
    return sum(seconds(path.name, path.read_text(encoding="ascii")) for path in meters)


def seconds(name: str, text: str) -> float:
    """CPU seconds in a file of that name."""
    if name == "cpuacct.usage":
        return int(text) / _NANOSECONDS
    fields = dict(line.split() for line in text.splitlines())
    return int(fields["usage_usec"]) / _MICROSECONDS


def group_of(membership: str, controller: str, identity: str) -> str:
    """The container's own group: /proc/PID/cgroup's line of that controller, cut after the container's id.

    Control groups v2 have one line, whose controller is empty.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and identity in path:
            before, _, rest = path.partition(identity)
            return before + identity + (".scope" if rest.startswith(".scope") else "")
    return ""


def _meter(pid: int, identity: str) -> Path | None:
    try:
        membership = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
    except OSError:
        return None
    for controller, root, name in (
        ("cpuacct", "/sys/fs/cgroup/cpuacct", "cpuacct.usage"),
        ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "cpuacct.usage"),
        ("", "/sys/fs/cgroup", "cpu.stat"),
    ):
        group = group_of(membership, controller, identity)
        path = Path(root + group) / name
        if group and path.is_file():
            return path
    return None
