"""Facts and plan → findings. Pure; every check a function, every finding with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from npuctl.engines._contract import Seat, SpecProblem
from npuctl.facts.model import NodeFacts
from npuctl.hardware.catalog import PRODUCTS, Product
from npuctl.plan.model import Finding, Replica
from npuctl.plan.placement import Conflict
from npuctl.spec.models import Service

# Our files are a few KiB a replica; 1 MiB tells a full disk from a working one.
_FREE_BYTES = 2**20


def of_conflict(conflict: Conflict) -> Finding:
    """A place that could not be given."""
    return Finding(
        id="place.conflict",
        severity="error",
        node=conflict.node,
        seen=conflict.message,
        expected="chips and ports of its own for every replica",
        remedy=conflict.hint,
        npu=conflict.npu,
        service=conflict.service,
    )


def of_seat(service: Service, seat: Seat, problems: Sequence[SpecProblem]) -> list[Finding]:
    """What the engine refuses on this node's product."""
    return [
        Finding(
            id="engine.product",
            severity="error",
            node=seat.node,
            seen=f"{problem.key}: {problem.message}",
            expected=f"settings that {seat.product.title} can run",
            remedy=problem.hint,
            service=service.name,
        )
        for problem in problems
    ]


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """One node as the checks see it.

    `leaving` names our containers that the plan removes first: what they hold comes free.
    """

    name: str
    facts: NodeFacts
    product: Product | None
    leaving: AbstractSet[str]


def of_node(node: CheckedNode, replicas: Sequence[Replica], services: Mapping[str, Service]) -> list[Finding]:
    """Everything to say about a node on which these replicas of these services should run."""
    return [
        *_engine_answers(node),
        *_chips_readable(node),
        *_table_complete(node),
        *_disk_has_room(node),
        *(found for replica in replicas for found in _of_replica(node, replica, services[replica.service])),
    ]


def _of_replica(node: CheckedNode, replica: Replica, service: Service) -> Iterator[Finding]:
    yield from _chips_healthy(node, replica)
    yield from _chips_free(node, replica)
    yield from _port_free(node, replica)
    yield from _mounts_present(node, replica, service)
    yield from _image_present(node, replica)


def _engine_answers(node: CheckedNode) -> Iterator[Finding]:
    if node.facts.docker.error:
        yield Finding(
            id="docker.engine",
            severity="error",
            node=node.name,
            seen=node.facts.docker.error,
            expected="a Docker engine that answers",
            remedy=f"on {node.name}: systemctl start docker; journalctl -u docker tells why it stopped",
        )


def _chips_readable(node: CheckedNode) -> Iterator[Finding]:
    if node.facts.npu_error or not node.facts.chips:
        yield Finding(
            id="npu.readable",
            severity="error",
            node=node.name,
            seen=node.facts.npu_error or "npu-smi info lists no chip",
            expected="a table of chips from npu-smi info",
            remedy="install or repair the NPU driver; ret -8005 means that the driver is not usable from here",
        )
    elif node.product is None:
        names = ", ".join(sorted({chip.name for chip in node.facts.chips}))
        yield Finding(
            id="npu.product",
            severity="error",
            node=node.name,
            seen=f"{len(node.facts.chips)} chips called {names}",
            expected="a product that npuctl knows (A2, A3, 310P)",
            remedy="report the output of npu-smi info",
        )


def _table_complete(node: CheckedNode) -> Iterator[Finding]:
    if not node.facts.npu_table_complete:
        yield Finding(
            id="npu.table",
            severity="warning",
            node=node.name,
            seen=f"the table of npu-smi info lists {len(node.facts.chips)} chips and ends before its end",
            expected="a complete table",
            remedy=f"run npu-smi info on {node.name} and count the chips",
        )


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


def _chips_healthy(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    health = {chip.id: chip.health for chip in node.facts.chips}
    for chip in replica.chips:
        word = health.get(chip, "absent")
        if word != "OK":
            yield Finding(
                id="npu.health",
                severity="warning" if word == "Warning" else "error",
                node=node.name,
                seen=f"health {word}",
                expected="OK",
                remedy=f"npu-smi info -t health -i NPU -c CHIP on {node.name} names the error code",
                npu=chip,
                service=replica.service,
            )


def _chips_free(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    for holder in node.facts.holders:
        ours = {replica.container.name, *node.leaving}
        if holder.chip in replica.chips and holder.container not in ours:
            where = f" in container {holder.container}" if holder.container else ""
            own = next((entry for entry in node.facts.containers if entry.name == holder.container), None)
            yield Finding(
                id="npu.held",
                severity="error",
                node=node.name,
                seen=f"held by pid {holder.pid}{where}: {holder.command[:80]}",
                expected=f"free for {replica.name}",
                remedy=f"npuctl stop --service {own.service}, then deploy: a running service keeps its chips"
                if own
                else "end that process if it is yours, or choose other chips for the service",
                npu=holder.chip,
                service=replica.service,
            )
    running = {entry.name for entry in node.facts.containers if entry.state in {"running", "restarting"}}
    if replica.container.name in running:
        return
    held = {holder.chip for holder in node.facts.holders}
    for chip in node.facts.chips:
        leaked = node.product is not None and chip.memory_used_mb > node.product.idle_memory_mb
        if leaked and chip.id in replica.chips and chip.id not in held:
            yield Finding(
                id="npu.memory",
                severity="error",
                node=node.name,
                seen=f"{chip.memory_used_mb} of {chip.memory_total_mb} MB of HBM in use, and no process holds the chip",
                expected=f"at most {node.product.idle_memory_mb if node.product else 0} MB on an idle chip",
                remedy="wait a minute; if it stays, a dead process left it: reset the chip, or use another one",
                npu=chip.id,
                service=replica.service,
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


def _mounts_present(node: CheckedNode, replica: Replica, service: Service) -> Iterator[Finding]:
    for mount in replica.container.mounts:
        kind = node.facts.paths.get(mount.source)
        if kind != "absent" or mount.create:
            continue
        is_model = mount.source == service.model.path
        yield Finding(
            id="model.path" if is_model else "mount.source",
            severity="error",
            node=node.name,
            seen=f"{mount.source} does not exist",
            expected="the model's folder" if is_model else f"a source for the mount {mount.target}",
            remedy="copy the weights to this node" if is_model else "install the NPU driver, or mend mounts",
            service=replica.service,
        )


def _image_present(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    if not node.facts.docker.error and replica.container.image not in node.facts.images:
        yield Finding(
            id="image.absent",
            severity="warning",
            node=node.name,
            seen=f"{replica.container.image} is not on the node",
            expected="the image, or a registry that has it",
            remedy="deploy will pull it; without a registry: docker load -i IMAGE.tar on the node",
            service=replica.service,
        )


def paths_to_look_at(services: Sequence[Service]) -> list[str]:
    """Paths on a node whose existence the checks judge."""
    paths = {path for product in PRODUCTS for path in (*product.driver_mounts, *product.network_mounts)}
    for service in services:
        paths |= {text.split(":")[0] for text in service.mounts}
        paths |= {service.model.path} if service.model.path else set()
    return sorted(paths)
