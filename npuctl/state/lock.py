"""One change of a cluster at a time."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from npuctl.errors import LockedError
from npuctl.state.journal import forget_killed_runs


@contextlib.contextmanager
def hold_lock(state: Path, verb: str) -> Iterator[None]:
    """Hold the cluster's lock for the time of the block.

    The kernel gives the lock back when the process ends, however it ends: there is no stale lock.

    Raises:
        LockedError: somebody else holds it; says who, since when and for what.
    """
    state.mkdir(mode=0o700, exist_ok=True)
    path = state / "lock"
    path.touch(mode=0o600)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            raise LockedError(
                f"another npuctl is changing this cluster: {_who(stream.read())}",
                hint="wait for it; looks (plan, health, logs) work meanwhile",
            ) from None
        stream.seek(0)
        stream.truncate()
        owner = {
            "verb": verb,
            "user": getpass.getuser(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        stream.write(json.dumps(owner))
        stream.flush()
        forget_killed_runs(state)
        yield


def _who(text: str) -> str:
    try:
        owner = json.loads(text)
        return (
            f"`npuctl {owner['verb']}` of {owner['user']} on {owner['host']}"
            f" (pid {owner['pid']}), since {owner['since']}"
        )
    except (ValueError, KeyError, TypeError):
        return "it has only just begun"
