"""One call of an installer: its flags, what it says and logs, what it asks."""

from __future__ import annotations

import os
import sys
import time

from npusim import disk
from npusim.package import Package
from npusim.state import rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple

_LOGS = "/var/log/ascend_seclog"
_MODES = {
    disk.DRIVER: ("full", "run", "devel", "docker", "debug", "upgrade"),
    disk.FIRMWARE: ("full", "upgrade"),
}
_ALONE = ("check", "version")
_SWITCHES = {
    disk.DRIVER: ("quiet", "force", "install-for-all", "norebuild", "vnpu_guest"),
    disk.FIRMWARE: ("quiet", "force"),
}
_VALUED = ("install-path", "install-username", "install-usergroup")
_UNCOUNTED = ("install-for-all", "norebuild")  # they may stand beside what stands alone
_LEVELS = {"Install": "SUGGESTION", "Upgrade": "MINOR", "Uninstall": "MAJOR"}


class RefusedError(Exception):
    """The installer does not go on; the text is its word for it."""


class Options(NamedTuple):
    """What an installer was asked for; `mode` is one of its modes, check, version or uninstall."""

    mode: str
    quiet: bool = False
    force: bool = False
    for_all: bool = False
    user: str = ""
    group: str = ""


class Call:
    """Says and logs under the package's name."""

    def __init__(self, package: Package, arguments: list[str]) -> None:
        self.package, self.arguments = package, arguments
        self._started = _now()

    def begin(self) -> None:
        """The first lines of every call."""
        self.say("INFO", f"Start time: {self._started}")
        self.say("INFO", f"LogFile: {_LOGS}/ascend_install.log")
        self.say("INFO", f"OperationLogFile: {_LOGS}/operation.log")

    def say(self, level: str, text: str) -> None:
        """A line for the caller and the log."""
        line = f"[{self.package.kind.capitalize()}] [{_now()}] [{level}]{text}"
        print(line, flush=True)
        self._log("ascend_install.log", line)

    def end(self, result: str) -> None:
        """The last line, and what the log of operations is told."""
        self.say("INFO", f"End time: {_now()}")
        words = " ".join(self.arguments)
        operation = (
            "Uninstall" if "--uninstall" in words else "Upgrade" if "--upgrade" in words else "Install"
        )
        self._log(
            "operation.log",
            f"{operation} {_LEVELS[operation]} root {self._started} 127.0.0.1 {self.package.name} {result}"
            f" cmdlist={words}.",
        )

    def asks(self) -> bool:
        """The caller's yes or no; a caller that is gone did not say yes."""
        for answer in sys.stdin:
            if answer.strip() in {"y", "n"}:
                return answer.strip() == "y"
            self.say("ERROR", "ERR_NO:0x0002;ERR_DES:input error, please input again!")
        raise RefusedError("ERR_NO:0x0002;ERR_DES:input error, nobody answers")

    @staticmethod
    def _log(name: str, line: str) -> None:
        folder = rooted(_LOGS)
        os.makedirs(folder, mode=0o750, exist_ok=True)  # noqa: PTH103
        path = os.path.join(folder, name)  # noqa: PTH118
        try:
            with open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
                file.write(f"{line}\n")
            os.chmod(path, 0o640)  # noqa: PTH101
        except PermissionError:  # not root: told by the check for it
            return


def parse(kind: str, arguments: list[str]) -> Options:
    """What the flags ask for.

    Raises:
        RefusedError: a flag is unknown, or they do not go together.
    """
    modes, alone, switches, values = [], [], [], {}
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or bool(equals) != (name in _VALUED):
            raise _unknown(argument)
        if equals:
            values[name] = value
        elif name in _MODES[kind]:
            modes.append(name)
        elif name in (*_ALONE, "uninstall"):
            alone.append(name)
        elif name in _SWITCHES[kind]:
            switches.append(name)
        else:
            raise _unknown(argument)
    _check_modes(modes, alone, switches, values)
    return Options(
        mode=(modes or alone)[0],
        quiet="quiet" in switches,
        force="force" in switches,
        for_all="install-for-all" in switches,
        user=values.get("install-username", ""),
        group=values.get("install-usergroup", ""),
    )


def _check_modes(modes: list[str], alone: list[str], switches: list[str], values: dict[str, str]) -> None:
    beside = [name for name in switches if name not in _UNCOUNTED]
    count = len(modes) + len(alone) + len(beside) + len(values)
    if "uninstall" in alone and count > 1 and (count, beside) != (2, ["force"]):
        raise _parameters("uninstall can't use with other parameters except force.")
    if set(alone) & set(_ALONE) and count > 1:
        raise _parameters("version/check can't use with other parameters.")
    if len([name for name in modes if name != "upgrade"]) > 1:
        raise _parameters("only support one type: full/debug/run/docker/devel, operation failed!")
    if not alone and len(modes) != 1:
        names = (
            "full/debug/run/upgrade/uninstall" if "force" in beside else "full/debug/run/docker/upgrade/devel"
        )
        raise _parameters(f"The parameter needs to be used with {names}.")
    _check_values(modes, switches, values)


def _check_values(modes: list[str], switches: list[str], values: dict[str, str]) -> None:
    if "install-for-all" in switches and modes in (["docker"], ["upgrade"]):
        raise _parameters("install-for-all param need used with full/debug/run/devel.")
    if "install-path" in values and modes == ["upgrade"]:
        raise _parameters("install-path param need used with full/debug/run/docker/devel.")
    if values.get("install-path", disk.HOME).rstrip("/") != disk.HOME:
        raise RefusedError(f"ERR_NO:0x0003;ERR_DES:simulated: the only install path here is {disk.HOME}")
    if modes == ["debug"] and "quiet" in switches:
        raise RefusedError("Risks exist when the install type is debug, quiet parameter is not supported!")
    named = {"install-username", "install-usergroup"} & set(values)
    if len(named) == 1:
        raise _parameters("Username and usergroup are not specified at the same time.")
    if named and modes == ["upgrade"]:
        raise _parameters(
            "install-username and install-usergroup params need used with full/debug/run/docker/devel."
        )


def _parameters(text: str) -> RefusedError:
    return RefusedError(f"ERR_NO:0x0004;ERR_DES:{text}")


def _unknown(argument: str) -> RefusedError:
    return RefusedError(
        f"ERR_NO:0x0004;ERR_DES: Unrecognized parameters: {argument}. Try './xxx.run --help' for more information."
    )


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
