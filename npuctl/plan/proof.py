"""Proof of a stop: no process, HBM back to idle, port free, shared memory gone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from npuctl.facts.model import ContainerFacts, NodeFacts
from npuctl.hardware.catalog import Product
from npuctl.plan.placement import chips_of_label

_RUNNING = frozenset({"running", "restarting", "paused"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that must hold after a stop, and what was seen."""

    node: str
    what: str
    holds: bool
    seen: str


def prove_stopped(
    node: str, stopped: Sequence[ContainerFacts], facts: NodeFacts, product: Product | None
) -> list[Evidence]:
    """What the node shows for the replicas that were stopped on it.

    Args:
        node: its name.
        stopped: our containers as they were before the stop.
        facts: the node after the stop.
        product: for the HBM that an idle chip shows.
    """
    evidence = [entry for container in stopped for entry in _of_container(node, container, facts)]
    chips = sorted({chip for container in stopped for chip in chips_of_label(container.spec)})
    evidence += list(_of_chips(node, chips, facts, product))
    return evidence


def foreign_holders(stopped: Sequence[ContainerFacts], facts: NodeFacts) -> list[str]:
    """Processes of others on the node's other chips: reported, and left alone."""
    ours = {chip for container in stopped for chip in chips_of_label(container.spec)}
    names = {container.name for container in facts.containers}
    return [
        f"chip {holder.chip}: pid {holder.pid} ({holder.command[:60]})"
        for holder in facts.holders
        if holder.chip not in ours and holder.container not in names
    ]


def _of_container(node: str, container: ContainerFacts, facts: NodeFacts) -> Iterator[Evidence]:
    now = next((found for found in facts.containers if found.name == container.name), None)
    state = now.state if now else "gone"
    yield Evidence(node, f"process {container.name}", holds=state not in _RUNNING, seen=state)
    # The container's /dev/shm is its own and ends with its processes; names in the node's are not ours.
    others = f"; the node's own holds {', '.join(facts.shared_memory)}" if facts.shared_memory else ""
    seen = f"the container's own, gone with its processes{others}"
    yield Evidence(node, f"shared memory of {container.name}", holds=state not in _RUNNING, seen=seen)
    if container.port:
        holder = next((entry for entry in facts.listeners if entry.port == container.port), None)
        seen = f"held by pid {holder.pid}: {holder.command[:60]}" if holder else "free"
        yield Evidence(node, f"port {container.port}", holds=holder is None, seen=seen)


def _of_chips(
    node: str, chips: Sequence[int], facts: NodeFacts, product: Product | None
) -> Iterator[Evidence]:
    known = {chip.id: chip for chip in facts.chips}
    for number in chips:
        chip = known.get(number)
        if chip is None:
            yield Evidence(node, f"HBM of chip {number}", holds=False, seen=facts.npu_error or "not listed")
            continue
        holders = [f"pid {holder.pid}" for holder in facts.holders if holder.chip == number]
        idle = product is not None and chip.memory_used_mb <= product.idle_memory_mb and not holders
        by = f", held by {', '.join(holders)}" if holders else ""
        seen = f"{chip.memory_used_mb} of {chip.memory_total_mb} MB{by}"
        yield Evidence(node, f"HBM of chip {number}", holds=idle, seen=seen)
