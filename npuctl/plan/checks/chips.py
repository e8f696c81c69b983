"""The chips: readable, all there, healthy, free."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding, Replica


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the chips of every node."""
    for node in checked.nodes:
        yield from _chips_readable(node)
        yield from _table_complete(node)
        for replica in node.replicas:
            yield from _chips_healthy(node, replica)
            yield from _chips_free(node, replica)


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
