"""What a boot does, and a hot reset after an installation: the driver on disk is the one that runs from now on."""

from __future__ import annotations

import os
import time

from npusim import devices, disk, foreign, host, network
from npusim.faults import FAULTS
from npusim.products import product
from npusim.state import State, faults_of, rooted, write_file

_KERNEL_HEADERS = "/lib/modules/{}/build"


def boot_machine(state: State) -> None:
    """Everything that begins anew with the machine.

    Raises:
        PermissionError: making device nodes needs root.
    """
    for fault in faults_of(state, "held"):
        foreign.let_go(fault["chip"], int(fault["value"]))
    state["faults"] = [fault for fault in state["faults"] if not FAULTS[fault["name"]].ends_at_boot]
    host.apply_settings()
    show_kernel_headers(state)
    load_driver(state)
    if state["packaged"]:
        disk.protect()


def load_driver(state: State) -> None:
    """Run the driver that is on disk and the firmware that is in the chips, with the settings of hccn.conf."""
    state["driver"] = disk.version(disk.DRIVER)
    state["firmware"] = state["flashed"]
    state["booted_seconds"] = time.monotonic()
    for device in state["ports"]:
        network.recover(state, device)
    devices.show(state)


def unload_driver(state: State) -> None:
    """Run no driver any more."""
    state["driver"] = ""
    devices.show(state)


def lose_hccn_conf() -> None:
    """Leave hccn.conf as on a new machine: without any setting."""
    write_file(rooted(disk.HCCN_CONF), "", mode=0o640)


def unset_ports(kind_key: str) -> dict[str, network.Port]:
    """The ports of a node that nobody has set up yet."""
    kind = product(kind_key)
    state: State = {"ports": {}}
    for chip in kind.chips if kind.has_roce else ():
        network.recover(state, str(chip.device))
    ports: dict[str, network.Port] = state["ports"]
    return ports


def kernel_headers() -> str:
    """The folder that a driver's installer compiles its modules against."""
    return rooted(_KERNEL_HEADERS.format(os.uname().release))


def show_kernel_headers(state: State) -> None:
    """Have that folder, unless a fault has taken it."""
    folder = kernel_headers()
    if faults_of(state, "no-kernel-headers"):
        if os.path.isdir(folder):  # noqa: PTH112
            os.rmdir(folder)  # noqa: PTH106
    else:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
