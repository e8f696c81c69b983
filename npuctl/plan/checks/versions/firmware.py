"""Driver and firmware: each names in its own file what it was released with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from npuctl.facts.survey import DriverFiles
from npuctl.plan.checks._contract import CheckedNode
from npuctl.plan.checks.versions._stack import driver_of
from npuctl.plan.model import Finding

_RANGE = re.compile(r"\[([^,\[\]]+),([^\[\]]+)\]")
_NUMBER = re.compile(r"[0-9]+")


def firmware_fits(node: CheckedNode) -> Iterator[Finding]:
    """A driver and a firmware that were not released together."""
    driver, firmware = driver_of(node), firmware_of(node)
    if node.survey is None or not driver or not firmware:
        return
    files = node.survey.files
    for number in firmware:
        wanted = _firmware_wanted(files, number) or _driver_wanted(files, driver)
        if wanted:
            yield Finding(
                id="version.firmware",
                severity="error",
                node=node.name,
                seen=f"driver {driver} with firmware {number}",
                expected=wanted,
                remedy="install driver and firmware of one HDK release: firmware first where a driver is"
                " installed already, then the driver; reboot if the installer says so",
            )


def firmware_of(node: CheckedNode) -> list[str]:
    """Every firmware that runs on the node's cards; the one on disk where the cards did not say."""
    if node.survey is None:
        return []
    running = {card.firmware_version for card in node.survey.cards if card.firmware_version}
    return sorted(running or ({node.survey.files.firmware} - {""}))


def _firmware_wanted(files: DriverFiles, firmware: str) -> str:
    """What the driver's file asks for, where this firmware is not in it; "" where it is, or nothing is asked."""
    ranges = _RANGE.findall(files.compatible_firmware)
    number = _numbers(firmware)
    if not ranges or not number:
        return ""
    for first, last in ranges:
        low, high = _numbers(first), _numbers(last)
        if low <= number and number[: len(high)] <= high:
            return ""
    return f"firmware {_ranges_text(ranges)}, which the driver's version.info names"


def _driver_wanted(files: DriverFiles, driver: str) -> str:
    """What the firmware's file asks for, where this driver is older than all that; "" otherwise.

    A newer driver cannot stand in it. Only year and quarter are compared: the file of firmware 7.1.0.11.220
    names 23.0.rc3 and 23.0.0, and that firmware belongs to driver 23.0.7 (mind-cluster's fixtures have both).
    """
    ranges = _RANGE.findall(files.compatible_driver)
    number = _numbers(driver)
    if not ranges or not number or number >= min(_numbers(first)[:2] for first, _ in ranges):
        return ""
    return f"driver {_ranges_text(ranges)}, which the firmware's version.info names"


def _ranges_text(ranges: Sequence[tuple[str, str]]) -> str:
    return " or ".join(dict.fromkeys(f"{first} to {last.rstrip('.')}" for first, last in ranges))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(version))
