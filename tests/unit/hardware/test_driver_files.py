"""version.info of driver and firmware, ascend_install.info, and CANN's install info."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from npuctl.hardware.driver_files import (
    VersionRange,
    parse_driver_version,
    parse_firmware_version,
    parse_install_info,
    parse_toolkit_info,
)
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

DRIVER = """\
Version=25.2.1
ascendhal_version=7.35.23
aicpu_version=1.0
Innerversion=V100R001C22SPC003B220
compatible_version=[V100R001C19],[V100R001C20],[V100R001C22]
compatible_version_fw=[6.4.0,6.4.99],[7.0.0,7.7.99]
package_version=25.2.1
"""
FIRMWARE = """\
Version=7.7.0.3.231
firmware_version=1.0
package_version=25.2.1
compatible_version_drv=[24.0,24.0.],[24.1,24.1.],[25.2.0,25.2.0.]
"""
INSTALL = """\
UserName=HwHiAiUser
UserGroup=HwHiAiUser
Driver_Install_Type=full
Driver_Install_Path_Param=/usr/local/Ascend
Driver_Install_For_All=no
Driver_Install_Mode=normal
Driver_Install_Status=complete
Driver_Install_Status=complete
Firmware_Install_Type=full
Firmware_Install_Path_Param=/opt/Ascend
Something_New=1
"""
TOOLKIT = """\
package_name=Ascend-cann-toolkit
version=8.5.0
innerversion=V100R001C25SPC002B110
compatible_version=[V100R001C20],[V100R001C23]
arch=x86_64
os=linux
path=/usr/local/Ascend/cann-8.5.0
"""
READERS: list[tuple[str, Callable[[str], object]]] = [
    (DRIVER, parse_driver_version),
    (FIRMWARE, parse_firmware_version),
    (INSTALL, parse_install_info),
    (TOOLKIT, parse_toolkit_info),
]


def test_driver() -> None:
    driver = parse_driver_version(DRIVER)
    assert (driver.version, driver.package_version) == ("25.2.1", "25.2.1")
    assert (driver.innerversion, driver.ascendhal_version) == ("V100R001C22SPC003B220", "7.35.23")
    assert driver.compatible_versions == ("V100R001C19", "V100R001C20", "V100R001C22")
    assert driver.compatible_firmware == (VersionRange("6.4.0", "6.4.99"), VersionRange("7.0.0", "7.7.99"))
    assert driver.others == {"aicpu_version": "1.0"}


def test_firmware() -> None:
    firmware = parse_firmware_version(FIRMWARE)
    assert (firmware.version, firmware.package_version) == ("7.7.0.3.231", "25.2.1")
    assert firmware.compatible_drivers[0] == VersionRange("24.0", "24.0.")
    assert firmware.compatible_drivers[2] == VersionRange("25.2.0", "25.2.0.")


def test_install_info() -> None:
    info = parse_install_info(INSTALL)
    assert (info.user_name, info.user_group, info.driver_type) == ("HwHiAiUser", "HwHiAiUser", "full")
    assert (info.driver_path, info.firmware_path) == ("/usr/local/Ascend", "/opt/Ascend")
    assert (info.driver_for_all, info.driver_mode, info.driver_status) == (False, "normal", "complete")
    assert info.others == {"Something_New": "1"}
    driver_only = parse_install_info("UserName=HwHiAiUser\nDriver_Install_Path_Param=/usr/local/Ascend\n")
    assert (driver_only.firmware_path, driver_only.driver_status) == (None, None)


def test_toolkit_info() -> None:
    info = parse_toolkit_info(TOOLKIT)
    assert (info.package_name, info.version, info.arch) == ("Ascend-cann-toolkit", "8.5.0", "x86_64")
    assert (info.innerversion, info.os) == ("V100R001C25SPC002B110", "linux")
    assert info.path == "/usr/local/Ascend/cann-8.5.0"
    assert info.compatible_versions == ("V100R001C20", "V100R001C23")


@pytest.mark.parametrize(("text", "parse"), READERS)
def test_margins_and_line_ends_say_nothing(text: str, parse: Callable[[str], object]) -> None:
    assert parse("# x\n\n" + text.replace("\n", " \r\n    ")) == parse(text)


@pytest.mark.parametrize(("text", "parse"), READERS)
def test_one_file_is_not_taken_for_another(text: str, parse: Callable[[str], object]) -> None:
    for other, _ in READERS:
        if other != text:
            with pytest.raises(UnreadableError):
                parse(other)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_driver_version, ""),
        (parse_driver_version, DRIVER.replace("Version=25.2.1\n", "Version=\n", 1)),
        (parse_driver_version, DRIVER + "Version=25.2.2\n"),
        (parse_driver_version, DRIVER + "...\n"),
        (parse_driver_version, DRIVER.replace("7.7.99]", "7.7.99")),
        (parse_driver_version, DRIVER.replace("[6.4.0,6.4.99]", "[6.4.0]")),
        (parse_driver_version, DRIVER.replace("[V100R001C20]", "V100R001C20")),
        (parse_firmware_version, FIRMWARE.replace("7.7.0.3.231", "7.7.0.3.")),
        (parse_install_info, "UserName\n"),
        (parse_install_info, INSTALL.replace("For_All=no", "For_All=maybe")),
        (parse_install_info, INSTALL.replace("=/opt/Ascend", "=opt/Ascend")),
        (parse_toolkit_info, TOOLKIT.replace("arch=x86_64\n", "")),
        (parse_toolkit_info, TOOLKIT.replace("path=/usr/local/Ascend/cann-8.5.0\n", "")),
    ],
)
def test_what_is_broken_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(UnreadableError):
        parse(text)
