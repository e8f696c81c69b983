"""What the parsers of line-wise texts share: numbered lines, whole texts, addresses, bounded numbers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

# How a person marks that a part was left out.
ELISIONS = frozenset({"...", "......", "…"})

# No line of these tools and files is a quarter as long; in a long one the patterns here and elsewhere
# would take minutes.
LONGEST = 4096

# Colours, and what grep --color and a terminal's log add to them; not the moves of a cursor, which
# could put one number over another.
COLOUR = re.compile(r"\x1b(?:\[[0-9;]*[mK]|\(B)")
# "[root@host ~]# hccn_tool …", "(env) root@host:/data# ", a fence.
PROMPT = re.compile(
    r"""(?x)
    (?:\([^()]{1,60}\)\s*){0,3}
    (?: \[[^\[\]@]{1,60}@[^\[\]]{1,200}\] | [\w.-]{1,60}@[\w.-]{1,60}:[^\s\#$]{0,200} ) \s? [\#$%>] (?:\s.*)?
    | ```\w*"""
)
# "$ cat /etc/hccn.conf": above a text this is a call, or a comment, for no text here begins so.
_CALL = re.compile(r"(?:[$%>\#]|[~/]\S*[$\#])\s+\S.*")

# Ends of a last line that no cut can leave: words that are not the beginning of others, and units.
_HEALTH = "Success|Init|Receive timeout|Unreachable|Time exceeded|Fault|Thread error|Detect ip set|Unknown"
_WHOLE = re.compile(
    r"""(?x)
    link\ status\s*:\s* (?:UP|DOWN|PARTIAL\ LINK) | port\ [0-9]{1,3}\s*:\s* (?:UP|DOWN|PARTIAL\ UP)
    | net\ health\ status:\s* (?:"""
    + _HEALTH.replace(" ", r"\ ")
    + r""") | Link\ detected:\s* (?:yes|no) | Duplex:\s* (?:Full|Half)
    | (?:Speed|Bandwidth\ [TR]X):.* (?:Mb/s|MB/sec) | fec\ mode:.*\ FEC\ mode
    | [0-9]+\ packets\ transmitted,.*\ loss | Cmd\ executed\ successfully! | End\ of\ LLDPDU\ TLV
    | .*\sLINK\ (?:UP|DOWN) | .*\bthreshold\[[0-9]+\]days
    | (?:tls_enable|send_arp_status)_[0-9]{1,4}=[01] | Driver_Install_Status=complete
    | .*\(rev\ [0-9a-f]{2}\)"""
)
_NETMASK = re.compile(r"(?:(?:vnic )?netmask:\s*|netmask_[0-9]{1,4}=)([0-9.]{7,15})")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not blank.

    Attributes:
        content: without margins.
        number: counted from 1.
        raw: as it stood in the text.
    """

    content: str
    number: int
    raw: str

    def error(self, reason: str) -> UnreadableError:
        """The refusal of this line."""
        return UnreadableError(reason, line=self.raw, line_number=self.number)


def numbered_lines(text: str) -> Iterator[Line]:
    """The lines of a text that are not blank; only newlines and CRLF end a line.

    Colours, and the prompts and calls that a person pasted above and below the text, are left out.
    """
    lines = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if len(raw) > LONGEST:
            raise UnreadableError(f"a line of {len(raw)} characters", line=raw[:60], line_number=number)
        content = COLOUR.sub("", raw).strip()
        if content:
            lines.append(Line(content, number, raw.rstrip("\r")))
    first, end = 0, len(lines)
    while first < end and (PROMPT.fullmatch(lines[first].content) or _CALL.fullmatch(lines[first].content)):
        first += 1
    while end > first and PROMPT.fullmatch(lines[end - 1].content):
        end -= 1
    yield from lines[first:end]


def whole_lines(text: str) -> str:
    """The same text, or a refusal when its last line is not ended and may be cut.

    Most ways of running a command drop the last newline, so no parser here asks for it. Where it
    was kept, this is the only way to notice that the end of a last number, such as an address,
    was lost. A line that ends in a word or a unit which is no other's beginning is whole without.
    """
    last = text.rpartition("\n")[2][: LONGEST + 1]
    content = COLOUR.sub("", last).strip()
    if content and not PROMPT.fullmatch(content) and not _is_whole(content):
        reason = "the last line is not ended and may be cut: add the missing line end if the text is whole"
        raise UnreadableError(reason, line=last, line_number=text.count("\n") + 1)
    return text


def _is_whole(content: str) -> bool:
    mask = _NETMASK.fullmatch(content)
    if mask is None:
        return _WHOLE.fullmatch(content) is not None
    try:
        netmask(mask[1], Line(content, 0, content))
    except UnreadableError:
        return False
    return True


def ipv4(text: str, line: Line) -> str:
    """The same text, when it is an IPv4 address."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise line.error(f"not an IPv4 address: {text!r}") from None


def netmask(text: str, line: Line) -> str:
    """The same text, when it is an IPv4 netmask: ones, then zeros.

    No netmask is the beginning of another, so one that was cut is always noticed.
    """
    zeros = 0xFFFFFFFF ^ int(ipaddress.IPv4Address(ipv4(text, line)))
    if zeros & (zeros + 1):
        raise line.error(f"not a netmask: {text!r}")
    return text
