"""hccn_tool's answers about a chip's port: link, health, neighbour, counters."""

from __future__ import annotations

import re
from datetime import datetime
from typing import cast

from npuctl.hardware.hccn_lines import Value, read_answer, values_of
from npuctl.hardware.hccn_records import (
    Bandwidth,
    Duplex,
    EthStatus,
    LinkChange,
    LinkStat,
    LinkStatus,
    Lldp,
    NetHealth,
)
from npuctl.hardware.lines import ELISIONS, Line
from npuctl.hardware.unreadable import UnreadableError

# hicann/driver, .../hccn_tool/tool_ops.c; "Socket failed" is an older driver's "Socket fail".
_HEALTH_WORDS: dict[str, bool | None] = {
    "Success": True,
    "Init": None,
    **dict.fromkeys(
        (
            "Socket fail",
            "Socket failed",
            "Receive timeout",
            "Unreachable",
            "Time exceeded",
            "Fault",
            "Thread error",
            "Detect ip set",
            "Unknown",
        ),
        False,
    ),
}


def parse_link(text: str) -> LinkStatus:
    """Read `-link -g`; "PARTIAL LINK" is said by a 950 some of whose ports are up."""
    status: Value | None = None
    for line in read_answer(text).lines:
        found = re.fullmatch(r"link status\s*:\s*(.*)", line.content)
        if found and status is None:
            status = Value(found[1], line)
        elif status is not None and not re.fullmatch(
            r"port [0-9]{1,3}\s*:\s*(?:UP|DOWN|PARTIAL UP)", line.content
        ):
            raise line.error("an unknown line")
    if status is None:
        raise UnreadableError("no link status in the text")
    return cast("LinkStatus", status.match("UP|DOWN|PARTIAL LINK", "link status")[0])


def parse_net_health(text: str) -> NetHealth:
    """Read `-net_health -g`."""
    value = values_of(text, {"net_health": "net health status:"})["net_health"]
    word = value.match(r"[A-Za-z][A-Za-z ]{0,39}", "net health")[0]
    return NetHealth(word, _HEALTH_WORDS.get(word, False), word in _HEALTH_WORDS)


def parse_speed(text: str) -> int | None:
    """Read `-speed -g`: Mb/s, or None when it is unknown, as while the link is down."""
    return _speed(values_of(text, {"speed": "Speed:"})["speed"])


def parse_duplex(text: str) -> Duplex | None:
    """Read `-duplex -g`; None when it is unknown."""
    return _duplex(values_of(text, {"duplex": "Duplex:"})["duplex"])


def parse_fec(text: str) -> str:
    """Read `-fec -g`: the word before "FEC mode", such as "rs", "no" or "auto"."""
    value = values_of(text, {"fec_mode": "fec mode:"})["fec_mode"]
    return value.match(r"([A-Za-z][A-Za-z0-9-]{0,15}) FEC mode", "FEC mode")[1]


def parse_bandwidth(text: str) -> Bandwidth:
    """Read `-bandwidth -g`."""
    found = values_of(text, {"tx": "Bandwidth TX:", "rx": "Bandwidth RX:"})
    rates = {
        name: float(value.match(r"([0-9]{1,9}\.[0-9]{1,3}) MB/sec", "bandwidth")[1])
        for name, value in found.items()
    }
    return Bandwidth(rates["tx"], rates["rx"])


def parse_status(text: str) -> EthStatus:
    """Read `-status -g`, which is what ethtool prints."""
    interface = ""
    elided = False
    found: dict[str, Value] = {}
    for line in read_answer(text).lines:
        heading = re.fullmatch(r"Netdev status:\s*Settings for (\S{1,32}):", line.content)
        if heading:
            if interface:
                raise line.error("said twice: one answer at a time")
            interface = heading[1]
        elif interface:
            elided = elided or line.content in ELISIONS
            key, _, value = line.content.partition(":")
            if key in {"Speed", "Duplex", "Link detected"}:
                if key in found:
                    raise line.error("said twice: one answer at a time")
                found[key] = Value(value.strip(), line)
    if not interface:
        raise UnreadableError("no status of an interface in the text")
    if not found:
        raise UnreadableError("neither speed nor link in the text")
    link = found.get("Link detected")
    return EthStatus(
        interface=interface,
        speed_mbps=_speed(found["Speed"]) if "Speed" in found else None,
        duplex=_duplex(found["Duplex"]) if "Duplex" in found else None,
        link_detected=None if link is None else link.match("yes|no", "link")[0] == "yes",
        complete=link is not None and not elided,
    )


def _speed(value: Value) -> int | None:
    found = value.match(r"([0-9]{1,7}) ?Mb/s|Unknown!(?: \(-1\))?", "speed")
    return int(found[1]) if found[1] else None


def _duplex(value: Value) -> Duplex | None:
    word = value.match(r"(Full|Half)|Unknown!(?: \(255\))?", "duplex")[1]
    return cast("Duplex | None", word)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = (
    rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ({'|'.join(_MONTHS)}) {{1,2}}([0-9]{{1,2}}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) ([0-9]{4})"
)
_LINK_CHANGE = re.compile(rf"({_TIME})\s+LINK (?P<state>UP|DOWN)")
_COUNT = r"[0-9]{1,9}"


