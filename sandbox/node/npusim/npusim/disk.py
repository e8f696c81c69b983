"""What the packages leave on a node's disk: version files, the record of the installation, tools, libraries.

Paths and keys: hicann/driver, scripts/package (install.sh, run_driver_install.sh, run_driver_uninstall.sh).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress

from npusim import releases
from npusim.state import rooted, write_file

DRIVER, FIRMWARE = "driver", "firmware"
HOME = "/usr/local/Ascend"
INSTALL_INFO = "/etc/ascend_install.info"
HCCN_CONF = "/etc/hccn.conf"
_VERSION_INFO = HOME + "/{}/version.info"
_FOLDER = f"{HOME}/driver"
_TOOLS = {
    "npu-smi": ("/usr/local/bin/npu-smi",),
    "hccn_tool": (f"{HOME}/driver/tools/hccn_tool",),
    "upgrade-tool": (f"{HOME}/driver/tools/upgrade-tool",),
}
_UNINSTALL = """#!/bin/sh
# Simulated.
exec /usr/local/sbin/npusim uninstall {} "$@"
"""
# Other files that come and go with the driver.
_FILES = {
    "/usr/local/dcmi/libdcmi.so": "",
    "/usr/local/dcmi/dcmi_interface_api.h": "/* simulated */\n",
    f"{_FOLDER}/lib64/libascend_hal.so": "",
    "/lib/davinci.conf": f"DAVINCI_HOME_PATH={HOME}\n",
}
# What it makes where there is none, and leaves when it goes.
_KEPT = {
    "/etc/vnpu.cfg": "vnpu_config_recover:enable\n[vnpu-config start]\n[vnpu-config end]\n",
    "/etc/custom_process.cfg": "",
}


def version(part: str) -> str:
    """The version of the driver or the firmware that is installed; "" where none is."""
    with suppress(OSError), open(rooted(_VERSION_INFO.format(part)), encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            key, _, value = line.strip().partition("=")
            if key == "Version":
                return value
    return ""


def write_driver(driver: str) -> None:
    """Put the driver's files and tools there; its version.info comes last, as its installer has it."""
    for path, text in _FILES.items():
        write_file(rooted(path), text, mode=0o644)
    for path, text in _KEPT.items():
        if not os.path.exists(rooted(path)):  # noqa: PTH110
            write_file(rooted(path), text, mode=0o644)
    for tool, places in _TOOLS.items():
        for place in places:
            os.makedirs(os.path.dirname(rooted(place)), exist_ok=True)  # noqa: PTH103, PTH120
            shutil.copy(os.path.join(_own_tools(), tool), rooted(place))  # noqa: PTH118
            os.chmod(rooted(place), 0o755)  # noqa: PTH101, S103  everybody may run it
    write_file(rooted(f"{HOME}/driver/script/uninstall.sh"), _UNINSTALL.format(DRIVER), mode=0o550)
    if not os.path.exists(rooted(HCCN_CONF)):  # noqa: PTH110
        write_file(rooted(HCCN_CONF), "", mode=0o640)
    write_driver_version(driver)


def write_driver_version(driver: str) -> None:
    """Write the driver's version.info."""
    unprotect()
    write_file(
        rooted(_VERSION_INFO.format(DRIVER)),
        f"Version={driver}\nascendhal_version=7.35.23\naicpu_version=1.0\ntdt_version=1.0\nlog_version=1.0\n"
        "prof_version=2.0\ndvppkernels_version=1.1\ntsfw_version=1.0\nInnerversion=V100R001C23SPC009B220\n"
        "compatible_version=[V100R001C30],[V100R001C13],[V100R001C15]\n"
        f"compatible_version_fw=[{','.join(releases.firmware_range(driver))}]\npackage_version={driver}\n",
        mode=0o644,
    )


def write_firmware(firmware: str, release: str) -> None:
    """Put the firmware's files there; `release` is the driver that it was published with."""
    drivers = ",".join(f"[{name},{name}]" for name in releases.drivers_for(firmware))
    write_file(
        rooted(_VERSION_INFO.format(FIRMWARE)),
        f"Version={firmware}\nfirmware_version=1.0\npackage_version={release}\ncompatible_version_drv={drivers}\n",
        mode=0o644,
    )
    write_file(rooted(f"{HOME}/firmware/script/uninstall.sh"), _UNINSTALL.format(FIRMWARE), mode=0o550)


def remove_driver() -> None:
    """Take away what goes with the driver; hccn.conf stays."""
    unprotect()
    for path in [*_FILES, *(place for places in _TOOLS.values() for place in places)]:
        with suppress(FileNotFoundError):
            os.unlink(rooted(path))  # noqa: PTH108
    for folder in (f"{HOME}/driver", "/usr/local/dcmi"):
        shutil.rmtree(rooted(folder), ignore_errors=True)


def remove_firmware() -> None:
    """Take away the firmware's folder; what the chips hold stays in them."""
    shutil.rmtree(rooted(f"{HOME}/firmware"), ignore_errors=True)


def install_info() -> dict[str, str]:
    """The record of installations; empty where there is none."""
    try:
        with open(rooted(INSTALL_INFO), encoding="utf-8") as file:  # noqa: PTH123
            pairs = [line.strip().partition("=") for line in file]
    except FileNotFoundError:
        return {}
    return {key: value for key, _, value in pairs if key}


def note_install(values: dict[str, str]) -> None:
    """Write these keys into the record, in the order given where they are new.

    A record without a path of driver or firmware is no record any more, and goes.
    """
    if not any(key.endswith("_Install_Path_Param") for key in values):
        with suppress(FileNotFoundError):
            os.unlink(rooted(INSTALL_INFO))  # noqa: PTH108
        return
    write_file(rooted(INSTALL_INFO), "".join(f"{key}={value}\n" for key, value in values.items()), mode=0o644)


def protect() -> None:
    """Keep the driver's files from being removed by hand, as the real package does with `chattr +i`.

    Here by a read-only mount over them: an immutable file would keep Docker from removing the node.
    """
    if not rooted("") and not _is_protected() and os.path.isdir(_FOLDER):  # noqa: PTH112
        subprocess.run(["/bin/mount", "--bind", _FOLDER, _FOLDER], check=True)
        subprocess.run(["/bin/mount", "-o", "remount,bind,ro", _FOLDER], check=True)


def unprotect() -> None:
    """Let an installer at them."""
    if not rooted("") and _is_protected():
        subprocess.run(["/bin/umount", _FOLDER], check=True)


def _is_protected() -> bool:
    """Whether the mount is there; os.path.ismount does not see one of a folder over itself."""
    with open("/proc/self/mounts", encoding="utf-8") as file:  # noqa: PTH123
        return any(line.split()[1] == _FOLDER for line in file)


def _own_tools() -> str:
    """The folder that the simulator keeps its tools in, on a node and in a checkout."""
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin")  # noqa: PTH100, PTH118, PTH120
