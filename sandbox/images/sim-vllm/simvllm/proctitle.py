"""Process names as vLLM's setproctitle makes them, so that ps, pgrep and docker top show the same words."""

from __future__ import annotations

import ctypes
from pathlib import Path

_PR_SET_NAME = 15
_ARG_START, _ARG_END = 47, 48  # places in /proc/self/stat, counted from 0


def set_title(title: str) -> None:
    """Name this process: /proc/self/comm (15 bytes) and, where it fits, its command line."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, title.encode()[:15], 0, 0, 0)
    stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    # The second field is the name in brackets and may hold spaces: count from behind it.
    fields = ["", "", *stat.rpartition(")")[2].split()]
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    if 0 < len(title) < end - start:
        # Python has its own copy of the arguments; the kernel shows this memory as /proc/PID/cmdline.
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, title.encode(), len(title))
