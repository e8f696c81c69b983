"""The lines of npu-smi's output as people hand it on: with colours, prompts and the call itself around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from npuctl.hardware.npu_smi_records import DriverUnusableError, NpuSmiParseError

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# "[root@host ~]# npu-smi info", "(env) root@host:/data# ", "$ npu-smi info -l", "npu-smi info -m", a fence.
_PROMPT = re.compile(
    r"""(?x)
    (?: (?:\([^()]{1,60}\)\s*){0,3} (?: \[[^\[\]@]{1,60}@[^\[\]]{1,200}\] | [\w.-]{1,60}@[\w.-]{1,60}:[^\s\#$]{0,200} )
        \s? [\#$%>] (?:\s.*)?
    | (?:[\#$%>]\s*)? (?:sudo\s+)? (?:/\S*/)? npu-smi \s+ info (?:\s.*)?
    | ```\w*
    )"""
)
# Printed below the table where /etc/ascend_install.info does not say "complete" (hicann/driver, npu-smi).
_WARNING = "[WARNING]"
# hicann/driver, npu-smi: the first in general, the second (-8020) where another container has the device.
_UNUSABLE = re.compile(r"dcmi (?:module initialize|model initialized) failed\b.* ret is (-[0-9]{1,9})")

# No line of npu-smi's is a quarter as long; in a long one the patterns here and elsewhere would take minutes.
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not empty.

    Attributes:
        content: without colours and without blanks around it.
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
        if len(line) > _LONGEST:
            raise NpuSmiParseError(f"a line of {len(line)} characters", line=line[:60], line_number=number)
        content = _COLOUR.sub("", line).strip()
        unusable = _UNUSABLE.search(content)
        if unusable:
            raise DriverUnusableError(int(unusable[1]), line=line, line_number=number)
        if content:
            yield Line(content, line, number, ended=number < len(parts))


def surrounds_output(line: Line) -> bool:
    """Whether this is a shell's prompt, the call, a fence or the tool's warning: what may stand around an answer."""
    return line.content.startswith(_WARNING) or _PROMPT.fullmatch(line.content) is not None
