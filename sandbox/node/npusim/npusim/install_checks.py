"""What an installer asks of the machine before it touches anything."""

from __future__ import annotations

import os

from npusim import disk
from npusim.install_call import Options, RefusedError
from npusim.package import Package
from npusim.products import product
from npusim.state import State, rooted

_DEFAULT_OWNER = "HwHiAiUser"
_MEGABYTE = 1 << 20


def check_machine(package: Package, state: State) -> None:
    """Root, architecture, chips and space.

    Raises:
        RefusedError: one of them is not as it must be.
    """
    if int(os.environ.get("NPUSIM_UID", os.geteuid())) != 0:
        raise RefusedError(
            "ERR_NO:0x0093;ERR_DES:do not have root permission, operation failed, please use root permission!"
        )
    machine = os.uname().machine
    if package.kind == disk.DRIVER and package.arch != machine:
        raise RefusedError(f"Arch mismatch, src package is {package.arch}, cur os is {machine} ")
    if package.pci_device != product(state["product"]).pci_device:
        raise RefusedError("The current installation package and environment is not match, please check.")
    free = _free_megabytes(rooted(disk.HOME))
    if free <= package.megabytes:
        raise RefusedError(
            f"free space only {free}M, cannot install {package.kind} package (greater than {package.megabytes}M),"
            " please make sure enough space under the installation path"
        )


def check_user(options: Options) -> tuple[str, str]:
    """The user and the group that will own the devices.

    Raises:
        RefusedError: there is none of that name, or another one than at the last installation was named.
    """
    before = disk.install_info()
    last = (before.get("UserName") or _DEFAULT_OWNER, before.get("UserGroup") or _DEFAULT_OWNER)
    user, group = (options.user, options.group) if options.user else last
    if before.get("UserName") and (user, group) != last:
        raise RefusedError(
            "ERR_NO:0x0095;ERR_DES:The user and group are not same with last installation,"
            "do not support overwriting installation"
        )
    if user == "root" and not options.for_all:
        raise RefusedError("ERR_NO:0x0091;ERR_DES:username not permission for root")
    users, groups = _entries("/etc/passwd"), _entries("/etc/group")
    if user not in users:
        raise RefusedError(f"ERR_NO:0x0091;ERR_DES:{user} not exists! Please add {user}")
    if group not in groups:
        raise RefusedError(f"ERR_NO:0x0091;ERR_DES:{group} group not exists! Please add {group} group")
    if users[user][3] != groups[group][2] and user not in groups[group][3].split(","):
        raise RefusedError(
            f"ERR_NO:0x0096;ERR_DES:{group} not right! Please check the relatianship of {user} and {group}"
        )
    return user, group


def _entries(path: str) -> dict[str, list[str]]:
    with open(rooted(path), encoding="utf-8") as file:  # noqa: PTH123
        return {line.split(":")[0]: line.rstrip("\n").split(":") for line in file if ":" in line}


def _free_megabytes(path: str) -> int:
    while not os.path.isdir(path):  # noqa: PTH112
        path = os.path.dirname(path)  # noqa: PTH120
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize // _MEGABYTE
