"""The faults that can be switched on: what each needs, and what a drill may break with it."""

from __future__ import annotations

from typing import NamedTuple

from npusim.chips import HEALTH_CODES

NET_HEALTH = (
    "Success",
    "Socket fail",
    "Receive timeout",
    "Unreachable",
    "Time exceeded",
    "Fault",
    "Init",
    "Thread error",
    "Detect ip set",
    "Unknown",
)
PACKAGES = ("driver", "firmware", "runtime")
_CODE_DIGITS = 8


class Fault(NamedTuple):
    """One kind of fault."""

    meaning: str
    of_chip: bool
    default: str | None = None  # the value when none is given; None: must be given
    values: tuple[str, ...] = ()  # the only ones; empty when any of the kind will do
    kind: str = "none"  # of the value: none, count, seconds, word, health, address or text
    ends_at_boot: bool = False  # a restart of the node mends it


FAULTS = {
    "chip-dropped": Fault(
        "the chip is gone from npu-smi; its device node stays; --value bus: it is gone from lspci too",
        of_chip=True,
        default="driver",
        values=("driver", "bus"),
        kind="word",
    ),
    "health": Fault(
        "the chip's health: OK, Warning, Alarm, Critical, UNKNOWN, or error codes of an Alarm",
        of_chip=True,
        default="Alarm",
        kind="health",
    ),
    "health-mcu": Fault(
        "as health, but only the chip asked by its number tells; table and card say OK",
        of_chip=True,
        default="Alarm",
        kind="health",
    ),
    "ecc": Fault("double-bit errors that the chip counted", of_chip=True, default="2", kind="count"),
    "hbm-leak": Fault(
        "MB in use that no process owns", of_chip=True, default="20000", kind="count", ends_at_boot=True
    ),
    "held": Fault("a foreign process holds the chip", of_chip=True, default="", ends_at_boot=True),
    "temperature": Fault("the chip's temperature in C", of_chip=True, default="105", kind="count"),
    "firmware": Fault(
        "the card of the chip runs another firmware", of_chip=True, default="7.7.0.6.236", kind="text"
    ),
    "compatibility": Fault(
        "what the card of the chip says of driver and firmware",
        of_chip=True,
        default="NOK",
        values=("OK", "NOK"),
        kind="word",
    ),
    "link-down": Fault("the port is down and no command brings it up", of_chip=True, default=""),
    "net-health": Fault(
        "what -net_health says", of_chip=True, default="Fault", values=NET_HEALTH, kind="text"
    ),
    "tls": Fault(
        "the TLS switch that runs",
        of_chip=True,
        default="1",
        values=("0", "1"),
        kind="word",
        ends_at_boot=True,
    ),
    "ip": Fault(
        "the address that runs is a stale one; hccn.conf keeps the right one",
        of_chip=True,
        default="",
        kind="address",
        ends_at_boot=True,
    ),
    "duplicate-ip": Fault(
        "the address, also in hccn.conf, is that of another chip", of_chip=True, default="", kind="address"
    ),
    "no-ip": Fault("the chip was never given an address", of_chip=True, default=""),
    "gateway": Fault(
        "the gateway that runs is another than in hccn.conf",
        of_chip=True,
        default="10.20.250.1",
        kind="address",
        ends_at_boot=True,
    ),
    "detect": Fault(
        "no detect address runs: net health is Init", of_chip=True, default="", ends_at_boot=True
    ),
    "npu-mtu": Fault(
        "the MTU of the port that runs", of_chip=True, default="4200", kind="count", ends_at_boot=True
    ),
    "hccn-conf": Fault("a line of hccn.conf is no setting", of_chip=False, default=""),
    "port-deaf": Fault("the port is up and no packet passes it", of_chip=True, default=""),
    "cut-pair": Fault(
        "no packet passes between the port and the one with the address --value",
        of_chip=True,
        default="",
        kind="address",
    ),
    "vnic-down": Fault("the port inside the super pod is down", of_chip=True, default=""),
    "npu-smi-hang": Fault(
        "npu-smi sleeps this many seconds", of_chip=False, default="60", kind="seconds", ends_at_boot=True
    ),
    "npu-smi-dead": Fault(
        "npu-smi cannot use the driver (-8005)", of_chip=False, default="", ends_at_boot=True
    ),
    "npu-smi-cut": Fault(
        "the table of npu-smi info ends early", of_chip=False, default="", ends_at_boot=True
    ),
    "npu-smi-fails": Fault(
        "npu-smi fails at one query; --value QUERY",
        of_chip=False,
        default="ecc",
        values=("board", "common", "ecc", "health", "memory", "usages"),
        kind="word",
        ends_at_boot=True,
    ),
    "hccn-busy": Fault("hccn_tool is always busy", of_chip=False, default="", ends_at_boot=True),
    "hccn-ignores": Fault(
        "hccn_tool says that it has set something, and has not", of_chip=True, default="", ends_at_boot=True
    ),
    "hccn-unsaved": Fault(
        "what hccn_tool sets is not written to hccn.conf", of_chip=False, default="", ends_at_boot=True
    ),
    "driver": Fault(
        "the version on disk is not the one that runs", of_chip=False, kind="text", ends_at_boot=True
    ),
    "install-broken": Fault(
        "the driver's installation was cut short: its record lacks the last line", of_chip=False, default=""
    ),
    "install-fails": Fault(
        "the installer of --value driver, firmware or runtime ends with 1 half-way",
        of_chip=False,
        default="driver",
        values=PACKAGES,
        kind="word",
    ),
    "install-hangs": Fault(
        "the installer of --value driver, firmware or runtime never comes to an end",
        of_chip=False,
        default="driver",
        values=PACKAGES,
        kind="word",
    ),
    "slow-install": Fault(
        "an installer takes this many seconds", of_chip=False, default="20", kind="seconds"
    ),
    "reboot-owed": Fault(
        "installers cannot reset the chips: they end with 2, and a reboot is owed", of_chip=False, default=""
    ),
    "hccn-conf-lost": Fault(
        "an installation of driver or firmware leaves hccn.conf empty", of_chip=False, default=""
    ),
    "no-kernel-headers": Fault(
        "the folder that a driver's installer compiles against is not there", of_chip=False, default=""
    ),
    "slow-boot": Fault(
        "the chips take this many seconds until their boot status is 16",
        of_chip=False,
        default="30",
        kind="seconds",
    ),
    "boot-status-stuck": Fault("the chip's boot status never becomes 16", of_chip=True, default=""),
}


