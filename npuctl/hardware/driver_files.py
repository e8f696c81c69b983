"""The files that say what is installed: driver, firmware, CANN toolkit.

Their keys: hicann/driver, scripts/package; mind-cluster's faultdiag fixtures. What is installed need
not be what runs: after an upgrade without a reboot npu-smi still shows the old driver.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.hardware.lines import Line, numbered_lines
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,63}")
_VERSION = r"[0-9][0-9A-Za-z.-]{0,62}[0-9A-Za-z]"
_RANGE = r"\[[^\[\]]{1,128}\]"


@dataclass(frozen=True, slots=True)
class VersionRange:
    """A range as the file says it: both ends belong to it; "24.1." ends with all that begin so."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class DriverVersion:
    """The driver's version.info.

    Attributes:
        version: of the driver, such as 24.1.rc3.
        compatible_versions: inner versions, such as V100R001C19.
        compatible_firmware: the firmware that the driver works with.
        others: the remaining keys, such as "tsfw_version".
    """

    version: str
    package_version: str | None
    innerversion: str | None
    ascendhal_version: str | None
    compatible_versions: tuple[str, ...]
    compatible_firmware: tuple[VersionRange, ...]
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FirmwareVersion:
    """The firmware's version.info.

    Attributes:
        version: of the firmware, such as 7.5.0.1.129.
        package_version: of the release that it came with, such as 24.1.rc3.
        compatible_drivers: the drivers that the firmware works with.
    """

    version: str
    package_version: str | None
    compatible_drivers: tuple[VersionRange, ...]
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class InstallInfo:
    """/etc/ascend_install.info; None for what is not in it.

    Attributes:
        driver_status: "complete" at the end of an installation; drivers before 24 do not write it.
    """

    user_name: str | None
    user_group: str | None
    driver_type: str | None
    driver_path: str | None
    driver_for_all: bool | None
    driver_mode: str | None
    driver_status: str | None
    firmware_type: str | None
    firmware_path: str | None
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToolkitInfo:
    """CANN's ascend_toolkit_install.info."""

    package_name: str
    version: str
    innerversion: str | None
    compatible_versions: tuple[str, ...]
    arch: str
    os: str | None
    path: str


def parse_driver_version(text: str) -> DriverVersion:
    """Read /usr/local/Ascend/driver/version.info.

    Raises:
        UnreadableError: also for the firmware's file.
    """
    values = _Values(text)
    version = values.version("Version")
    package_version = values.version("package_version")
    innerversion, hal = values.pop("Innerversion"), values.version("ascendhal_version")
    if version is None or (innerversion is None and hal is None):
        raise UnreadableError("not the version.info of a driver")
    return DriverVersion(
        version=version,
        package_version=package_version,
        innerversion=innerversion,
        ascendhal_version=hal,
        compatible_versions=values.names("compatible_version"),
        compatible_firmware=values.ranges("compatible_version_fw"),
        others=values.rest(),
    )


def parse_firmware_version(text: str) -> FirmwareVersion:
    """Read /usr/local/Ascend/firmware/version.info.

    Raises:
        UnreadableError: also for the driver's file.
    """
    values = _Values(text)
    version = values.version("Version")
    own = {"firmware_version", "compatible_version_drv"} & values.keys
    if version is None or not own:
        raise UnreadableError("not the version.info of a firmware")
    return FirmwareVersion(
        version=version,
        package_version=values.version("package_version"),
        compatible_drivers=values.ranges("compatible_version_drv"),
        others=values.rest(),
    )


def parse_install_info(text: str) -> InstallInfo:
    """Read /etc/ascend_install.info."""
    values = _Values(text)
    if (
        not {"UserName", "UserGroup", "Driver_Install_Path_Param", "Firmware_Install_Path_Param"}
        & values.keys
    ):
        raise UnreadableError("not an ascend_install.info")
    return InstallInfo(
        user_name=values.pop("UserName"),
        user_group=values.pop("UserGroup"),
        driver_type=values.pop("Driver_Install_Type"),
        driver_path=values.path("Driver_Install_Path_Param"),
        driver_for_all=values.yes_or_no("Driver_Install_For_All"),
        driver_mode=values.pop("Driver_Install_Mode"),
        driver_status=values.pop("Driver_Install_Status"),
        firmware_type=values.pop("Firmware_Install_Type"),
        firmware_path=values.path("Firmware_Install_Path_Param"),
        others=values.rest(),
    )


def parse_toolkit_info(text: str) -> ToolkitInfo:
    """Read ascend_toolkit_install.info, below the toolkit's folder of the machine's architecture."""
    values = _Values(text)
    package_name, version = values.pop("package_name"), values.version("version")
    arch, path = values.pop("arch"), values.path("path")
    if not package_name or not version or not arch or not path:
        raise UnreadableError("not, or not wholly, an ascend_toolkit_install.info")
    return ToolkitInfo(
        package_name=package_name,
        version=version,
        innerversion=values.pop("innerversion"),
        compatible_versions=values.names("compatible_version"),
        arch=arch,
        os=values.pop("os"),
        path=path,
    )


class _Values:
    """The lines <key>=<value> of a file; each is taken out once."""

    def __init__(self, text: str) -> None:
        self._found: dict[str, tuple[str, Line]] = {}
        for line in numbered_lines(text):
            if line.content.startswith("#"):
                continue
            key, equals, value = (part.strip() for part in line.content.partition("="))
            if not equals or not _KEY.fullmatch(key):
                raise line.error("not <key>=<value>")
            known = self._found.setdefault(key, (value, line))
            if known[0] != value:
                raise line.error(f"{key} was said otherwise in line {known[1].number}")

    @property
    def keys(self) -> set[str]:
        return set(self._found)

    def pop(self, key: str) -> str | None:
        return self._found.pop(key, (None, None))[0]

    def rest(self) -> dict[str, str]:
        return {key: value for key, (value, _) in self._found.items()}

    def version(self, key: str) -> str | None:
        return self._matched(key, _VERSION, "a version")

    def path(self, key: str) -> str | None:
        return self._matched(key, r"/.{0,1023}", "an absolute path")

    def yes_or_no(self, key: str) -> bool | None:
        word = self._matched(key, "yes|no|y|n", "yes or no")
        return None if word is None else word.startswith("y")

    def names(self, key: str) -> tuple[str, ...]:
        """The names in "[a],[b]"."""
        listed = self._matched(key, rf"{_RANGE}(?:,{_RANGE})*", "a list in brackets")
        return tuple(re.findall(r"\[([^\[\]]+)\]", listed)) if listed else ()

    def ranges(self, key: str) -> tuple[VersionRange, ...]:
        """The ranges in "[first,last],[first,last]"."""
        pair = rf"\[{_VERSION},{_VERSION}\.?\]"
        listed = self._matched(key, rf"{pair}(?:,{pair})*", "ranges of versions")
        return tuple(
            VersionRange(first, last) for first, last in re.findall(r"\[([^,\]]+),([^\]]+)\]", listed or "")
        )

    def _matched(self, key: str, pattern: str, what: str) -> str | None:
        if key not in self._found:
            return None
        value, line = self._found.pop(key)
        if not re.fullmatch(pattern, value):
            raise line.error(f"not {what}: {value!r}")
        return value
