"""The installer in the package of the Ascend Docker Runtime.

Flags and words: Ascend/mind-cluster, component/ascend-docker-runtime, build/scripts/run_main.sh; what it does to
daemon.json: install/process/docker_process.go.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time

from npusim import package
from npusim.state import fault_value, load, rooted, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "ascend-docker-runtime"
HOME = "/usr/local/Ascend/Ascend-Docker-Runtime"
_CONFIG = "/etc/ascend-docker-runtime.d"
_DAEMON = "/etc/docker/daemon.json"
_LOG = "/var/log/ascend-docker-runtime/installer.log"
_PARTS = (
    NAME,
    "ascend-docker-hook",
    "ascend-docker-cli",
    "ascend-docker-destroy",
    "ascend-docker-plugin-install-helper",
)
# A container of this runtime is one of runc: the devices that the real one adds are those of the chips.
_RUNTIME = '#!/bin/sh\n# Simulated.\nexec runc "$@"\n'
_UNINSTALL = "#!/bin/sh\n# Simulated.\nexec /usr/local/sbin/npusim uninstall runtime\n"
_BASE_LIST = "/usr/local/Ascend/driver/lib64\n/usr/local/Ascend/driver/tools\n/usr/local/dcmi\n/usr/local/bin/npu-smi\n"
_ASKS_SINCE = 26  # the first release whose installer was seen to ask
_ACTIONS = ("--install", "--uninstall", "--upgrade")


def run(given: package.Package, arguments: list[str]) -> int:
    """Do what the package's installer does; returns the exit code."""
    if arguments == ["--check"]:
        package.say_good()
        return 0
    if arguments == ["--version"]:
        print(f"{NAME} version: {given.version}")
        return 0
    actions = [word for word in arguments if word in _ACTIONS]
    others = [word for word in arguments if word not in (*_ACTIONS, "--install-scene=docker")]
    if others or len(actions) != 1:
        _say("ERROR", f"failed, unsupported parameters: {' '.join(others or arguments)}")
        return 1
    if int(os.environ.get("NPUSIM_UID", os.geteuid())) != 0:
        _say("ERROR", "failed, please run with root permission")
        return 1
    if actions == ["--uninstall"]:
        return uninstall()
    return _install(given, upgrade=actions == ["--upgrade"])


def uninstall() -> int:
    """Take the runtime away, and out of daemon.json."""
    print(f"[INFO] uninstalling {NAME}")
    if not os.path.isdir(rooted(HOME)):  # noqa: PTH112
        _say("WARNING", "uninstall skipping, the specified install path does not exist")
        return 0
    config = _daemon()
    config.get("runtimes", {}).pop("ascend", None)
    if config.get("default-runtime") == "ascend":
        del config["default-runtime"]
    _write_daemon(config)
    for folder in (HOME, _CONFIG):
        shutil.rmtree(rooted(folder), ignore_errors=True)
    _say("INFO", f"{NAME} uninstall success")
    return 0


def _install(given: package.Package, *, upgrade: bool) -> int:
    doing = "upgrade" if upgrade else "install"
    if int(given.version.partition(".")[0]) >= _ASKS_SINCE and not _accepts():
        _say("INFO", "install cancelled, user declined EULA")
        return 0
    print(f"[INFO] {'upgrading' if upgrade else 'installing'} {NAME}")
    if given.arch != os.uname().machine:
        _say("ERROR", f"{doing} failed, run package and os not matched in arch")
        return 1
    if upgrade and not os.path.isdir(rooted(HOME)):  # noqa: PTH112
        _say("ERROR", "upgrade failed, the specified install path does not exist, stopping upgrading")
        return 1
    state = load()
    if fault_value(state, "install-hangs") == "runtime":
        time.sleep(86400)
    time.sleep(float(fault_value(state, "slow-install") or state["install_seconds"]) / 4)
    if fault_value(state, "install-fails") == "runtime":
        _say("ERROR", f"{doing} failed, {HOME} is invalid")
        return 1
    for part in _PARTS:
        write_file(rooted(f"{HOME}/{part}"), _RUNTIME, mode=0o550)
    write_file(rooted(f"{HOME}/script/uninstall.sh"), _UNINSTALL, mode=0o500)
    write_file(rooted(f"{_CONFIG}/base.list"), _BASE_LIST, mode=0o440)
    if not upgrade:
        config = _daemon()
        config.setdefault("runtimes", {}).setdefault("ascend", {"runtimeArgs": []})["path"] = f"{HOME}/{NAME}"
        config["default-runtime"] = "ascend"
        _write_daemon(config)
        _say("INFO", f"{_DAEMON} modify success")
    info = f"version=v{given.version}\narch={given.arch}\nos=linux\npath={HOME}\ninstall-scene=docker\n"
    write_file(rooted(f"{HOME}/ascend_docker_runtime_install.info"), info, mode=0o640)
    print(f"[INFO] {NAME} has been installed in: {HOME}")
    print(f"[INFO] The version of {NAME} is: {given.version}")
    print("[INFO] please reboot daemon and container engine to take effect")
    _say("INFO", f"{NAME} {doing} success")
    return 0


def _accepts() -> bool:
    question = "Do you accept the EULA to install Ascend-docker-runtime?[Y/N]"
    print(question, flush=True)
    for answer in sys.stdin:
        if answer.strip().lower() in {"y", "n"}:
            return answer.strip().lower() == "y"
        print(question, flush=True)
    return False


def _daemon() -> dict[str, Any]:
    try:
        with open(rooted(_DAEMON), encoding="utf-8") as file:  # noqa: PTH123
            config: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return config


def _write_daemon(config: object) -> None:
    write_file(rooted(_DAEMON), json.dumps(config, indent=8, sort_keys=True) + "\n", mode=0o600)


def _say(level: str, text: str) -> None:
    print(f"[{level}] {text}", flush=True)
    os.makedirs(os.path.dirname(rooted(_LOG)), mode=0o750, exist_ok=True)  # noqa: PTH103, PTH120
    with open(rooted(_LOG), "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"[{level}] [{time.strftime('%Y/%m/%d %H:%M:%S')}] [{NAME}] {text}\n")
