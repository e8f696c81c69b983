"""Parsers of `hccn_tool -i N -… -g`: text in, records out, nothing else.

hccn_tool has no machine-readable output either. Each query has its own lay-out, so each has its own
parser; all of them share these rules:

- one call's text at a time; `split_collected` takes apart a file of several calls that shows the
  command above each answer;
- margins, tabs, CRLF, the marks "[devid 3]" and "[device 3]", a driver's warnings above the answer
  and "Cmd executed successfully!" say nothing;
- the tool's refusals are raised as the HccnError that says which one;
- a value is matched whole, and a text that lacks one of the answer's lines is refused. What no parser
  can see is that the very last number was cut and the newline lost with it: `whole_lines`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.hardware.hccn_lines import read_answer
from npuctl.hardware.hccn_optical import parse_optical
from npuctl.hardware.hccn_ping import parse_hccs_ping, parse_ping
from npuctl.hardware.hccn_port import (
    parse_bandwidth,
    parse_duplex,
    parse_fec,
    parse_hw_stats,
    parse_link,
    parse_link_stat,
    parse_lldp,
    parse_lldp_interfaces,
    parse_net_health,
    parse_speed,
    parse_stat,
    parse_status,
)
from npuctl.hardware.hccn_records import (
    Bandwidth,
    Certificate,
    EthStatus,
    Gateway,
    HccnBusyError,
    HccnDeniedError,
    HccnError,
    HccnFailedError,
    HccnNoDeviceError,
    HccnNotSetError,
    HccnNotSupportedError,
    HccnSilentError,
    IpConfig,
    LinkChange,
    LinkStat,
    Lldp,
    NetHealth,
    Optical,
    OpticalLane,
    OpticalLimits,
    Ping,
    Route,
    Tls,
    Vnic,
)
from npuctl.hardware.hccn_settings import (
    parse_gateway,
    parse_ip,
    parse_mac,
    parse_mtu,
    parse_netdetect,
    parse_route,
    parse_tls,
    parse_vnic,
)
from npuctl.hardware.lines import LONGEST, PROMPT, whole_lines
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "PARSERS",
    "Bandwidth",
    "Certificate",
    "CollectedAnswer",
    "EthStatus",
    "Gateway",
    "HccnBusyError",
    "HccnDeniedError",
    "HccnError",
    "HccnFailedError",
    "HccnNoDeviceError",
    "HccnNotSetError",
    "HccnNotSupportedError",
    "HccnSilentError",
    "IpConfig",
    "LinkChange",
    "LinkStat",
    "Lldp",
    "NetHealth",
    "Optical",
    "OpticalLane",
    "OpticalLimits",
    "Ping",
    "Route",
    "Tls",
    "Vnic",
    "detect_query",
    "is_collected",
    "parse_answer",
    "parse_bandwidth",
    "parse_duplex",
    "parse_fec",
    "parse_gateway",
    "parse_hccs_ping",
    "parse_hw_stats",
    "parse_ip",
    "parse_link",
    "parse_link_stat",
    "parse_lldp",
    "parse_lldp_interfaces",
    "parse_mac",
    "parse_mtu",
    "parse_net_health",
    "parse_netdetect",
    "parse_optical",
    "parse_ping",
    "parse_route",
    "parse_speed",
    "parse_stat",
    "parse_status",
    "parse_tls",
    "parse_vnic",
    "split_collected",
    "whole_lines",
]

# By the tool's own names of the queries; "lldp_interfaces" is `-lldp -g | grep Ifname` of several chips.
PARSERS: dict[str, Callable[[str], object]] = {
    "link": parse_link,
    "net_health": parse_net_health,
    "ip": parse_ip,
    "gateway": parse_gateway,
    "netdetect": parse_netdetect,
    "tls": parse_tls,
    "optical": parse_optical,
    "link_stat": parse_link_stat,
    "lldp": parse_lldp,
    "lldp_interfaces": parse_lldp_interfaces,
    "stat": parse_stat,
    "hw_stats": parse_hw_stats,
    "ping": parse_ping,
    "hccs_ping": parse_hccs_ping,
    "vnic": parse_vnic,
    "speed": parse_speed,
    "duplex": parse_duplex,
    "fec": parse_fec,
    "status": parse_status,
    "route": parse_route,
    "mac": parse_mac,
    "bandwidth": parse_bandwidth,
    "mtu": parse_mtu,
}

# How the first telling line of each answer begins. Those whose words another answer also has come last.
_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (query, re.compile(pattern))
    for query, pattern in (
        ("vnic", r"vnic (?:link status|ipaddr|netmask):"),
        ("link_stat", r"link (?:change records|(?:up|down) count)\s*:"),
        ("link", r"link status\s*:"),
        ("net_health", r"net health status:"),
        ("ip", r"ipaddr:"),
        ("gateway", r"default gateway:"),
        ("netdetect", r"netdetect addr"),
        ("tls", r"(?:dev_id:|device )[0-9]+, tls switch\["),
        ("optical", r"optical info:"),
        ("lldp", r"Port ID TLV|Chassis ID TLV|Ifname:"),
        ("stat", r"packet statistics:"),
        ("hw_stats", r"qp_\w+:"),
        ("hccs_ping", r"[0-9]+ packets transmitted, .* packets loss"),
        ("ping", r"[0-9]+ packets transmitted, .* packet loss"),
        ("status", r"Netdev status:"),
        ("fec", r"fec mode:"),
        ("route", r"Routing table:|Destination\s+Gateway\s+Genmask"),
        ("mac", r"mac addr"),
        ("bandwidth", r"Bandwidth [TR]X:"),
        ("mtu", r"mtu:"),
        ("speed", r"Speed:"),
        ("duplex", r"Duplex:"),
    )
)
# An ethtool text also says speed and duplex, as -speed and -duplex do.
_INSIDE = {"status": {"speed", "duplex"}}


def detect_query(text: str) -> str:
    """Which query a text answers: a key of PARSERS.

    Raises:
        HccnError: no answer to see, for the tool refused.
        UnreadableError: none that is known, or more than one.
    """
    lines = [line.content for line in read_answer(text, keep_refusals=True).lines]
    found = {query for query, sign in _SIGNS if any(sign.match(line) for line in lines)}
    for outer, inner in _INSIDE.items():
        if outer in found:
            found -= inner
    if not found:
        read_answer(text)  # raises the refusal, when it is one
        raise UnreadableError("no answer of hccn_tool that is known")
    if len(found) > 1:
        raise UnreadableError(f"answers to several queries: {', '.join(sorted(found))}")
    query = found.pop()
    if query == "lldp" and len(lines) > 1 and all(line.startswith("Ifname:") for line in lines):
        return "lldp_interfaces"
    return query


def parse_answer(text: str) -> tuple[str, object]:
    """The query that a text answers, and what its parser makes of it."""
    query = detect_query(text)
    return query, PARSERS[query](text)


@dataclass(frozen=True, slots=True)
class CollectedAnswer:
    """One call in a collected file.

    Attributes:
        phy_id: the chip that was asked.
        query: without its dash, such as "ip"; not every query is one of PARSERS.
        text: the answer.
    """

    phy_id: int
    query: str
    text: str


_COMMAND = re.compile(
    r".*?\bhccn_tool\s+(?:-i\s+([0-9]{1,4})\s+-([a-z_0-9]+)\b.*\s-g\b.*"
    r"|-g\s+-([a-z_0-9]+)\b.*?\s-i\s+([0-9]{1,4})(?:\s.*)?)"  # a 950's has the words the other way round
)
_OTHER_COMMAND = re.compile(r"/\S+/\S+(?: .*)?")  # no answer has a line that begins with a path


def is_collected(text: str) -> bool:
    """Whether the text shows a call of hccn_tool, with the chip's number, in a line of its own."""
    return any(_command(line) for line in text.split("\n"))


def _command(line: str) -> re.Match[str] | None:
    return _COMMAND.fullmatch(line.rstrip()) if len(line) <= LONGEST else None


def split_collected(text: str) -> tuple[CollectedAnswer, ...]:
    """Take apart a file with a command line above each answer, as the vendor's collectors write them.

    An answer ends at the next command line, whatever that command is; answers of other tools are
    passed over.
    """
    answers: list[tuple[int, str, list[str]]] = []
    inside = False
    for line in text.split("\n"):
        command = _command(line)
        if command:
            answers.append((int(command[1] or command[4]), command[2] or command[3], []))
            inside = True
        elif len(line) <= LONGEST and any(one.fullmatch(line.strip()) for one in (_OTHER_COMMAND, PROMPT)):
            inside = False
        elif inside:
            answers[-1][2].append(line)
    if not answers:
        raise UnreadableError("no command line of hccn_tool in the text")
    return tuple(CollectedAnswer(chip, query, "\n".join(lines)) for chip, query, lines in answers)
