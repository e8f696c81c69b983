"""The engines' logs, from all nodes at once."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from npuctl.health.probe import Target
from npuctl.operate.look import expected_replicas, open_inventory
from npuctl.remote.inventory import Host
from npuctl.remote.ssh import command, options

# A line of a log, or None from a reader that has come to its end.
_Lines = queue.SimpleQueue[str | None]


def stream_logs(
    folder: Path,
    write: Callable[[str], object],
    *,
    limit: Sequence[str] = (),
    service: str | None = None,
    tail: int,
    follow: bool,
) -> list[str]:
    """Write each line with node and replica before it.

    `write` is called by this thread only: its errors (a closed pipe) and Ctrl-C end everything.

    Returns:
        The nodes that could not be asked, or had no such container.
    """
    inventory, nodes = open_inventory(folder, limit=limit)
    targets = [target for target in expected_replicas(inventory, service=service) if target.node in nodes]
    base = options(inventory)
    lines: _Lines = queue.SimpleQueue()
    children = [
        _start(inventory.hosts[target.node], base, target, tail=tail, follow=follow) for target in targets
    ]
    try:
        for target, child in zip(targets, children, strict=True):
            threading.Thread(target=_read, args=(target, child, lines), daemon=True).start()
        open_ends = len(children)
        while open_ends:
            line = lines.get()
            if line is None:
                open_ends -= 1
            else:
                write(line)
    finally:
        for child in children:
            child.terminate()
    codes = [child.wait() for child in children]
    return sorted({target.node for target, code in zip(targets, codes, strict=True) if code})


def _start(
    host: Host, base: Sequence[str], target: Target, *, tail: int, follow: bool
) -> subprocess.Popen[bytes]:
    words = ["docker", "logs", "--tail", str(tail), *(["--follow"] if follow else []), target.container]
    # With a terminal the node ends the command when the connection goes; without one `--follow` would stay.
    argv = command(host, base, words, terminal=follow)
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if child.stdin is not None:
        if host.become and host.become_password:
            child.stdin.write(f"{host.become_password}\n".encode())
        child.stdin.close()
    return child


def _read(target: Target, child: subprocess.Popen[bytes], lines: _Lines) -> None:
    for line in child.stdout or ():
        lines.put(f"{target.node} {target.replica} | {line.decode('utf-8', 'replace').rstrip()}")
    child.wait()
    lines.put(None)
