"""npusim: makes a node's simulated NPUs, boots them, breaks and mends them."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
import time
from contextlib import suppress

from npusim import chips, drills, foreign, holders, network
from npusim.faults import FAULTS, check_name, check_value
from npusim.products import PRODUCTS, SimProduct, product
from npusim.state import (
    NotInitialisedError,
    State,
    changing,
    fault_value,
    faults_of,
    load,
    locked,
    rooted,
    save,
    state_path,
    write_file,
)

_USAGE_ERROR = 2
_NULL_DEVICE = os.makedev(1, 3)  # /dev/null's: opens for every process and does no harm
_MANAGER_DEVICES = ("davinci_manager", "devmm_svm", "hisi_hdc")
_DRIVER_OWNER = "HwHiAiUser"
_VERSION_INFO = "/usr/local/Ascend/driver/version.info"
_INSTALL_INFO = "/etc/ascend_install.info"
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
    show.set_defaults(run=_show)
    return parser


def _node_index(text: str) -> int:
    if text.isdecimal() and int(text) <= 254:  # noqa: PLR2004  it is a byte of an address; 255 is the switch's
        return int(text)
    raise argparse.ArgumentTypeError("0 to 254")


def _init(options: argparse.Namespace) -> int:
    if options.if_missing and os.path.exists(state_path()):  # noqa: PTH110
        return 0
    kind = product(options.product)
    state: State = {
        "version": 1,
        "simulated": True,
        "product": kind.key,
        "node_index": options.node_index,
        "driver": options.driver,
        "busy_share": options.busy_share,
        "created_seconds": int(time.time()),
        "ports": network.factory_ports(kind, options.node_index),
        "faults": [],
    }
    with locked("state.lock"):
        save(state)
        _write_driver_files(options.driver)
        network.write_conf(state["ports"])
    return 0


def _write_driver_files(driver: str) -> None:
    _write_version_info(driver)
    _write_install_info(complete=True)
    files = {
        "/usr/local/Ascend/firmware/version.info": (
            "Version=7.8.0.7.220\nfirmware_version=1.0\npackage_version=25.5.2\n"
            "compatible_version_drv=[25.0,25.0],[25.2,25.2],[25.5,25.5]\n"
        ),
        "/usr/local/dcmi/libdcmi.so": "",
        "/usr/local/dcmi/dcmi_interface_api.h": "/* simulated */\n",
        "/usr/local/Ascend/driver/lib64/libascend_hal.so": "",
    }
    for path, text in files.items():
        write_file(rooted(path), text, mode=0o644)


def _write_version_info(driver: str) -> None:
    write_file(
        rooted(_VERSION_INFO),
        f"Version={driver}\nascendhal_version=7.35.23\naicpu_version=1.0\ntdt_version=1.0\nlog_version=1.0\n"
        "prof_version=2.0\ndvppkernels_version=1.1\ntsfw_version=1.0\nInnerversion=V100R001C23SPC009B220\n"
        "compatible_version=[V100R001C30],[V100R001C13],[V100R001C15]\n"
        f"compatible_version_fw=[7.0.0,7.8.99]\npackage_version={driver}\n",
        mode=0o644,
    )


def _write_install_info(*, complete: bool) -> None:
    # The installer appends the status as the last thing it does (hicann/driver scripts/package, install.sh).
    status = "Driver_Install_Status=complete\n" if complete else ""
    write_file(
        rooted(_INSTALL_INFO),
        "UserName=HwHiAiUser\nUserGroup=HwHiAiUser\nDriver_Install_Type=full\n"
        "Driver_Install_Path_Param=/usr/local/Ascend\nDriver_Install_For_All=no\n"
        f"Driver_Install_Mode=normal\n{status}",
        mode=0o644,
    )


def _version_on_disk() -> str | None:
    with suppress(FileNotFoundError), open(rooted(_VERSION_INFO), encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            key, _, value = line.strip().partition("=")
            if key == "Version" and value:
                return value
    return None


def _boot(options: argparse.Namespace) -> int:
    del options
    with changing() as state:
        kind = product(state["product"])
        # A boot loads the driver that is on disk and applies hccn.conf.
        state["driver"] = _version_on_disk() or state["driver"]
        for fault in faults_of(state, "held"):
            foreign.let_go(fault["chip"], int(fault["value"]))
        state["faults"] = [fault for fault in state["faults"] if not FAULTS[fault["name"]].ends_at_boot]
        for device in state["ports"]:
            network.recover(state, device)
    try:
        _make_devices(kind, state)
    except PermissionError as error:
        print(f"npusim: cannot make device nodes ({error}); boot needs root", file=sys.stderr)
        return 1
    return 0


def _make_devices(kind: SimProduct, state: State) -> None:
    os.makedirs(rooted("/dev"), exist_ok=True)  # noqa: PTH103
    on_bus = [chip.device for chip in kind.chips if chips.is_on_bus(state, chip.device)]
    for name in (*(f"davinci{device}" for device in on_bus), *_MANAGER_DEVICES):
        path = rooted(f"/dev/{name}")
        try:
            found = os.stat(path)  # noqa: PTH116
        except FileNotFoundError:
            _make_device(path)
        else:
            if not rooted("") and not (stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL_DEVICE):
                os.unlink(path)  # noqa: PTH108
                _make_device(path)
        os.chmod(path, 0o660)  # noqa: PTH101
        _give_to_driver_owner(path)


def _make_device(path: str) -> None:
    if rooted(""):  # below a test's root a plain file serves: it is only ever held open
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o660))
    else:
        os.mknod(path, stat.S_IFCHR | 0o660, _NULL_DEVICE)


def _give_to_driver_owner(path: str) -> None:
    import pwd  # noqa: PLC0415  only a boot needs it

    with suppress(KeyError, PermissionError):
        owner = pwd.getpwnam(_DRIVER_OWNER)
        os.chown(path, owner.pw_uid, owner.pw_gid)


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
    if name in _ON_DISK:
        _show_on_disk(state)
    if name == "chip-dropped":
        _show_on_bus(state)


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
        names = {fault["name"] for fault in gone}
        if names & _ON_DISK:
            _show_on_disk(state)
        if "chip-dropped" in names:
            _show_on_bus(state)
    return 0


def _take_off(state: State, gone: list[State]) -> None:
    state["faults"] = [fault for fault in state["faults"] if fault not in gone]
    for fault in gone:
        if fault["name"] == "held":
            foreign.let_go(fault["chip"], int(fault["value"]))
        drills.end(state, fault)


def _show_on_disk(state: State) -> None:
    """Make the driver's files say what the state's faults want them to."""
    _write_version_info(fault_value(state, "driver") or state["driver"])
    _write_install_info(complete=not faults_of(state, "install-broken"))


def _show_on_bus(state: State) -> None:
    """Give device nodes to the chips that a driver found on the bus, and to no other."""
    kind = product(state["product"])
    for chip in kind.chips:
        if not chips.is_on_bus(state, chip.device):
            with suppress(FileNotFoundError):
                os.unlink(rooted(f"/dev/davinci{chip.device}"))  # noqa: PTH108
    _make_devices(kind, state)


def _show(options: argparse.Namespace) -> int:
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
    answer = {**state, "chip_name": kind.chip_name, "driver_on_disk": _version_on_disk(), "chips": now}
    print(json.dumps(answer, indent=2))
    return 0


def _refuse(why: str) -> int:
    print(f"npusim: {why}", file=sys.stderr)
    return _USAGE_ERROR