def parse_link_stat(text: str) -> LinkStat:
    """Read `-link_stat -g`."""
    answer = read_answer(text)
    heads: dict[str, Value] = {}
    changes: list[LinkChange] = []
    for line in answer.lines:
        head = re.fullmatch(
            r"(current time|link (?:up|down) count|link change records)\s*:\s*(.*)", line.content
        )
        change = _LINK_CHANGE.fullmatch(line.content)
        if head:
            if head[1] in heads or "link change records" in heads:
                raise line.error("said twice: one answer at a time")
            heads[head[1]] = Value(head[2], line)
        elif change and heads.get("link change records"):
            changes.append(LinkChange(_time(Value(change[1], line)), change["state"] == "UP"))
        elif heads:
            raise line.error("an unknown line")
    missing = [key for key in ("current time", "link up count", "link change records") if key not in heads]
    if missing:
        raise UnreadableError(f"no {missing[0]} in the text")
    heads["link change records"].match("|NA", "records")
    downs = heads.get("link down count")
    return LinkStat(
        device=answer.device,
        now=_time(heads["current time"]),
        link_ups=int(heads["link up count"].match(_COUNT, "count")[0]),
        link_downs=None if downs is None else int(downs.match(_COUNT, "count")[0]),
        changes=tuple(changes),
    )


def _time(value: Value) -> datetime:
    found = value.match(_TIME, "time")
    month = _MONTHS.index(found[1]) + 1
    day, hour, minute, second, year = (int(part) for part in found.groups()[1:])
    try:
        # The chip's clock says no zone. Its weekday is not compared: samples exist with a wrong one.
        return datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
    except ValueError:
        raise value.error("no such time") from None


_TLV = re.compile(r"[A-Z][A-Za-z0-9 ()/.-]{0,60} TLV")
_TIME_TO_LIVE = "Time to Live TLV"
_END_OF_LLDP = "End of LLDPDU TLV"
_IFNAME = re.compile(r"Ifname:\s*(\S.*)")


def parse_lldp(text: str) -> Lldp:
    """Read `-lldp -g`, or the one line of it that `grep Ifname` leaves."""
    lines = read_answer(text).lines
    interface: str | None = None
    system_name: str | None = None
    section = ""
    after = 0  # lines below the port's: without one, the port's name may be cut
    for line, above in zip(lines, (None, *lines), strict=False):
        found = _IFNAME.fullmatch(line.content)
        if _TLV.fullmatch(line.content):
            if above is not None and above.content == _TIME_TO_LIVE:
                raise line.error("a line out of its place")
            section = line.content
            after += interface is not None
        elif found and section in {"", "Port ID TLV"}:
            if interface is not None:
                raise line.error("said twice: one answer at a time")
            interface = found[1]
        elif section == "System Name TLV" and system_name is None:
            system_name = line.content
        elif not section and interface is not None:
            raise line.error("an unknown line")
    if interface is None:
        raise UnreadableError("no port of a neighbour in the text")
    if section and not after:
        raise UnreadableError("the text ends at the neighbour's port")
    complete = lines[-1].content == _END_OF_LLDP and not any(line.content in ELISIONS for line in lines)
    return Lldp(interface, system_name, complete)


def parse_lldp_interfaces(text: str) -> tuple[str, ...]:
    """Read what `grep Ifname` leaves of `-lldp -g` of several chips, in their order."""
    interfaces = []
    for line in read_answer(text).lines:
        found = _IFNAME.fullmatch(line.content)
        if not found:
            raise line.error("expected the port of a neighbour")
        interfaces.append(found[1])
    return tuple(interfaces)


def parse_stat(text: str) -> dict[str, int]:
    """Read `-stat -g`: the packet counters by the tool's own names."""
    lines = read_answer(text).lines
    start = next((at for at, line in enumerate(lines) if line.content == "packet statistics:"), None)
    if start is None:
        raise UnreadableError("no packet statistics in the text")
    return _counters(lines[start + 1 :])


def parse_hw_stats(text: str) -> dict[str, int]:
    """Read `-hw_stats -g`: the RDMA counters by the tool's own names."""
    lines = read_answer(text).lines
    start = next((at for at, line in enumerate(lines) if _COUNTER.fullmatch(line.content)), len(lines))
    counters = _counters(lines[start:])
    if not any(name.startswith("qp_") for name in counters):
        raise UnreadableError("no RDMA counter in the text")
    return counters


_LARGEST_COUNT = 2**64 - 1
_COUNTER = re.compile(r"([A-Za-z][A-Za-z0-9_]{1,63}):\s*([0-9]{1,20})")


def _counters(lines: tuple[Line, ...]) -> dict[str, int]:
    counters: dict[str, int] = {}
    for line in lines:
        found = _COUNTER.fullmatch(line.content)
        if not found or int(found[2]) > _LARGEST_COUNT:
            raise line.error("not a counter")
        if found[1] in counters:
            raise line.error("said twice: one answer at a time")
        counters[found[1]] = int(found[2])
    if not counters:
        raise UnreadableError("no counter in the text")
    return counters
