"""The lines of npu-smi's output as people hand it on: with colours, prompts and the call itself around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from npuctl.hardware.lines import COLOUR, ELISIONS, LONGEST, PROMPT
from npuctl.hardware.npu_smi_records import DriverUnusableError, NpuSmiParseError

# The marks of a quotation, and the time that `kubectl logs --timestamps` sets before each line.
_BEFORE = re.compile(
    r"(?:>\s?)+|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?\s"
)
# "$ npu-smi info -l", "npu-smi info -m"; with a host's name before it, it is one of PROMPT.
_CALL = re.compile(r"(?:[\#$%>]\s*)?(?:sudo\s+)?(?:/\S*/)?npu-smi\s+info(?:\s.*)?")
# Printed below the table where /etc/ascend_install.info does not say "complete" (hicann/driver, npu-smi).
_WARNING = "[WARNING]"
# hicann/driver, npu-smi: the first in general, the second (-8020) where another container has the device.
_UNUSABLE = re.compile(r"dcmi (?:module initialize|model initialized) failed\b.* ret is (-[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty.

    Attributes:
        content: without colours, marks of a quotation, a log's time and blanks around it.
        line: as it stood in the text.
        number: counted from 1.
        ended: a newline follows. Where none does, the text may have been cut inside this line.
    """

    content: str
    line: str
    number: int
    ended: bool


def lines_of(text: str) -> Iterator[Line]:
    """The lines that are not empty.

    Only a newline ends a line: whatever else str.splitlines() splits at could part a number in two.

    Raises:
        DriverUnusableError: npu-smi said so.
        NpuSmiParseError: a line that is longer than any of npu-smi's.
    """
    parts = text.removeprefix("\ufeff").split("\n")
    for number, line in enumerate(parts, start=1):
        if len(line) > LONGEST:
            raise NpuSmiParseError(f"a line of {len(line)} characters", line=line[:60], line_number=number)
        content = COLOUR.sub("", line).strip()
        before = _BEFORE.match(content)
        if before:
            content = content[before.end() :].strip()
        unusable = _UNUSABLE.search(content)
        if unusable:
            raise DriverUnusableError(int(unusable[1]), line=line, line_number=number)
        if content:
            yield Line(content, line, number, ended=number < len(parts))


def surrounds_output(line: Line) -> bool:
    """Whether this is a shell's prompt, the call, a fence or the tool's warning: what may stand around an answer."""
    return (
        line.content.startswith(_WARNING)
        or PROMPT.fullmatch(line.content) is not None
        or _CALL.fullmatch(line.content) is not None
    )


def is_table_line(line: Line) -> bool:
    """Whether this is a line of a table; "+ npu-smi info" is what a shell shows with `set -x`."""
    content = line.content
    return content[0] == "|" or (content[0] == "+" and content[1:2] != " ") or content in ELISIONS
