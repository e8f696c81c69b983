"""hccn_tool's pings: over the NPU network, inside a super pod, and a 950's ub_ping.

The tool does not end the same way whenever packets were lost, and -hccs_ping ends well even when all
of them were: the figures decide.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from npuctl.hardware.hccn_lines import read_answer, refusal_of
from npuctl.hardware.hccn_records import Ping
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from npuctl.hardware.lines import Line

_HEAD = re.compile(r"device ([0-9]{1,4}) (?:PING6? (\S+)|dev\b.*\bEID \S+ to (\S+))")
_SUMMARY = re.compile(
    r"([0-9]{1,6}) packets transmitted, ([0-9]{1,6}) received, ([0-9]{1,3}\.[0-9]{2})% packets? loss"
)
_TIME = re.compile(
    r"recv seq[=: ][0-9]{1,6}\s*,\s*time\s*[=:]\s*([0-9]{1,9}\.[0-9]{1,9})(ms|us)"
    r"(?:, L1 plane check result = 0x[0-9a-fA-F]{1,8})?"
)
_UNREACHABLE = re.compile(r"Destination Host Unreachable seq[=:].*")
_TIMEOUT = re.compile(r"recv time out seq[=:].*")
# hicann/driver, .../hccn_product_ext/tool_cmd.c: said above the line of each packet
_RESULT = re.compile(r"This pkt (?:ping (success)!|ping not start to send!|send fail!|check recv msg fail!)")
_PACKET = re.compile(r"recv\b.*|Destination .*|This pkt .*")
_TAIL = re.compile(r"(?:max|min|average|TP95) time [0-9.]{1,20}(?:us|ms)")
_PERCENT, _ROUNDING = 100, 0.0051


def parse_ping(text: str) -> Ping:
    """Read `-ping -g`; "packet loss"."""
    return _parse(text, "packet loss")


def parse_hccs_ping(text: str) -> Ping:
    """Read `-hccs_ping -g`; it says "packets loss"."""
    return _parse(text, "packets loss")


def _parse(text: str, words: str) -> Ping:
    answer = read_answer(text, keep_refusals=True)
    summaries = [at for at, line in enumerate(answer.lines) if _SUMMARY.fullmatch(line.content)]
    if len(summaries) != 1:
        for line in answer.lines:
            if refusal := refusal_of(line):
                raise refusal
        raise UnreadableError("not the figures of one ping")
    for line in answer.lines[summaries[0] + 1 :]:
        if not _TAIL.fullmatch(line.content) and not refusal_of(line):
            raise line.error("an unknown line")
    last = answer.lines[summaries[0]]
    if not last.content.endswith(f"% {words}"):
        raise last.error("another kind of ping")
    heads = [found for line in answer.lines if (found := _HEAD.fullmatch(line.content))]
    if len(heads) > 1:
        raise UnreadableError("more than one ping")
    sent, received, loss = _figures(last)
    times, unreachable, timeouts = _packets(answer.lines[: summaries[0]])
    said = len(times) + unreachable + timeouts
    if len(times) > received or unreachable + timeouts > sent - received or said not in {0, sent}:
        raise last.error("the lines above say otherwise")
    unsaid = not said and received < sent
    return Ping(
        device=int(heads[0][1]) if heads else None,
        address=_address(heads[0][2] or heads[0][3], last) if heads else None,
        transmitted=sent,
        received=received,
        loss_percent=loss,
        times_ms=times,
        unreachable=None if unsaid else unreachable,
        timeouts=None if unsaid else timeouts,
    )


def _figures(line: Line) -> tuple[int, int, float]:
    found = _SUMMARY.fullmatch(line.content)
    if not found:
        raise line.error("not the figures of a ping")
    sent, received, loss = int(found[1]), int(found[2]), float(found[3])
    if received > sent or loss > _PERCENT:
        raise line.error("more than all")
    if sent and abs(_PERCENT * (sent - received) / sent - loss) > _ROUNDING:
        raise line.error("the percentage does not fit the figures")
    return sent, received, loss


def _packets(lines: tuple[Line, ...]) -> tuple[tuple[float, ...], int, int]:
    times: list[float] = []
    unreachable = timeouts = 0
    failed = False  # the next time is that of a packet which failed
    for line in lines:
        found, result = _TIME.fullmatch(line.content), _RESULT.fullmatch(line.content)
        if result:
            failed = not result[1]
            timeouts += failed
        elif found:
            if not failed:
                times.append(float(found[1]) / (1 if found[2] == "ms" else 1000))
            failed = False
        elif _UNREACHABLE.fullmatch(line.content):
            unreachable += 1
        elif _TIMEOUT.fullmatch(line.content):
            timeouts += 1
        elif _PACKET.fullmatch(line.content):
            raise line.error("cannot read what became of a packet")
    return tuple(times), unreachable, timeouts


def _address(text: str, line: Line) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise line.error(f"a ping of no address: {text!r}") from None
