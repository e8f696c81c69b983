"""The chips' device nodes: there while a driver runs, for the chips that it found on the bus."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from npusim import chips
from npusim.products import product
from npusim.state import State, rooted

_NULL_DEVICE = os.makedev(1, 3)  # /dev/null's: opens for every process and does no harm
_MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
_OWNER = "HwHiAiUser"


def show(state: State) -> None:
    """Make the device nodes that the running driver has, and remove all others.

    Raises:
        PermissionError: making them needs root.
    """
    kind = product(state["product"])
    wanted = {f"davinci{chip.device}" for chip in kind.chips if chips.is_on_bus(state, chip.device)}
    present = wanted | set(_MANAGERS) if state["driver"] else set()
    for name in sorted({f"davinci{chip.device}" for chip in kind.chips} | set(_MANAGERS)):
        path = rooted(f"/dev/{name}")
        if name in present:
            _make(path)
        else:
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108


def _make(path: str) -> None:
    os.makedirs(rooted("/dev"), exist_ok=True)  # noqa: PTH103
    below_a_tests_root = bool(rooted(""))
    try:
        found = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        found = None
    if (
        found
        and not below_a_tests_root
        and not (stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL_DEVICE)
    ):
        os.unlink(path)  # noqa: PTH108
        found = None
    if found is None and below_a_tests_root:  # a plain file serves: it is only ever held open
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o660))
    elif found is None:
        os.mknod(path, stat.S_IFCHR | 0o660, _NULL_DEVICE)
    os.chmod(path, 0o660)  # noqa: PTH101
    _give_to_owner(path)


def _give_to_owner(path: str) -> None:
    import pwd  # noqa: PLC0415  only a boot needs it

    with suppress(KeyError, PermissionError):
        owner = pwd.getpwnam(_OWNER)
        os.chown(path, owner.pw_uid, owner.pw_gid)
