"""What a sandbox looks like now."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from npuctl.sandbox import docker, mirror, nodes
from npuctl.sandbox.model import MIRROR_HOST

if TYPE_CHECKING:
    from npuctl.sandbox.model import Node, Sandbox

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """A container in a node's own engine."""

    name: str
    image: str
    state: str


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node now; `memory` as Docker prints it, "" when it does not run."""

    node: str
    container: str
    state: str
    address: str
    product: str
    memory: str = ""
    docker: bool = False
    engines: list[EngineContainer] = field(default_factory=list)


def of(sandbox: Sandbox) -> list[NodeStatus]:
    """Look at every node, several at once."""
    present = nodes.existing(sandbox.name)
    running = [container.name for container in present.values() if container.state in {"running", "paused"}]
    memory = _memory(running)

    def look(node: Node) -> NodeStatus:
        container = present.get(node.name)
        state = container.state if container else "missing"
        if container and state == "running" and not container.attached:
            state = "cut off"
        engines = _engines(node) if container and container.state == "running" else None
        return NodeStatus(
            node=node.name,
            container=node.container,
            address=node.address,
            product=sandbox.product,
            state=state,
            memory=memory.get(node.container, ""),
            docker=engines is not None,
            engines=engines or [],
        )

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return list(pool.map(look, sandbox.members))


def table(sandbox: Sandbox, found: list[NodeStatus]) -> str:
    """Return the nodes as a table for people."""
    rows = [("NODE", "STATE", "ADDRESS", "PRODUCT", "MEMORY", "DOCKER", "CONTAINERS")]
    for status in found:
        containers = ", ".join(f"{each.name} ({each.state})" for each in status.engines) or "-"
        inner = "up" if status.docker else "down"
        rows.append(
            (
                status.node,
                status.state,
                status.address,
                status.product,
                status.memory or "-",
                inner,
                containers,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    beside = mirror.state(sandbox)
    if beside:
        lines.append(f"mirror: {MIRROR_HOST}, {sandbox.mirror_address} ({beside})")
    return f"sandbox {sandbox.name}: simulated NPUs, network {sandbox.subnet}\n" + "\n".join(lines)


def as_data(sandbox: Sandbox, found: list[NodeStatus]) -> dict[str, object]:
    """Return the same for `--output json`."""
    beside = mirror.state(sandbox)
    return {
        "name": sandbox.name,
        "product": sandbox.product,
        "subnet": sandbox.subnet,
        "simulated": True,
        "mirror": {"state": beside, "address": sandbox.mirror_address} if beside else None,
        "nodes": [asdict(status) for status in found],
    }


def _memory(containers: list[str]) -> dict[str, str]:
    if not containers:
        return {}
    template = "{{.Name}}\t{{.MemUsage}}"
    done = docker.attempt("stats", "--no-stream", "--format", template, *containers, timeout=60)
    rows = (line.split("\t") for line in done.stdout.decode().splitlines() if "\t" in line)
    return {name: usage.partition(" / ")[0] for name, usage in rows}


def _engines(node: Node) -> list[EngineContainer] | None:
    """Return the containers in a node's own engine, None when that does not answer."""
    arguments = ("exec", node.container, "docker", "ps", "--all", "--format", "{{json .}}")
    try:
        done = docker.attempt(*arguments, timeout=15)
    except docker.DockerError:
        return None
    if done.returncode != 0:
        return None
    entries = [json.loads(line) for line in done.stdout.decode().splitlines() if line]
    return [EngineContainer(entry["Names"], entry["Image"], entry["State"]) for entry in entries]
