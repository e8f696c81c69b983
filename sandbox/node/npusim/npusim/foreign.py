"""A process that is no business of ours and holds a chip: put there, and taken away again."""

from __future__ import annotations

import os
import signal
import subprocess

from npusim.holders import device_prefix


def hold(device: int) -> int:
    """Start a process that has the chip's device node open and outlives its maker; returns its pid."""
    with open(f"{device_prefix()}{device}", "rb") as node:  # noqa: PTH123
        process = subprocess.Popen(
            ["/bin/sleep", "infinity"],
            stdin=node,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process.pid


def let_go(device: int, pid: int) -> None:
    """End that process, unless its number belongs to another one by now."""
    try:
        if os.readlink(f"/proc/{pid}/fd/0") == f"{device_prefix()}{device}":  # noqa: PTH115
            os.kill(pid, signal.SIGKILL)
    except OSError:
        return
