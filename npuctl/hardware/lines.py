"""What the parsers of line-wise texts share: numbered lines, whole texts, addresses, bounded numbers."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

# How a person marks that a part was left out.
ELISIONS = frozenset({"...", "......", "…"})


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
    """The lines of a text that are not blank; only newlines and CRLF end a line."""
    for number, raw in enumerate(text.split("\n"), start=1):
        content = raw.strip()
        if content:
            yield Line(content, number, raw.rstrip("\r"))


def whole_lines(text: str) -> str:
    """The same text, or a refusal when its last line is not ended.

    Most ways of running a command drop the last newline, so no parser here asks for it. Where it
    was kept, this is the only way to notice that the end of a last number, such as an address,
    was lost.
    """
    if not text.endswith("\n"):
        raise UnreadableError("the last line is not ended: the text may be cut")
    return text


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
