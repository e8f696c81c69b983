"""Looks for secrets where they must not be: command lines while something runs, and files of a node."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.cluster.harness import Node

# A process is looked at again and again while it is young: it becomes another program by exec.
_YOUNG_SECONDS = 1.0
_ALL_EVERY = 100  # looks
_PAUSE_SECONDS = 0.002
# What others than root could come to, and Docker's own words about containers and images.
_PLACES = (
    "/etc /root /home /var/tmp /var/log /var/lib/npuctl /tmp /run /usr/local /opt /srv /dev/shm"
    " /var/lib/docker/containers /var/lib/docker/image"
)


class CommandLines(threading.Thread):
    """Samples the command line of every process of this machine; nodes are containers, so theirs as well.

    Use as a context; `found` are those that held one of the secrets, `looks` how often it looked.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.secrets = [secret.encode() for secret in secrets]
        self.found: list[str] = []
        self.looks = 0
        self._enough = threading.Event()
        self._born: dict[str, float] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """It is enough."""
        self._enough.set()
        self.join()

    def run(self) -> None:
        """Look until it is enough."""
        while not self._enough.wait(_PAUSE_SECONDS):
            self._look()

    def _look(self) -> None:
        now, whole = time.monotonic(), self.looks % _ALL_EVERY == 0
        there = [name for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  half the cost
        self._born = {pid: self._born.get(pid, now) for pid in there}
        for pid, born in self._born.items():
            if whole or now - born < _YOUNG_SECONDS:
                self._read(pid)
        self.looks += 1

    def _read(self, pid: str) -> None:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return
        if any(secret in line for secret in self.secrets):
            self.found.append(line.replace(b"\0", b" ").decode("utf-8", "replace"))


def files_with(node: Node, secrets: Sequence[str]) -> dict[str, str]:
    """File of the node that holds one of the secrets → its mode and owner."""
    patterns = "\n".join(secrets)
    # By standard input: this very search must not put them into a command line.
    script = f"cat > /run/patterns && grep -rlF -f /run/patterns {_PLACES} 2>/dev/null; rm -f /run/patterns"
    found = [path for path in node.sh_with(patterns, script).splitlines() if path != "/run/patterns"]
    return {path: node.sh(f"stat -c '%a %U:%G' '{path}'").strip() for path in found}


def readable_by_others(modes: dict[str, str]) -> list[str]:
    """Those of the files that somebody else than root may read."""
    return [
        f"{path} {mode}"
        for path, mode in modes.items()
        if not mode.endswith(" root:root") or int(mode.split()[0], 8) & 0o077
    ]
