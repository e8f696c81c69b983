"""git's configuration files, as git-config(1) describes their syntax.

A key is what `git config --list` prints, as `url.https://mirror/.insteadof`: section and variable in lower case,
a subsection as it stands. Neither section nor variable can hold a dot, so the first and the last one part them.
Every value is a list, for a variable may stand several times; a variable without a value is None in it.

Values are added to the last section of their name, or to a new one at the end. A section goes with its last
line. Everything else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import JsonValue

from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.provision.formats._contract import Absent
from npuctl.plan.provision.formats._lines import ended, ended_like, newline_of

_SPACE = " \t\r"
_SECTION = re.compile(r"\[([A-Za-z0-9.-]+)(?:[ \t]+\"((?:[^\"\\\n]|\\[^\n])*)\")?\]")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_GOES_ON = re.compile(r"(?<!\\)(?:\\\\)*\\\r?\n\Z")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "\\": "\\", '"': '"'}


@dataclass(frozen=True, slots=True)
class _Entry:
    """One variable: text[start:end], its line's end included."""

    key: str
    value: str | None
    start: int
    end: int


@dataclass(slots=True)
class _Section:
    """`at` is where its header begins, `end` where its last variable or its header ends."""

    name: str
    at: int
    end: int
    entries: list[_Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _GitFile:
    empty: ClassVar[str] = ""

    def read(self, text: str) -> Mapping[str, JsonValue]:
        found: dict[str, list[JsonValue]] = {}
        for section in _sections(text):
            for entry in section.entries:
                found.setdefault(entry.key, []).append(entry.value)
        return dict(found)

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        fresh = text
        for key, value in values.items():
            wanted = [] if isinstance(value, Absent) else value if isinstance(value, list) else [value]
            fresh = _with(_closed(fresh), key, wanted)
        return ended_like(text, fresh) if fresh.strip() else ""


GIT_FILE = _GitFile()


def _closed(text: str) -> str:
    """The text with an end to its last line, and to a value that would go on in the next."""
    text = ended(text)
    return text + newline_of(text) if _GOES_ON.search(text) else text


def _with(text: str, key: str, wanted: Sequence[JsonValue]) -> str:
    """The text in which the variable has these values, in this order; lines that say the same stay."""
    rest = list(wanted)
    edits: list[tuple[_Entry, list[JsonValue] | None]] = []
    for entry in (entry for section in _sections(text) for entry in section.entries if entry.key == key):
        if entry.value in rest:
            at = rest.index(entry.value)
            edits.append((entry, rest[:at]))
            rest = rest[at + 1 :]
        else:
            edits.append((entry, None))
    variable = key.rpartition(".")[2]
    for entry, before in reversed(edits):
        if before is None:
            text = _without(text, entry)
        elif before:
            at = text.rfind("\n", 0, entry.start) + 1
            if text[at : entry.start].strip():
                head = text[: entry.start].rstrip(_SPACE) + newline_of(text)
                text = head + _lines(text, variable, before) + "\t" + text[entry.start :]
            else:
                text = text[:at] + _lines(text, variable, before) + text[at:]
    return _added(text, key, rest) if rest else text


def _without(text: str, entry: _Entry) -> str:
    line = text.rfind("\n", 0, entry.start) + 1
    if text[line : entry.start].strip():
        return text[: entry.start].rstrip(_SPACE) + newline_of(text) + text[entry.end :]
    text = text[:line] + text[entry.end :]
    before = text.rfind("\n", 0, max(line - 1, 0)) + 1
    nothing_follows = not text[line:] or text[line:].lstrip(_SPACE).startswith("[")
    is_header = any(before <= section.at < line for section in _sections(text))
    if nothing_follows and is_header and _SECTION.fullmatch(text[before:line].strip()):
        return text[:before] + text[line:]
    return text


def _added(text: str, key: str, values: Sequence[JsonValue]) -> str:
    section, _, variable = key.rpartition(".")
    newline, lines = newline_of(text), _lines(text, variable, values)
    same = [found for found in _sections(text) if found.name == section]
    if same:
        at = same[-1].end
        return text[:at] + ("" if text[at - 1] == "\n" else newline) + lines + text[at:]
    name, dot, subsection = section.partition(".")
    escaped = subsection.replace("\\", "\\\\").replace('"', '\\"')
    header = f'[{name} "{escaped}"]' if dot else f"[{name}]"
    return text + header + newline + lines


def _lines(text: str, variable: str, values: Sequence[JsonValue]) -> str:
    newline = newline_of(text)
    return "".join(
        f"\t{variable}{newline}" if value is None else f"\t{variable} = {_quoted(str(value))}{newline}"
        for value in values
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"' if value != value.strip() or set(value) & set("#;") or not value else escaped


def _sections(text: str) -> list[_Section]:
    """Everything that stands in the text.

    Raises:
        UnreadableError: git would refuse it.
    """
    found: list[_Section] = []
    at = 1 if text.startswith("\ufeff") else 0
    while at < len(text):
        character = text[at]
        if character in _SPACE or character == "\n":
            at += 1
        elif character in "#;":
            at = _line_end(text, at)
        elif character == "[":
            header = _SECTION.match(text, at)
            if header is None:
                raise _unreadable(text, at)
            at = header.end()
            end = _line_end(text, at)
            alone = not text[at:end].lstrip(_SPACE).startswith("[")
            found.append(_Section(_section_name(header), header.start(), end if alone else at))
        else:
            variable = _VARIABLE.match(text, at)
            if variable is None:
                raise _unreadable(text, at)
            if not found:
                # git takes a variable before the first section, though it means nothing to it.
                found.append(_Section("", at, at))
            entry = _entry(text, variable, found[-1].name)
            found[-1].entries.append(entry)
            found[-1].end = at = entry.end
    return found


def _section_name(header: re.Match[str]) -> str:
    if header[2] is None:
        return header[1].lower()
    return header[1].lower() + "." + re.sub(r"\\(.)", r"\1", header[2])


def _entry(text: str, variable: re.Match[str], section: str) -> _Entry:
    at = variable.end()
    while text[at : at + 1] in {" ", "\t"}:
        at += 1
    key = (f"{section}." if section else "") + variable[0].lower()
    if at >= len(text) or text[at] == "\n" or text.startswith("\r\n", at):
        return _Entry(key, None, variable.start(), _line_end(text, at))
    if text[at] != "=":
        raise _unreadable(text, at)
    value, end = _value(text, at + 1)
    return _Entry(key, value, variable.start(), end)


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins there, and where its line ends."""
    value, kept, quoted = "", 0, False
    while at < len(text) and (quoted or text[at] not in "\n#;"):
        character = text[at]
        at += 1
        if text.startswith("\r\n", at - 1):
            continue
        if character == "\\":
            escaped = re.compile(r"\r?\n|.|$").match(text, at)
            word = escaped[0] if escaped else ""
            at += len(word)
            if not word or word.endswith("\n"):
                continue
            if word not in _ESCAPES:
                raise _unreadable(text, at - 1)
            value += _ESCAPES[word]
        elif character == '"':
            quoted = not quoted
        elif character == "\n":
            raise _unreadable(text, at - 1)
        elif not quoted and character in _SPACE:
            value += character if value else ""
            continue
        else:
            value += character
        kept = len(value)
    if quoted:
        raise _unreadable(text, len(text) - 1)
    return value[:kept], _line_end(text, at)


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _unreadable(text: str, at: int) -> UnreadableError:
    number = text.count("\n", 0, at) + 1
    return UnreadableError("not what git reads", line=text.split("\n")[number - 1], line_number=number)
