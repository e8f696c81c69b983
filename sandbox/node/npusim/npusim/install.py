"""The installers in the driver's and the firmware's package.

Flags, numbers, words and their order follow the driver's scripts (hicann/driver, scripts/package/custom/driver/
common/scripts: args_parse.sh, env_check.sh, driver_install.sh, install.sh). The firmware's are not public: its words
are those of published logs, its flags the common subset; that it wants a running driver is made up.
"""

from __future__ import annotations

import os
import time

from npusim import boot, boot_status, disk, holders, package
from npusim.install_call import Call, Options, RefusedError, parse
from npusim.install_checks import check_machine, check_user
from npusim.products import product
from npusim.state import State, changing, fault_value, faults_of, load, locked

REBOOT_OWED = 2
FOREVER_SECONDS = 86400
_READY_SECONDS = 60  # how long the driver's installer waits for the chips
_ON_REBOOT = "Reboot needed for installation/upgrade to take effect!"
_NOW = "The new version takes effect immediately."
_OCCUPIED = (
    "The davinci nodes are occupied by some processes, please stop processes and install or uninstall again, "
    "details in : /var/log/ascend_seclog/ascend_install.log"
)


def run(given: package.Package, arguments: list[str]) -> int:
    """Do what the package's installer does with these arguments; returns the exit code."""
    call = Call(given, arguments)
    with locked("install.lock", wait=False) as got:
        try:
            return _run(call, alone=got)
        except RefusedError as refusal:
            call.say("ERROR", str(refusal))
            call.end("failed")
            return 1


def uninstall(kind: str, arguments: list[str]) -> int:
    """What the script that an installation leaves does: the same as the package with --uninstall."""
    nothing = package.Package(f"Ascend-{kind}-{disk.version(kind)}", kind, "", "", "", 0)
    return run(nothing, ["--uninstall", *(word for word in arguments if word != "--quiet")])


def _run(call: Call, *, alone: bool) -> int:
    if not call.arguments:
        raise RefusedError(
            "ERR_NO:0x0004;ERR_DES: Unrecognized parameters. Try './xxx.run --help' for more information."
        )
    call.begin()
    options = parse(call.package.kind, call.arguments)
    if options.mode == "check":
        package.say_good()
        return 0
    if options.mode == "version":
        call.say("INFO", f"{call.package.kind} version :{call.package.version}")
        return 0
    if not alone:
        raise RefusedError(
            "ERR_NO:0x0094;ERR_DES:There is already a process being executed,"
            "please do not execute multiple tasks at the same time"
        )
    state = load()
    if options.mode == "uninstall":
        return _uninstall(call, state, force=options.force)
    check_machine(call.package, state)
    base = disk.version(call.package.kind)
    if base:
        call.say("INFO", f"base version is {base}.")
    call.say("WARNING", "Do not power off or restart the system during the installation/upgrade")
    user, group = check_user(options)
    call.say("INFO", f"set username and usergroup, {user}:{group}")
    if call.package.kind == disk.FIRMWARE:
        return _firmware(call, state, options.mode, user, group)
    if base and not options.quiet and options.mode != "upgrade":
        call.say(
            "INFO",
            f"Driver package has been installed on the path {disk.HOME}, the version is {base}, and the version of"
            f" this package is {call.package.version},do you want to continue?  [y/n] ",
        )
        if not call.asks():
            call.say("INFO", "installation Stoped!")
            return 0
    return _driver(call, options, user, group)


def _driver(call: Call, options: Options, user: str, group: str) -> int:
    state = load()
    if options.mode in {"docker", "devel"}:
        raise RefusedError(f"simulated: --{options.mode} is for containers, and these nodes are none")
    installed = "upgraded" if options.mode == "upgrade" else "installed"
    owed = bool(options.force or faults_of(state, "reboot-owed"))
    if disk.version(disk.DRIVER):
        _refuse_if_held(call, state, force=options.force)
    with changing() as now:
        disk.remove_driver()
        if not owed:
            boot.unload_driver(now)
    _note_begin(options, user, group)
    call.say("INFO", "upgradePercentage:10%")
    _take_time(call, state)
    _build_modules(call, state)
    call.say("INFO", "upgradePercentage:90%")
    with changing() as now:
        disk.write_driver(call.package.version)
        now["packaged"] = {**now["packaged"], disk.DRIVER: call.package.version}
        if faults_of(now, "hccn-conf-lost"):
            boot.lose_hccn_conf()
        if not owed:
            boot.load_driver(now)
        disk.protect()
    call.say("INFO", "upgradePercentage:100%")
    if not owed and not _become_ready():
        call.say("WARNING", "There are some chips not ready, please check after reboot")
        owed = True
    call.say("INFO", f"Driver package {installed} successfully! {_ON_REBOOT if owed else _NOW} ")
    disk.note_install({**disk.install_info(), "Driver_Install_Status": "complete"})
    call.end("success")
    return REBOOT_OWED if owed else 0


