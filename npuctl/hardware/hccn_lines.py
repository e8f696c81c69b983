"""The lines of hccn_tool: marks taken off, refusals raised, keys and values told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.hardware.hccn_records import (
    HccnBusyError,
    HccnDeniedError,
    HccnError,
    HccnFailedError,
    HccnNoDeviceError,
    HccnNotSetError,
    HccnNotSupportedError,
    HccnSilentError,
)
from npuctl.hardware.lines import Line, numbered_lines
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Drivers mark some answers with "[devid 3]", older ones with "[device 3]".
_MARK = re.compile(r"\[dev(?:id|ice) ([0-9]{1,4})\]\s*(.*)")

# hicann/driver, .../hccn/ascend910B/hccn_tool/cmd.c and .../ascend950/hccn_tool/tool_cmd_err.c
_REFUSALS: tuple[tuple[type[HccnError], re.Pattern[str]], ...] = (
    (HccnBusyError, re.compile(r"(?:hccn_tool|I2c) is busy[.,] please try again\.?", re.IGNORECASE)),
    (HccnNoDeviceError, re.compile(r"The device is not exist!|Get invalid device id\.")),
    (HccnDeniedError, re.compile(r"(?:\S.*: )?permission denied\b.*", re.IGNORECASE)),
    (HccnNotSupportedError, re.compile(r"The command is not supported on this product\.")),
    (HccnNotSetError, re.compile(r"Get \w+ failed, because no \w+ was preset there!")),
    (HccnNotSetError, re.compile(r"No certificate found, please set certs firstly!")),
    (HccnFailedError, re.compile(r"Control link unreachable\.?|Optical module is not present\.?")),
    (
        HccnFailedError,
        re.compile(
            r"(?:Read file failed, |Open file failed, )?(?:Cmd|Command) execute failed!.*"
            r"|The cmd line execute timeout!|The total count of input parameters is wrong!"
            r"|Get invalid .*|Get unknown option!|Get .* failed!",
            re.IGNORECASE,
        ),
    ),
)
_SUCCESS = "Cmd executed successfully!"


@dataclass(frozen=True, slots=True)
class Answer:
    """The lines of one call, without marks and without the word that it went well.

    Attributes:
        device: of the marks; None without any.
    """

    lines: tuple[Line, ...]
    device: int | None


def refusal_of(line: Line) -> HccnError | None:
    """The error that this line stands for."""
    for kind, pattern in _REFUSALS:
        if pattern.fullmatch(line.content):
            return kind("hccn_tool refused", line=line.raw, line_number=line.number)
    return None


def read_answer(text: str, *, keep_refusals: bool = False) -> Answer:
    """Split a text into lines.

    Args:
        text: what one call printed, its errors included.
        keep_refusals: leave those lines in, for a query whose figures decide.

    Raises:
        HccnError: a line is a refusal, or there is none.
        UnreadableError: the lines are marked with more than one chip.
    """
    lines, devices = [], set()
    for line in numbered_lines(text):
        mark = _MARK.fullmatch(line.content)
        content = mark[2] if mark else line.content
        if mark:
            devices.add(int(mark[1]))
            if len(devices) > 1:
                raise line.error("answers of more than one chip")
        if content == _SUCCESS or not content:
            continue
        bare = Line(content, line.number, line.raw)
        refusal = None if keep_refusals else refusal_of(bare)
        if refusal:
            raise refusal
        lines.append(bare)
    if not lines:
        raise HccnSilentError("hccn_tool said nothing")
    return Answer(tuple(lines), devices.pop() if devices else None)


def values_of(text: str, keys: Mapping[str, str]) -> dict[str, Value]:
    """The values of an answer that is all keys and values.

    Lines above the first key are a driver's warnings; below it, every line has to be known.

    Args:
        text: the answer.
        keys: a name of ours, and the pattern of the tool's words up to the value.
    """
    patterns = {name: re.compile(rf"{words}\s*(.*)") for name, words in keys.items()}
    found: dict[str, Value] = {}
    for line in read_answer(text).lines:
        matches = ((name, pattern.fullmatch(line.content)) for name, pattern in patterns.items())
        name, match = next(((name, match) for name, match in matches if match), ("", None))
        if match is None:
            if found:
                raise line.error("an unknown line")
            continue
        if name in found:
            raise line.error("said twice: one answer at a time")
        found[name] = Value(match[1], line)
    for name in keys:
        if name not in found:
            raise UnreadableError(f"no {name.replace('_', ' ')} in the text")
    return found


@dataclass(frozen=True, slots=True)
class Value:
    """The text after a key."""

    text: str
    line: Line

    def match(self, pattern: str, what: str) -> re.Match[str]:
        """The whole value against a pattern."""
        found = re.fullmatch(pattern, self.text)
        if not found:
            raise self.line.error(f"cannot read {what} in {self.text!r}")
        return found

    def error(self, reason: str) -> UnreadableError:
        """The refusal of the line that the value stands in."""
        return self.line.error(reason)
