"""Which firmware goes with which driver; what the packages' version.info files say of each other.

Published pairs: 7.1.0.11.220 with 23.0.7, 7.5.0.1.129 with 24.1.rc3, 7.8.0.7.220 with 25.5.2, 9.0.0.0.205 with
26.0.rc1 (Ascend/mind-cluster fixtures and lists). The ranges of 23 and 25 are published ones, those of the others
are made up around the pairs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple


class _Release(NamedTuple):
    """A family of drivers, its usual firmware, and the range of firmware that it works with."""

    drivers: str
    firmware: str
    first: str
    last: str


_RELEASES = (
    _Release("23.", "7.1.0.11.220", "7.0.0", "7.1.99"),
    _Release("24.", "7.5.0.1.129", "7.0.0", "7.7.99"),
    _Release("25.0", "7.7.0.6.236", "7.0.0", "7.8.99"),
    _Release("25.2", "7.7.0.9.220", "7.0.0", "7.8.99"),
    _Release("25.", "7.8.0.7.220", "7.0.0", "7.8.99"),
    _Release("", "9.0.0.0.205", "7.8.0", "9.0.99"),
)
# By the first two numbers of a firmware: the drivers that it works with, by theirs.
_DRIVERS = {
    "7.1": ("23.0",),
    "7.5": ("23.0", "24.1"),
    "7.7": ("24.1", "25.0", "25.2"),
    "7.8": ("25.0", "25.2", "25.5"),
    "9.0": ("25.5", "26.0"),
}


def usual_firmware(driver: str) -> str:
    """The firmware that was published with a driver."""
    return _release(driver).firmware


def firmware_range(driver: str) -> tuple[str, str]:
    """The first and the last firmware that a driver works with."""
    release = _release(driver)
    return release.first, release.last


def drivers_for(firmware: str) -> tuple[str, ...]:
    """The drivers that a firmware works with, by their first two numbers."""
    return _DRIVERS.get(_two(firmware), (_two("26.0"),))


def fit(driver: str, firmware: str) -> bool:
    """Whether each of the two names the other."""
    first, last = firmware_range(driver)
    return _numbers(first) <= _numbers(firmware) <= _numbers(last) and _two(driver) in drivers_for(firmware)


def _release(driver: str) -> _Release:
    return next(release for release in _RELEASES if driver.startswith(release.drivers))


def _two(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _numbers(version: str) -> list[int]:
    return [int(part) if part.isdecimal() else 0 for part in version.split(".")[:3]]
