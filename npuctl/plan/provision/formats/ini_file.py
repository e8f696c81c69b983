"""Files of sections and options as Python's configparser reads them: pip.conf, and the .repo files of dnf.

A key is SECTION.OPTION, as `pip config` spells it (global.index-url). No program that reads such files has an
option with a dot in its name: the last dot parts the two, and an option with one is not among the keys.

The value of an option that goes on over several lines is a list of these lines; else it is a text. pip and
dnf take the words of either. Comments, blank lines, order and other options stay as they are; a section goes
when its last line does.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import JsonValue

from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.provision.formats._contract import Absent
from npuctl.plan.provision.formats._lines import ended, ended_like, lines_of, newline_of

_INDENT = "    "
_HEADER = re.compile(r"\[(.+)\]")
_LABEL = re.compile(r"\s*[^=:]*?(\s*[=:]([ \t]*))")


@dataclass(slots=True)
class _Option:
    """One option; its lines are lines[first:end], `entries` the texts of its value, by their line."""

    section: str
    name: str
    first: int
    end: int
    entries: dict[int, str] = field(default_factory=dict)

    @property
    def value(self) -> JsonValue:
        if list(self.entries) == [self.first] or not self.entries:
            return self.entries.get(self.first, "")
        return list(self.entries.values())


@dataclass(slots=True)
class _Scan:
    lines: list[str]
    headers: dict[str, int] = field(default_factory=dict)
    options: list[_Option] = field(default_factory=list)

    def end_of(self, section: str) -> int:
        """The line after the last one that says something in the section."""
        ends = [option.end for option in self.options if option.section == section]
        return max(ends, default=self.headers[section] + 1)

    @property
    def mark(self) -> tuple[str, str]:
        """What stands between name and value here, and the blanks at its end."""
        heads = (self.lines[option.first] for option in self.options if option.first in option.entries)
        found = next((label for label in map(_LABEL.match, heads) if label), None)
        return (found[1], found[2]) if found else (" = ", " ")


@dataclass(frozen=True, slots=True)
class _IniFile:
    """`name`: the name of an option as the program takes it."""

    empty: ClassVar[str] = ""
    name: Callable[[str], str]

    def read(self, text: str) -> Mapping[str, JsonValue]:
        return {
            f"{option.section}.{option.name}": option.value
            for option in self._scan(text).options
            if "." not in option.name
        }

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        fresh = text
        for key, value in values.items():
            section, _, name = key.rpartition(".")
            wanted = [] if isinstance(value, Absent) else _texts(value)
            fresh = self._with(ended(fresh), section, name, wanted)
        return ended_like(text, fresh) if fresh.strip() else ""

    def _with(self, text: str, section: str, name: str, wanted: list[str]) -> str:
        scan, newline = self._scan(text), newline_of(text)
        lines = scan.lines
        for option in scan.options:
            if (option.section, option.name) == (section, name):
                if wanted:
                    lines[option.first : option.end] = _rewritten(scan, option, wanted, newline)
                else:
                    del lines[option.first : option.end]
                    _drop_if_empty(lines, scan.headers[section])
                return "".join(lines)
        if not wanted:
            return text
        fresh = [
            f"{name}{scan.mark[0]}{wanted[0]}{newline}",
            *(f"{_INDENT}{text}{newline}" for text in wanted[1:]),
        ]
        if section not in scan.headers:
            return "".join([*lines, f"[{section}]{newline}", *fresh])
        at = scan.end_of(section)
        return "".join(lines[:at] + fresh + lines[at:])

    def _scan(self, text: str) -> _Scan:
        _refuse_unreadable(text, self.name)
        scan, section, indent = _Scan(lines_of(text)), "", 0
        last: _Option | None = None
        for number, line in enumerate(scan.lines):
            said = line.strip()
            if not said or said[0] in "#;":
                continue
            depth = len(line) - len(line.lstrip())
            if last is not None and depth > indent:
                last.entries[number] = said
                last.end = number + 1
                continue
            indent = depth
            header = _HEADER.match(said)
            if header is not None:
                section, last = header[1], None
                scan.headers.setdefault(section, number)
                continue
            at = min(said.index(mark) for mark in "=:" if mark in said)
            value = said[at + 1 :].strip()
            last = _Option(section, self.name(said[:at].strip()), number, number + 1)
            last.entries.update({number: value} if value else {})
            scan.options.append(last)
        return scan


def _refuse_unreadable(text: str, name: Callable[[str], str]) -> None:
    parser = configparser.RawConfigParser()
    parser.optionxform = name  # type: ignore[assignment,method-assign]
    if "\r" in text.replace("\r\n", ""):
        raise UnreadableError("a line ends with a carriage return alone")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise UnreadableError(str(error).splitlines()[0]) from None


def _texts(value: JsonValue) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)]


def _rewritten(scan: _Scan, option: _Option, wanted: Sequence[str], newline: str) -> list[str]:
    """The option's lines with these values; lines that say the same stay."""
    lines, rest = scan.lines, list(wanted)
    head = lines[option.first]
    if option.first in option.entries or not option.entries:
        if option.entries.get(option.first) != rest[0]:
            label = _LABEL.match(head)
            before = label[0] if label else ""
            head = f"{before if option.entries else before.rstrip() + scan.mark[1]}{rest[0]}{newline}"
        rest = rest[1:]
    further = [number for number in option.entries if number != option.first]
    indent = _indent(lines[further[0]]) if further else _indent(head) + _INDENT
    found: list[str] = []
    for number in range(option.first + 1, option.end):
        said = option.entries.get(number)
        if said is None:
            found.append(lines[number])
        elif said in rest:
            at = rest.index(said)
            found += [f"{indent}{text}{newline}" for text in rest[:at]]
            found.append(lines[number])
            rest = rest[at + 1 :]
    return [head, *found, *(f"{indent}{text}{newline}" for text in rest)]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _drop_if_empty(lines: list[str], header: int) -> None:
    following = lines[header + 1].strip() if header + 1 < len(lines) else "["
    if following.startswith("["):
        del lines[header]


def _pip_name(name: str) -> str:
    return name.lower().replace("_", "-")


# pip takes index_url and Index-Url for index-url (_normalize_name in pip's _internal/configuration.py).
PIP_CONF = _IniFile(_pip_name)
YUM_REPO = _IniFile(str)
