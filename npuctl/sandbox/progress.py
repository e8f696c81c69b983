"""What `npuctl sandbox` says while it works: one plain line a step, with the seconds since start."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Progress:
    """Prints lines to stderr; safe to call from several threads."""

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    started: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, text: str) -> None:
        """Announce the step that begins now, or a result worth a line."""
        with self.lock:
            print(f"[{self.seconds:4.0f} s] {text}", file=self.stream, flush=True)

    @property
    def seconds(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self.started
