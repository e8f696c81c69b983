"""The machine that the NPUs sit in: disks and ports."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding, Replica

# Our files are a few KiB a replica; 1 MiB tells a full disk from a working one.
_FREE_BYTES = 2**20


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the host of every node."""
    for node in checked.nodes:
        yield from _disk_has_room(node)
        for replica in node.replicas:
            yield from _port_free(node, replica)


def _disk_has_room(node: CheckedNode) -> Iterator[Finding]:
    for path, free in sorted(node.facts.free_bytes.items()):
        if free < _FREE_BYTES:
            yield Finding(
                id="disk.space",
                severity="error",
                node=node.name,
                seen=f"{free} bytes free at {path}",
                expected=f"at least {_FREE_BYTES} bytes for npuctl's files and Docker's logs",
                remedy=f"free space on the disk of {path}",
            )


def _port_free(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    for listener in node.facts.listeners:
        ours = {replica.container.name, *node.leaving}
        if listener.port == replica.port and listener.container not in ours:
            who = f"pid {listener.pid}" if listener.pid else "an unknown process"
            where = f" in container {listener.container}" if listener.container else ""
            command = f": {listener.command[:80]}" if listener.command else ""
            yield Finding(
                id="port.taken",
                severity="error",
                node=node.name,
                seen=f"port {replica.port} is held by {who}{where}{command}",
                expected=f"port {replica.port} free for {replica.name}",
                remedy="stop that process, or set another port for the service",
                service=replica.service,
            )