def check_name(name: str) -> None:
    """Refuse what is no fault.

    Raises:
        ValueError: it names the faults there are.
    """
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")


def check_value(name: str, value: str | None) -> str:
    """The value to use.

    Raises:
        ValueError: no such fault, no value, or one that is not of this fault's kind.
    """
    check_name(name)
    fault = FAULTS[name]
    if value is None:
        if fault.default is None:
            raise ValueError(f"{name} needs --value")
        return fault.default
    if fault.kind == "none":
        raise ValueError(f"{name} takes no --value")
    if fault.values and value not in fault.values:
        raise ValueError(f"{name}: --value is one of {', '.join(fault.values)}")
    if fault.kind == "health" and not _is_health(value):
        raise ValueError(f"{name}: --value is one of {', '.join(HEALTH_CODES)}, or codes of 8 hex digits")
    if fault.kind == "count" and not (value.isdecimal() and len(value) < 7):  # noqa: PLR2004  MB or degrees
        raise ValueError(f"{name}: --value is a whole number")
    if fault.kind == "seconds" and not value.replace(".", "", 1).isdecimal():
        raise ValueError(f"{name}: --value is a number of seconds")
    if not value.strip() or "\n" in value:
        raise ValueError(f"{name}: --value is empty or more than a line")
    return value


def _is_health(value: str) -> bool:
    codes = value.replace(",", " ").split()
    return value in HEALTH_CODES or (
        bool(codes) and all(len(code) == _CODE_DIGITS and _is_hex(code) for code in codes)
    )


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in text)
