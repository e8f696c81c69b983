"""The engines' logs, from all nodes at once."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from npuctl.health.probe import Target
from npuctl.operate.look import expected_replicas, open_inventory
from npuctl.remote.inventory import Inventory
from npuctl.remote.ssh import command, options


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

    Returns:
        The nodes that could not be asked, or had no such container.
    """
    inventory, nodes = open_inventory(folder, limit=limit)
    targets = [target for target in expected_replicas(inventory, service=service) if target.node in nodes]
    silent: list[str] = []
    threads = [
        threading.Thread(target=_stream, args=(inventory, target, write, tail, follow, silent), daemon=True)
        for target in targets
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(set(silent))


def _stream(
    inventory: Inventory,
    target: Target,
    write: Callable[[str], object],
    tail: int,
    follow: bool,  # noqa: FBT001  threading passes arguments by position
    silent: list[str],
) -> None:
    words = ["docker", "logs", "--tail", str(tail), *(["--follow"] if follow else []), target.container]
    argv = command(inventory.hosts[target.node], options(inventory), words)
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        if child.stdout is not None:
            for line in child.stdout:
                write(f"{target.node} {target.replica} | {line.decode('utf-8', 'replace').rstrip()}")
    if child.returncode:
        silent.append(target.node)
