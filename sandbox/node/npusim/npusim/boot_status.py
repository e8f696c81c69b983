"""How far each chip has come since its driver was loaded, and the upgrade-tool that tells.

The numbers: upgrade-tool's manual (hicann/driver, docs/en/Ascend_950_upgrade-tool). Its lines for boot_status are
in no public output: they are drawn like those of its other queries, with the words that the driver's installer
looks for ("boot status:16", scripts/package/custom/driver/common/scripts/driver_install.sh).
"""

from __future__ import annotations

import sys
import time

from npusim.chips import is_on_bus
from npusim.products import product
from npusim.state import NotInitialisedError, State, fault_value, faults_of, load

READY = 16
_STAGES = (0, 1, 2, 3)  # not initialised, BIOS, OS, started
_STUCK_AT = 2
_ALL = "-1"
_USAGE = "Usage: upgrade-tool --device_index <dev_id> [--boot_status | --system_version | --hot_reset_flag]"


def of_chips(state: State) -> dict[int, int]:
    """Boot status by device number."""
    slow = fault_value(state, "slow-boot")
    seconds = float(slow) if slow is not None else float(state["boot_seconds"])
    passed = time.monotonic() - float(state["booted_seconds"])
    now = READY if not 0 <= passed < seconds else _STAGES[int(passed / seconds * len(_STAGES))]
    return {
        chip.device: min(now, _STUCK_AT) if faults_of(state, "boot-status-stuck", chip.device) else now
        for chip in product(state["product"]).chips
        if is_on_bus(state, chip.device)
    }


def all_ready(state: State) -> bool:
    """Whether every chip has come up."""
    return set(of_chips(state).values()) == {READY}


def main(arguments: list[str]) -> int:
    """Answer one call of upgrade-tool; returns the exit code."""
    try:
        state = load()
    except NotInitialisedError:
        state = {"driver": ""}
    if len(arguments) != 3 or arguments[0] != "--device_index":  # noqa: PLR2004
        print(_USAGE, file=sys.stderr)
        return 1
    if not state["driver"]:
        print("Get device list fail.", file=sys.stderr)
        return 1
    chosen = of_chips(state)
    if arguments[1] != _ALL:
        chosen = {device: status for device, status in chosen.items() if str(device) == arguments[1]}
    words = {
        "--boot_status": lambda device: f'{{"device_id":{device}, boot status:{chosen[device]}}}',
        "--system_version": lambda device: f'{{"device_id":{device}, "version":{state["firmware"]}}}',
        "--hot_reset_flag": lambda device: f"Set hot reset flag succeed, deviceId({device})",
    }.get(arguments[2])
    if words is None or not chosen:
        print(_USAGE if words is None else f"Get device({arguments[1]}) fail.", file=sys.stderr)
        return 1
    print("\n".join(["{", *(f"\t{words(device)}" for device in chosen), "}"]))
    return 0
