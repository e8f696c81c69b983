"""Who holds a chip: the processes with /dev/davinciN open, found in one pass over /proc.

A process in an inner container is in the node's /proc too, under the node's pid, and its links read
/dev/davinciN, for that is the path in its own file system.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple


class Holder(NamedTuple):
    """One process on one chip."""

    pid: int
    name: str


def device_prefix() -> str:
    """The path of a chip's device node without its number."""
    return os.environ.get("NPUSIM_DEVICE_PREFIX") or "/dev/davinci"


def scan() -> dict[int, list[Holder]]:
    """Holders by device number, ordered by pid."""
    prefix = device_prefix()
    found: dict[int, list[Holder]] = {}
    pids = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208
    for pid in pids:
        devices = _devices_of(pid, prefix)
        if devices:
            holder = Holder(pid, _name_of(pid))
            for device in devices:
                found.setdefault(device, []).append(holder)
    return found


def _devices_of(pid: int, prefix: str) -> set[int]:
    devices: set[int] = set()
    folder = f"/proc/{pid}/fd/"
    try:
        descriptors = os.listdir(folder)  # noqa: PTH208
    except OSError:  # the process ended, or is not ours to look into
        return devices
    for descriptor in descriptors:
        try:
            link = os.readlink(folder + descriptor)  # noqa: PTH115
        except OSError:
            continue
        if link.startswith(prefix):
            number = link[len(prefix) :].removesuffix(" (deleted)")
            if number.isdigit():
                devices.add(int(number))
    return devices


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().strip()
    except OSError:
        return ""
