"""lspci: the node's simulated NPUs for `lspci -n -d 19e5:`, the machine's own lspci for every other call."""

from __future__ import annotations

import os
import sys

from npusim.chips import is_on_bus
from npusim.products import product
from npusim.state import NotInitialisedError, load

_REAL = "/usr/bin/lspci"
_HUAWEI = "19e5:"
_ACCELERATOR = "1200"
# What else of this vendor such a server has on its bus: the management controller's screen.
_IBMC = f"06:00.0 0300: {_HUAWEI}1711 (rev 01)"


def main(arguments: list[str]) -> int:
    """Answer one call; returns the exit code."""
    options = list(arguments)
    if "-d" not in options or _HUAWEI not in options or not set(options) <= {"-n", "-D", "-d", _HUAWEI}:
        return _real(arguments)
    try:
        state = load()
    except NotInitialisedError:
        return 0
    kind = product(state["product"])
    present = sorted({chip.bus_id.lower() for chip in kind.chips if is_on_bus(state, chip.device)})
    domain = "" if "-D" in options else "0000:"
    print("0000:" * ("-D" in options) + _IBMC)
    for bus in present:
        print(f"{bus.removeprefix(domain)} {_ACCELERATOR}: {_HUAWEI}{kind.pci_device} (rev 20)")
    return 0


def _real(arguments: list[str]) -> int:
    try:
        os.execv(_REAL, [_REAL, *arguments])  # noqa: S606
    except FileNotFoundError:
        print("lspci: not installed", file=sys.stderr)
        return 127
