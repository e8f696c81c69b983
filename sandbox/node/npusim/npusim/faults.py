"""The faults that can be switched on: what each needs, and what a drill may break with it."""

from __future__ import annotations

from typing import NamedTuple

from npusim.chips import HEALTH_REPORTS

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


class Fault(NamedTuple):
    """One kind of fault."""

    meaning: str
    of_chip: bool
    default: str | None = None  # the value when none is given; None: must be given
    values: tuple[str, ...] = ()  # the only ones; empty when any of the kind will do
    kind: str = "none"  # of the value: none, count, seconds, word, address or text


FAULTS = {
    "chip-dropped": Fault("the chip is gone from npu-smi; its device node stays", of_chip=True, default=""),
    "health": Fault(
        "the chip's health word, with an error code",
        of_chip=True,
        default="Alarm",
        values=tuple(HEALTH_REPORTS),
        kind="word",
    ),
    "hbm-leak": Fault("MB in use that no process owns", of_chip=True, default="20000", kind="count"),
    "temperature": Fault("the chip's temperature in C", of_chip=True, default="105", kind="count"),
    "link-down": Fault("the port is down and no command brings it up", of_chip=True, default=""),
    "net-health": Fault(
        "what -net_health says", of_chip=True, default="Fault", values=NET_HEALTH, kind="text"
    ),
    "tls": Fault("the TLS switch that runs", of_chip=True, default="1", values=("0", "1"), kind="word"),
    "ip": Fault("the address that runs; hccn.conf keeps the old one", of_chip=True, kind="address"),
    "npu-smi-hang": Fault("npu-smi sleeps this many seconds", of_chip=False, default="60", kind="seconds"),
    "npu-smi-dead": Fault("npu-smi cannot use the driver (-8005)", of_chip=False, default=""),
    "hccn-busy": Fault("hccn_tool is always busy", of_chip=False, default=""),
    "driver": Fault(
        "the version on disk is not the one that runs, until the next boot", of_chip=False, kind="text"
    ),
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
    if fault.kind == "count" and not (value.isdecimal() and len(value) < 7):  # noqa: PLR2004  MB or degrees
        raise ValueError(f"{name}: --value is a whole number")
    if fault.kind == "seconds" and not value.replace(".", "", 1).isdecimal():
        raise ValueError(f"{name}: --value is a number of seconds")
    if not value.strip() or "\n" in value:
        raise ValueError(f"{name}: --value is empty or more than a line")
    return value
