"""The chips: readable, all there, free; every question about them answered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from npuctl.facts.model import ChipFacts
from npuctl.hardware.catalog import Product
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks._majority import most_frequent
from npuctl.plan.model import Finding, Replica, Severity
from npuctl.plan.wording import process, ranges

_MOST_NAMED = 3
_FEW_PEERS = 2
_DEVICE = re.compile(r"/dev/davinci([0-9]+)")
# The survey's questions that these checks live on; those about ports are the network's.
_ABOUT_CHIP = re.compile(r"chip ([0-9]+): (health|ecc|spod-info)")
_ABOUT_CARD = re.compile(r"card ([0-9]+): (board)")
_ABOUT_NODE = re.compile(r"npu-smi info -[lm]|PCI bus|card [0-9]+ chip [0-9]+")


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the chips of every node."""
    for node in checked.nodes:
        yield from _chips_readable(node)
        yield from _table_complete(node)
        yield from _chips_present(node, checked)
        for replica in node.replicas:
            yield from _chips_free(node, replica)
            yield from _memory_free(node, replica)
        yield from _questions_answered(node)


def _chips_readable(node: CheckedNode) -> Iterator[Finding]:
    if node.facts.npu_error or not node.facts.chips:
        yield Finding(
            id="npu.readable",
            severity="error",
            node=node.name,
            seen=node.facts.npu_error or "npu-smi info lists no chip",
            expected="a table of chips from npu-smi info",
            remedy=_how_to_make_readable(node),
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


def _how_to_make_readable(node: CheckedNode) -> str:
    error = node.facts.npu_error
    if "did not end within" in error:
        return (
            f"npu-smi hangs in the driver: on {node.name}, dmesg and ps -eo pid,stat,wchan:32,cmd show which call and"
            " who else waits (state D); end what uses the NPUs, and reboot the node if npu-smi hangs still"
        )
    if "is not installed" in error:
        return (
            f"install the NPU driver on {node.name}: npu-smi comes with it; npuctl provision does it, where"
            " npuctl_cluster.driver says which"
        )
    return (
        "install or repair the NPU driver; ret -8005 means that the driver is not usable from here: not as root,"
        " without /dev/davinci*, or changed without a reboot"
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


# Are all there?


def _chips_present(node: CheckedNode, checked: Checked) -> Iterator[Finding]:
    """Chips that the bus or the device nodes know and npu-smi does not; else, fewer than all other nodes have.

    What a product usually has proves nothing: a virtual machine has the chips that it was given.
    """
    if not _table_is_whole(node):
        return
    devices = {int(found[1]) for path in node.facts.devices if (found := _DEVICE.fullmatch(path))}
    listed = {chip.id for chip in node.facts.chips}
    lost = max(_lost_on_bus(node), len(devices - listed))
    if lost:
        told = _bus_in_words(node)
        for npu in _names_of_missing(node, lost, devices - listed):
            device = f"/dev/davinci{npu} is there" if npu in devices else ""
            why = ", ".join(entry for entry in (device, told) if entry)
            yield _missing(
                node, npu, f"npu-smi does not list it; {why}" if npu is not None else told, "error"
            )
        return
    usual = _usual_count(node, checked)
    if len(listed) < usual:
        for npu in _names_of_missing(node, usual - len(listed), set()):
            yield _missing(
                node, npu, f"npu-smi lists {len(listed)} chips, on the other nodes {usual}", "warning"
            )


def _missing(node: CheckedNode, npu: int | None, seen: str, severity: Severity) -> Finding:
    return Finding(
        id="npu.missing",
        severity=severity,
        node=node.name,
        npu=npu,
        seen=seen,
        expected="every NPU of the server in the table of npu-smi info",
        remedy=f"the chip dropped off: on {node.name}, dmesg and lspci -n -d 19e5: tell when and whether the bus"
        " still has it; stop what uses the NPUs and reboot, and if it stays away power the server off and on,"
        " then have the card seated anew or replaced",
    )


def _table_is_whole(node: CheckedNode) -> bool:
    return bool(node.facts.chips) and not node.facts.npu_error and node.facts.npu_table_complete


def _lost_on_bus(node: CheckedNode) -> int:
    on_bus = node.survey.pci_chips if node.survey else None
    listed = len(node.facts.chips)
    # Both chips of a 300I Duo show one bus id, and lspci may count cards or chips: either is whole.
    cards = len({chip.bus_id for chip in node.facts.chips if chip.bus_id}) or listed
    if on_bus is None or on_bus in {listed, cards}:
        return 0
    return max(0, on_bus - (listed if on_bus > listed else cards))


def _bus_in_words(node: CheckedNode) -> str:
    if not _lost_on_bus(node) or node.survey is None:
        return f"npu-smi lists {len(node.facts.chips)}"
    return f"lspci counts {node.survey.pci_chips} NPUs, npu-smi lists {len(node.facts.chips)} chips"


def _names_of_missing(node: CheckedNode, lost: int, devices: set[int]) -> list[int | None]:
    """Numbers of what is missing; [None] where they cannot be told."""
    if len(devices) == lost:
        return [*sorted(devices)]
    listed = {chip.id for chip in node.facts.chips}
    gaps = [number for number in range(len(listed) + lost) if number not in listed]
    return [*gaps] if len(gaps) == lost else [None]


def _usual_count(node: CheckedNode, checked: Checked) -> int:
    """How many chips the other nodes of this product have, where they all have as many; else 0."""
    counts = [
        len(other.facts.chips)
        for other in checked.nodes
        if other.product is node.product and other is not node and _table_is_whole(other)
    ]
    if node.product is None or not counts:
        return 0
    usual = most_frequent(counts)[0]
    nodes = counts.count(usual)
    # Two that agree, and no more than every eighth that does not: a node among mixed ones is not odd.
    return usual if nodes >= _FEW_PEERS and nodes >= len(counts) * 7 / 8 else 0


# Are they free?


def _chips_free(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    ours = node.freed_for(replica)
    for chip in replica.chips:
        holders = [
            entry for entry in node.facts.holders if entry.chip == chip and entry.container not in ours
        ]
        if not holders:
            continue
        containers = {entry.container for entry in holders}
        own = next((entry for entry in node.facts.containers if entry.name in containers), None)
        who = [process(entry.pid, entry.container, entry.command) for entry in holders[:_MOST_NAMED]]
        more = f", and {len(holders) - _MOST_NAMED} more" if len(holders) > _MOST_NAMED else ""
        yield Finding(
            id="npu.held",
            severity="error",
            node=node.name,
            seen="held by " + ", ".join(who) + more,
            expected=f"free for {replica.name}",
            remedy=f"npuctl stop --service {own.service}, then deploy: a running service keeps its chips"
            if own
            else "end that process if it is yours, or choose other chips for the service",
            npu=chip,
            service=replica.service,
        )


def _memory_free(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    """By the memory in use, for a process of another container or machine is in no list that is seen here."""
    if node.product is None or replica.container.name in node.running:
        return
    held = {holder.chip for holder in node.facts.holders}
    for chip in node.facts.chips:
        if chip.id in replica.chips and chip.id not in held and _is_used(chip, node.product):
            yield Finding(
                id="npu.memory",
                severity="error",
                node=node.name,
                seen=f"{chip.memory_used_mb} of {chip.memory_total_mb} MB of HBM in use, and no process that"
                f" {node.name} shows holds the chip",
                expected=f"at most {node.product.idle_memory_mb} MB on an idle chip",
                remedy="either a process in a container or virtual machine that hides its processes has it: stop"
                " that; or a dead one left it: wait a minute, and if it stays, reset the chip"
                f" (npu-smi set -t reset -i {chip.npu} -c {chip.chip}) or use another one",
                npu=chip.id,
                service=replica.service,
            )


def _is_used(chip: ChipFacts, product: Product) -> bool:
    return chip.memory_used_mb > product.idle_memory_mb


# Was everything answered?


def _questions_answered(node: CheckedNode) -> Iterator[Finding]:
    if node.survey is None or not _table_is_whole(node):
        return
    open_questions = _grouped(node, node.survey.unread)
    if open_questions:
        yield Finding(
            id="npu.unread",
            severity="warning",
            node=node.name,
            seen="; ".join(open_questions),
            expected="an answer to every question about the NPUs: what was not answered was not judged",
            remedy=f"ask by hand on {node.name}, such as npu-smi info -t health -i NPU -c CHIP, and see what it says",
        )


def _grouped(node: CheckedNode, unread: Mapping[str, str]) -> list[str]:
    """Each question once, with whom it was asked and why there is no answer."""
    listed = {chip.id for chip in node.facts.chips}
    cards = {chip.npu for chip in node.facts.chips}
    groups: dict[tuple[str, str, str], list[int]] = {}
    for question, why in unread.items():
        for kind, pattern, known in (("chip", _ABOUT_CHIP, listed), ("card", _ABOUT_CARD, cards)):
            found = pattern.fullmatch(question)
            if found and int(found[1]) in known:  # what is missing cannot answer
                groups.setdefault((found[2], kind, why), []).append(int(found[1]))
        if _ABOUT_NODE.fullmatch(question):
            groups.setdefault((question, "", why), [])
    return [
        f"{question}{f' of {kind} ' if kind else ''}{ranges(numbers)}: {why}"
        for (question, kind, why), numbers in groups.items()
    ]
