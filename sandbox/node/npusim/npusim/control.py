"""npusim: makes a node's simulated NPUs, boots them, breaks and mends them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from npusim import boot, chips, devices, disk, drills, foreign, holders, network, releases
from npusim.faults import FAULTS, check_name, check_value
from npusim.products import PRODUCTS, product
from npusim.state import (
    NotInitialisedError,
    State,
    changing,
    fault_value,
    faults_of,
    load,
    locked,
    save,
    state_path,
)

_USAGE_ERROR = 2
_KINDS = ("driver", "firmware", "runtime")
_FACTORY_FIRMWARE = "7.5.0.1.129"
_FACTORY_RECORD = {
    "UserName": "HwHiAiUser",
    "UserGroup": "HwHiAiUser",
    "Driver_Install_Type": "full",
    "Driver_Install_Path_Param": disk.HOME,
    "Driver_Install_For_All": "no",
    "Driver_Install_Mode": "normal",
    "Driver_Install_Status": "complete",
}
_ON_DISK = frozenset({"driver", "install-broken"})


def main(arguments: list[str]) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except NotInitialisedError as error:
        print(
            f"npusim: no simulated NPUs here ({error}); run `npusim init --product …` first", file=sys.stderr
        )
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="npusim", description="The simulated NPUs of a sandbox node.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser("init", help="write the state and the driver's files of a new node")
    init.add_argument("--product", choices=sorted(PRODUCTS), required=True)
    init.add_argument(
        "--node-index", type=_node_index, required=True, help="0 to 254; addresses follow from it"
    )
    init.add_argument(
        "--driver", default="25.5.2", help="version of driver and npu-smi (default: %(default)s)"
    )
    init.add_argument(
        "--busy-share", type=float, default=1.0, help="share of an engine's usual memory that a process takes"
    )
    init.add_argument("--bare", action="store_true", help="no driver and no firmware is installed")
    init.add_argument(
        "--boot-seconds",
        type=float,
        default=4,
        help="until every chip's boot status is 16 (default: %(default)s)",
    )
    init.add_argument(
        "--install-seconds", type=float, default=2, help="how long an installer takes (default: %(default)s)"
    )
    init.add_argument("--if-missing", action="store_true", help="do nothing on a node that has a state")
    init.set_defaults(run=_init)

    boot = commands.add_parser("boot", help="make the device nodes and apply what is on disk, as a boot does")
    boot.set_defaults(run=_boot)

    fault = commands.add_parser(
        "fault",
        help="break something",
        epilog="\n".join(f"{name:<15} {kind.meaning}" for name, kind in FAULTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fault.add_argument("name", metavar="NAME")
    fault.add_argument("--chip", type=int, help="N of /dev/davinciN; every chip when left out")
    fault.add_argument("--value")
    fault.set_defaults(run=_fault)

    clear = commands.add_parser("clear", help="mend one kind of fault, or all")
    clear.add_argument("name", metavar="NAME", nargs="?")
    clear.add_argument("--chip", type=int, help="only on this chip")
    clear.set_defaults(run=_clear)

    show = commands.add_parser("show", help="print state, chips and holders as JSON")
    show.set_defaults(run=_show_state)

    package = commands.add_parser("package", help="do what a simulated .run package does", prefix_chars="\0")
    package.add_argument("file")
    package.add_argument("words", nargs="*")
    package.set_defaults(run=_package)

    uninstall = commands.add_parser(
        "uninstall", help="do what an installed uninstall.sh does", prefix_chars="\0"
    )
    uninstall.add_argument("kind", choices=_KINDS)
    uninstall.add_argument("words", nargs="*")
    uninstall.set_defaults(run=_uninstall)
    return parser


def _node_index(text: str) -> int:
    if text.isdecimal() and int(text) <= 254:  # noqa: PLR2004  it is a byte of an address; 255 is the switch's
        return int(text)
    raise argparse.ArgumentTypeError("0 to 254")


def _init(options: argparse.Namespace) -> int:
    if options.if_missing and os.path.exists(state_path()):  # noqa: PTH110
        return 0
    kind = product(options.product)
    driver = "" if options.bare else options.driver
    # Chips leave the factory with a firmware, whatever is on the machine's disk.
    firmware = _FACTORY_FIRMWARE if options.bare else releases.usual_firmware(driver)
    state: State = {
        "version": 1,
        "simulated": True,
        "product": kind.key,
        "node_index": options.node_index,
        "driver": driver,
        "firmware": firmware,
        "flashed": firmware,
        "packaged": {},
        "booted_seconds": 0,
        "boot_seconds": options.boot_seconds,
        "install_seconds": options.install_seconds,
        "busy_share": options.busy_share,
        "created_seconds": int(time.time()),
        "ports": boot.unset_ports(kind.key)
        if options.bare
        else network.factory_ports(kind, options.node_index),
        "faults": [],
    }
    with locked("state.lock"):
        save(state)
        if not options.bare:
            disk.write_driver(driver)
            disk.write_firmware(firmware, driver)
            disk.note_install(_FACTORY_RECORD)
            network.write_conf(state["ports"])
    return 0


def _package(options: argparse.Namespace) -> int:
    from npusim import package  # noqa: PLC0415  few calls install

    return package.main(options.file, options.words)


def _uninstall(options: argparse.Namespace) -> int:
    from npusim import docker_runtime, install  # noqa: PLC0415  few calls install

    return (
        docker_runtime.uninstall()
        if options.kind == "runtime"
        else install.uninstall(options.kind, options.words)
    )


def _boot(options: argparse.Namespace) -> int:
    del options
    try:
        with changing() as state:
            boot.boot_machine(state)
    except PermissionError as error:
        print(f"npusim: cannot make device nodes ({error}); boot needs root", file=sys.stderr)
        return 1
    return 0


def _fault(options: argparse.Namespace) -> int:
    try:
        value = check_value(options.name, options.value)
        with changing() as state:
            _set_fault(state, options.name, value, _wanted_chips(state, options.name, options.chip))
    except ValueError as error:
        return _refuse(str(error))
    return 0


def _wanted_chips(state: State, name: str, chip: int | None) -> list[int | None]:
    """The chips that the fault is of; [None] for a fault of the node."""
    kind = product(state["product"])
    devices = [chip.device for chip in kind.chips]
    drills.check(state, name, chip)
    if chip is None:
        return list(devices) if FAULTS[name].of_chip else [None]
    if not FAULTS[name].of_chip:
        raise ValueError(f"{name} is of the node, not of a chip")
    if chip not in devices:
        raise ValueError(f"no chip {chip}; this node has {devices[0]} to {devices[-1]}")
    return [chip]


def _set_fault(state: State, name: str, value: str, chips_hit: list[int | None]) -> None:
    _take_off(
        state, [fault for fault in state["faults"] if fault["name"] == name and fault["chip"] in chips_hit]
    )
    for chip in chips_hit:
        own = str(foreign.hold(chip)) if name == "held" and chip is not None else value
        state["faults"].append(drills.begin(state, name, chip, own))
    _show(state, {name})


def _clear(options: argparse.Namespace) -> int:
    try:
        check_name(options.name or next(iter(FAULTS)))
    except ValueError as error:
        return _refuse(str(error))
    with changing() as state:
        gone = [
            fault
            for fault in state["faults"]
            if options.name in (None, fault["name"]) and options.chip in (None, fault["chip"])
        ]
        _take_off(state, gone)
        _show(state, {fault["name"] for fault in gone})
    return 0


def _take_off(state: State, gone: list[State]) -> None:
    state["faults"] = [fault for fault in state["faults"] if fault not in gone]
    for fault in gone:
        if fault["name"] == "held":
            foreign.let_go(fault["chip"], int(fault["value"]))
        drills.end(state, fault)


def _show(state: State, names: set[str]) -> None:
    """Let the machine show what changed with faults of these names."""
    if names & _ON_DISK and state["driver"]:
        _show_on_disk(state)
    if "chip-dropped" in names:
        devices.show(state)
    if "no-kernel-headers" in names:
        boot.show_kernel_headers(state)


def _show_on_disk(state: State) -> None:
    """Make the driver's files say what the state's faults want them to."""
    disk.write_driver_version(fault_value(state, "driver") or state["driver"])
    record = disk.install_info()
    record.pop("Driver_Install_Status", None)
    # The installer appends the status as the last thing it does (hicann/driver scripts/package, install.sh).
    status = {} if faults_of(state, "install-broken") else {"Driver_Install_Status": "complete"}
    disk.note_install(record | status)


def _show_state(options: argparse.Namespace) -> int:
    del options
    state = load()
    kind = product(state["product"])
    now = [
        {
            "npu": chip.sim.npu,
            "chip": chip.sim.chip,
            "device": chip.sim.device,
            "device_node": f"{holders.device_prefix()}{chip.sim.device}",
            "health": chip.health.word,
            "temperature_c": chip.temperature_c,
            "memory_used_mb": chip.memory_used_mb,
            "memory_total_mb": chip.sim.memory_total_mb,
            "processes": [
                {"pid": row.pid, "name": row.name, "memory_mb": row.memory_mb} for row in chip.processes
            ],
        }
        for chip in chips.present(state, holders.scan())
    ]
    answer = {**state, "chip_name": kind.chip_name, "driver_on_disk": disk.version(disk.DRIVER), "chips": now}
    print(json.dumps(answer, indent=2))
    return 0


def _refuse(why: str) -> int:
    print(f"npusim: {why}", file=sys.stderr)
    return _USAGE_ERROR