def _note_begin(options: Options, user: str, group: str) -> None:
    """Record what is being installed; that it was, comes last."""
    record = {key: value for key, value in disk.install_info().items() if key != "Driver_Install_Status"}
    record |= {"UserName": user, "UserGroup": group}
    full = "full" if options.mode in {"upgrade", "debug"} else options.mode
    record |= {"Driver_Install_Type": full, "Driver_Install_Path_Param": disk.HOME}
    record |= {
        "Driver_Install_For_All": "yes" if options.for_all else "no",
        "Driver_Install_Mode": "debug" if options.mode == "debug" else "normal",
    }
    disk.note_install(record)


def _build_modules(call: Call, state: State) -> None:
    if not os.path.isdir(boot.kernel_headers()):  # noqa: PTH112
        call.say("WARNING", f"{boot.kernel_headers()} is not there")
        call.say("INFO", "Do you want to try build driver after input kernel absolute path? [y/n]")
        call.asks()
        raise RefusedError("Driver_ko_install failed, details in : /var/log/ascend_seclog/ascend_install.log")
    if fault_value(state, "install-fails") == disk.DRIVER:
        call.say("ERROR", "Driver_ko_install failed, details in : /var/log/ascend_seclog/ascend_install.log")
        raise RefusedError("Failed to install driver package, please retry after uninstall and reboot!")


def _firmware(call: Call, state: State, mode: str, user: str, group: str) -> int:
    if not state["driver"]:
        raise RefusedError("The davinci devices cannot be reached, please install the driver first")
    call.say("INFO", "upgradePercentage: 0%")
    _take_time(call, state)
    if fault_value(state, "install-fails") == disk.FIRMWARE:
        raise RefusedError("Firmware upgrade failed, details in : /var/log/ascend_seclog/ascend_install.log")
    with changing() as now:
        disk.write_firmware(call.package.version, now["driver"])
        disk.note_install(
            {"UserName": user, "UserGroup": group}
            | disk.install_info()
            | {"Firmware_Install_Type": "full", "Firmware_Install_Path_Param": disk.HOME}
        )
        now["flashed"] = call.package.version
        now["packaged"] = {**now["packaged"], disk.FIRMWARE: call.package.version}
        if faults_of(now, "hccn-conf-lost"):
            boot.lose_hccn_conf()
    count = len(product(state["product"]).chips)
    call.say("INFO", "upgradePercentage: 100%")
    call.say("INFO", f"The firmware of [{count}] chips are successfully upgraded.")
    installed = "upgraded" if mode == "upgrade" else "installed"
    call.say(
        "INFO",
        f"Firmware package {installed} successfully! Reboot now or after driver installation for the"
        " installation/upgrade to take effect.",
    )
    call.end("success")
    return REBOOT_OWED if faults_of(state, "reboot-owed") else 0


def _uninstall(call: Call, state: State, *, force: bool) -> int:
    kind = call.package.kind
    name = kind.capitalize()
    if not disk.install_info().get(f"{name}_Install_Path_Param"):
        raise RefusedError(
            f"ERR_NO:0x0080;ERR_DES:{name} package is not installed on this device, uninstall failed"
        )
    owed = bool(force or faults_of(state, "reboot-owed"))
    if kind == disk.DRIVER:
        _refuse_if_held(call, state, force=force)
    with changing() as now:
        now["packaged"] = {part: version for part, version in now["packaged"].items() if part != kind}
        if kind == disk.FIRMWARE:
            disk.remove_firmware()
        else:
            disk.remove_driver()
            if not owed:
                boot.unload_driver(now)
    kept = {
        key: value for key, value in disk.install_info().items() if not key.startswith(f"{name}_Install_")
    }
    disk.note_install(kept)
    effect = (
        "Reboot needed for uninstallation to take effect!"
        if owed
        else "Uninstallation takes effect immediately."
    )
    call.say("INFO", f"{name} package uninstalled successfully! {effect if kind == disk.DRIVER else ''}")
    call.end("success")
    return 0


def _refuse_if_held(call: Call, state: State, *, force: bool) -> None:
    if state["driver"] and not force and holders.scan():
        call.say("ERROR", _OCCUPIED)
        raise RefusedError(
            "If you want to install or uninstall the driver forcibly, add the force parameter."
            " For details, see [--help]."
        )


def _take_time(call: Call, state: State) -> None:
    if fault_value(state, "install-hangs") == call.package.kind:
        time.sleep(FOREVER_SECONDS)
    time.sleep(float(fault_value(state, "slow-install") or state["install_seconds"]))


def _become_ready() -> bool:
    until = time.monotonic() + float(os.environ.get("NPUSIM_READY_SECONDS", _READY_SECONDS))
    while not (ready := boot_status.all_ready(load())) and time.monotonic() < until:
        time.sleep(0.2)
    return ready
