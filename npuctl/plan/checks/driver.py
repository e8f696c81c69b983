"""The NPU driver and the cards' firmware: what is installed runs, wholly, and is one on all cards."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.facts.survey import CardFacts
from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks._majority import most_frequent
from npuctl.plan.model import Finding

_COMPLETE = "complete"
# Older drivers' installers do not write how they ended (hicann/driver, scripts/package).
_STATUS_SINCE = "24.0.0"
_NOT_FITTING = "NOK"


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the driver of every node."""
    for node in checked.nodes:
        yield from _installed_driver_runs(node)
        yield from _installation_ended(node)
        yield from _firmware_fits(node)
        yield from _cards_are_alike(node)


def _installed_driver_runs(node: CheckedNode) -> Iterator[Finding]:
    on_disk, running = node.facts.driver_on_disk, node.facts.driver_running
    if on_disk and running and on_disk.casefold() != running.casefold():
        yield Finding(
            id="driver.pending",
            severity="error",
            node=node.name,
            seen=f"driver {on_disk} is installed, driver {running} runs",
            expected="one version: containers mount the files that are installed",
            remedy=f"reboot {node.name}: the installation of the driver owes it a reboot",
        )


def _installation_ended(node: CheckedNode) -> Iterator[Finding]:
    if node.survey is None:
        return
    files = node.survey.files
    was_read = bool(files.install_status or files.install_user or files.install_group)
    if not was_read:
        return
    lacking = []
    if files.install_status != _COMPLETE and (files.install_status or _writes_status(node)):
        lacking.append(f"Driver_Install_Status {files.install_status or 'is not in it'}")
    if not files.install_user:
        lacking.append("UserName is not in it")
    if lacking:
        yield Finding(
            id="driver.install",
            severity="warning",
            node=node.name,
            seen=f"/etc/ascend_install.info: {'; '.join(lacking)}",
            expected=f"Driver_Install_Status={_COMPLETE} and the driver's user: the installer writes them as it ends",
            remedy=f"install the driver on {node.name} again, with --upgrade or --full, and let it end;"
            " /var/log/ascend_seclog/ascend_install.log tells where it stopped",
        )


def _writes_status(node: CheckedNode) -> bool:
    try:
        return release_key(node.facts.driver_on_disk or node.facts.driver_running) >= release_key(
            _STATUS_SINCE
        )
    except UnreadableError:
        return False


def _firmware_fits(node: CheckedNode) -> Iterator[Finding]:
    cards = [card for card in _cards(node) if card.compatibility == _NOT_FITTING]
    if cards:
        versions = sorted(
            {f"driver {card.driver_version}, firmware {card.firmware_version}" for card in cards}
        )
        yield Finding(
            id="driver.compatibility",
            severity="error",
            node=node.name,
            npu=_first_chip(node, cards[0]) if len(cards) == 1 else None,
            seen=f"npu-smi says Compatibility {_NOT_FITTING} of {_names(cards)} ({'; '.join(versions)})",
            expected="OK: driver and firmware that were released together",
            remedy="install driver and firmware of one HDK release: firmware first where a driver is installed"
            " already, then the driver; reboot if the installer says so",
        )


def _cards_are_alike(node: CheckedNode) -> Iterator[Finding]:
    """Cards whose firmware is not that of most others; a card that was replaced comes with its own."""
    cards = [card for card in _cards(node) if card.firmware_version]
    usual = most_frequent(card.firmware_version for card in cards)[:1]  # of a draw, the first card's
    for card in cards:
        if card.firmware_version not in usual:
            yield Finding(
                id="driver.differs_between_cards",
                severity="warning",
                node=node.name,
                npu=_first_chip(node, card),
                seen=f"card {card.npu} runs firmware {card.firmware_version}",
                expected=f"firmware {usual[0]}, as the other cards",
                remedy=f"install the firmware package on {node.name} again: it updates every card; then reboot",
            )


def _cards(node: CheckedNode) -> list[CardFacts]:
    return node.survey.cards if node.survey else []


def _first_chip(node: CheckedNode, card: CardFacts) -> int | None:
    return min((chip.id for chip in node.facts.chips if chip.npu == card.npu), default=None)


def _names(cards: list[CardFacts]) -> str:
    return f"card{'' if len(cards) == 1 else 's'} {', '.join(str(card.npu) for card in cards)}"
