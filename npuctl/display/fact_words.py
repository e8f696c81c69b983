"""Facts in few words: what a table's cell and a node's block both say."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping, Sequence

from npuctl.facts.model import NodeFacts
from npuctl.facts.survey import HostFacts, PortFacts
from npuctl.hardware.catalog import identify
from npuctl.plan.wording import ranges, size_for_table

_MB_IN_GIB = 1024
_MOST_NETWORKS = 4
_QUESTIONS_OF_NPUS = ("chip ", "card ", "npu-smi", "hccn_tool")


def product_of(node: NodeFacts) -> str:
    """The server's product, else what npu-smi calls its chips."""
    names = sorted({chip.name for chip in node.chips})
    product = identify(names, len(node.chips))
    return product.title if product else ", ".join(names)


def chip_count(node: NodeFacts) -> str:
    """How many chips npu-smi shows, and of how many."""
    shown = len(node.chips)
    on_bus = (node.survey.pci_chips if node.survey else None) or 0
    there = max(len(node.devices), on_bus)
    return f"{shown} of {there}" if shown < there else str(shown)


def missing_chips(node: NodeFacts) -> str:
    """Chips that have a device node, or a place on the bus, and that npu-smi does not show."""
    shown = {chip.id for chip in node.chips}
    numbers = {int(path.removeprefix("/dev/davinci")) for path in node.devices}
    gone = sorted(numbers - shown)
    on_bus = node.survey.pci_chips if node.survey else None
    words = []
    if gone and shown:
        words.append(f"npu-smi does not show NPU {ranges(gone)}")
    cards = len({chip.npu for chip in node.chips})  # the bus may have one device a card
    if on_bus is not None and (on_bus < cards or on_bus > max(len(shown), len(numbers)) or (gone and shown)):
        words.append(f"{on_bus} NPUs on the PCI bus")
    return "; ".join(words)


def chip_health(node: NodeFacts) -> dict[int, str]:
    """Chip → health word: the chip's own answer, unless the table says worse than OK."""
    health = {chip.id: chip.health for chip in node.chips}
    for own in node.survey.chips if node.survey else []:
        if own.health and health.get(own.id, "OK") == "OK":
            health[own.id] = own.health
    return health


def health_words(node: NodeFacts) -> str:
    """OK, or the chips that are not, by their word."""
    by_word: dict[str, list[int]] = {}
    for number, word in chip_health(node).items():
        by_word.setdefault(word, []).append(number)
    bad = {word: numbers for word, numbers in by_word.items() if word != "OK"}
    if not bad:
        return "OK" if by_word else ""
    return ", ".join(f"{word}: {ranges(numbers)}" for word, numbers in sorted(bad.items()))


def hbm(node: NodeFacts) -> str:
    """Memory of the chips, used of all."""
    if not node.chips:
        return ""
    used = sum(chip.memory_used_mb for chip in node.chips) / _MB_IN_GIB
    total = sum(chip.memory_total_mb for chip in node.chips) / _MB_IN_GIB
    return f"{used:.0f} of {total:.0f} GiB"


def driver(node: NodeFacts) -> str:
    """The driver that runs, and the one on disk where it is another."""
    on_disk = node.driver_on_disk
    # Neither tool nor file, and the file was looked for: there is none.
    none = node.survey is not None and not on_disk and "is not installed" in node.npu_error
    running = node.driver_running or ("not installed" if none else "unknown")
    return f"{running} (on disk {on_disk})" if on_disk and on_disk != node.driver_running else running


def firmware(node: NodeFacts) -> str:
    """What the cards run, else what is on disk."""
    if node.survey is None:
        return ""
    running = sorted({card.firmware_version for card in node.survey.cards} - {""})
    return ", ".join(running) or node.survey.files.firmware


def cann(node: NodeFacts) -> str:
    """CANN of the images that are there."""
    found = {image.cann for image in node.survey.images} if node.survey else set()
    return ", ".join(sorted(found - {""}))


def ports_up(ports: Sequence[PortFacts]) -> str:
    """How many ports are up, and what is said of the health of the others."""
    if not ports:
        return ""
    up = sum(port.link == "UP" for port in ports)
    bad = sorted({port.net_health for port in ports} - {"Success", ""})
    silent = sum(not port.link for port in ports)
    return ", ".join(
        [f"{up} of {len(ports)} up", *bad, *([f"{silent} unread"] if silent else [])],
    )


def memory(node: NodeFacts) -> str:
    """Memory of the host, free of all."""
    return f"{node.memory_available_mb // _MB_IN_GIB} of {node.memory_total_mb // _MB_IN_GIB} GiB"


def least_disk(node: NodeFacts) -> str:
    """Free space of the fullest disk that matters."""
    free = [disk.free_bytes for disk in node.survey.host.disks] if node.survey else []
    return size_for_table(min(free or node.free_bytes.values(), default=0)) if free or node.free_bytes else ""


def clock(host: HostFacts) -> str:
    """How far the clock is off, as far as one call can tell."""
    offset, doubt = host.clock_offset_seconds, host.clock_doubt_seconds
    if offset is None:
        return ""
    if abs(offset) <= doubt:
        return f"< {math.ceil((abs(offset) + doubt) * 10 + 1e-9) / 10:.1f} s"
    return f"{offset:+.1f} s"


def engine(node: NodeFacts) -> str:
    """The container engine's version, or why it does not answer."""
    return node.docker.version or f"no answer: {first_line(node.docker.error)}"


def unread_of_npus(node: NodeFacts) -> str:
    """How many questions about the NPUs have no answer, and the most frequent reason."""
    reasons = [
        why
        for question, why in (node.survey.unread if node.survey else {}).items()
        if question.startswith(_QUESTIONS_OF_NPUS) and not (node.npu_error and question.startswith("npu-smi"))
    ]
    if not reasons:
        return ""
    causes = [why for why in reasons if not why.startswith("not asked")] or reasons
    often = max(sorted(set(causes)), key=causes.count)
    return f"{len(reasons)} unread ({often})"


def by_reason(unread: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason → questions."""
    found: dict[str, list[str]] = {}
    for question, why in unread.items():
        found.setdefault(why, []).append(question)
    return found


def addresses_text(addresses: Iterable[str]) -> str:
    """Addresses by the first three parts: 10.20.1.11-18, or 10.20.1.11-25 (8) where some are left out."""
    numbers = sorted({int(ipaddress.IPv4Address(text)) for text in addresses if text})
    networks: dict[int, list[int]] = {}
    for number in numbers:
        networks.setdefault(number >> 8, []).append(number)
    shown = [_network_text(own) for own in list(networks.values())[:_MOST_NETWORKS]]
    more = len(networks) - _MOST_NETWORKS
    return ", ".join(shown) + (f" and {more} networks more" if more > 0 else "")


def _network_text(numbers: Sequence[int]) -> str:
    first, last = (str(ipaddress.IPv4Address(number)) for number in (numbers[0], numbers[-1]))
    if first == last:
        return first
    whole = numbers[-1] - numbers[0] + 1 == len(numbers)
    return f"{first}-{last.rpartition('.')[2]}" + ("" if whole else f" ({len(numbers)})")


def first_line(text: str) -> str:
    """The first line that is not blank; of a driver's words the one with the number that people look up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "ret is" in line), lines[0] if lines else "")
