r"""JSON files of one object, such as Docker's daemon.json.

A key is the names on the way to a value, joined by dots: `registry-mirrors`, `runtimes.ascend.path`. A dot in a
name is written `\.` and a backslash `\\`, so that no two values have one key; `json_key` writes them.

Values are changed where they stand: order, indentation and every other character stay, down to the entries of
a list that remain in it. An object that is made for a key goes again with its last value; so does one that was
empty before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import JsonValue

from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.provision.formats._contract import Absent
from npuctl.plan.provision.formats._lines import newline_of

_INDENT = "  "
_SPACE = re.compile(r"[ \t\r\n]*")


def json_key(*names: str) -> str:
    """The key of the value that these names lead to."""
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in names)


@dataclass(frozen=True, slots=True)
class _JsonFile:
    empty: ClassVar[str] = "{}\n"

    def read(self, text: str) -> Mapping[str, JsonValue]:
        if not text.strip():
            return {}
        return dict(_flat(_parsed(text).value, ()))

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        # What is set goes first: the way in which the file is written is read off what stands in it.
        for key, value in values.items():
            if not isinstance(value, Absent):
                text = _with(text if text.strip() else "{}\n", _names(key), value)
        for key, value in values.items():
            if isinstance(value, Absent):
                text = _without(text, _names(key))
        return "" if values and text.strip() and not _parsed(text).value else text


JSON_FILE = _JsonFile()


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and where it stands: text[start:end]; of a member of an object the name begins at `begin`."""

    value: Any
    begin: int
    start: int
    end: int
    inner: tuple[_Node, ...] = ()
    names: tuple[str, ...] = ()

    def member(self, name: str) -> _Node | None:
        return self.inner[self.names.index(name)] if name in self.names else None


def _flat(value: dict[str, Any], names: tuple[str, ...]) -> list[tuple[str, JsonValue]]:
    found: list[tuple[str, JsonValue]] = []
    for name, inner in value.items():
        found.append((json_key(*names, name), inner))
        if isinstance(inner, dict):
            found += _flat(inner, (*names, name))
    return found


def _names(key: str) -> list[str]:
    names, escaped = [""], False
    for character in key:
        if escaped or character not in "\\.":
            names[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            names.append("")
    return names


def _parsed(text: str) -> _Node:
    try:
        # The whole of it by Python's own reader first: what follows may take the syntax for granted.
        whole = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        raise UnreadableError(f"not JSON: {error}", line_number=line) from None
    if not isinstance(whole, dict):
        raise UnreadableError("not a JSON object")
    return _node(text, _after_space(text, 0))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UnreadableError(f"the key {twice[0]!r} stands twice")
    return dict(pairs)


def _constant(word: str) -> None:
    raise UnreadableError(f"{word} is not JSON")


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _node(text: str, start: int, begin: int | None = None) -> _Node:
    begin = start if begin is None else begin
    decoder = json.JSONDecoder()
    if text[start] not in "{[":
        value, end = decoder.raw_decode(text, start)
        return _Node(value, begin, start, end)
    inner: list[_Node] = []
    names: list[str] = []
    at = _after_space(text, start + 1)
    while text[at] not in "}]":
        first = at
        if text[start] == "{":
            name, at = decoder.raw_decode(text, at)
            names.append(name)
            at = _after_space(text, _after_space(text, at) + 1)
        inner.append(_node(text, at, first))
        at = _after_space(text, inner[-1].end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    values = [entry.value for entry in inner]
    value = dict(zip(names, values, strict=True)) if text[start] == "{" else values
    return _Node(value, begin, start, at + 1, tuple(inner), tuple(names))


@dataclass(frozen=True, slots=True)
class _Style:
    """How the file is written: what is put in is written the same way."""

    newline: str
    unit: str
    colon: str
    one_line: bool

    def dumped(self, value: JsonValue, line: str) -> str:
        """The value; `line` is the line end and the indentation of its entry, "" for all on one line."""
        if line:
            return json.dumps(value, ensure_ascii=False, indent=self.unit).replace("\n", line)
        comma = ", " if self.colon.endswith(" ") else ","
        return json.dumps(value, ensure_ascii=False, separators=(comma, self.colon))

    def entry(self, value: JsonValue, name: str | None, line: str) -> str:
        """The same with its name before it."""
        label = "" if name is None else json.dumps(name, ensure_ascii=False) + self.colon
        return label + self.dumped(value, line)


def _style(text: str) -> _Style:
    root = _parsed(text)
    unit = re.match(r"\s*\{\s*\n([ \t]+)", text)
    name = text[root.inner[0].begin : root.inner[0].start] if root.inner else ""
    colon = name[name.rindex('"') + 1 :] if name else ": "
    return _Style(
        newline=newline_of(text),
        unit=unit[1] if unit else _INDENT,
        colon=": " if "\n" in colon else colon,
        one_line=bool(root.inner) and "\n" not in text.strip(),
    )


def _with(text: str, names: Sequence[str], value: JsonValue) -> str:
    parent, found = _parsed(text), None
    for depth, name in enumerate(names):
        if not isinstance(parent.value, dict):
            place = json_key(*names[:depth])
            raise UnreadableError(f"{place} is not an object: {json_key(*names)} has no place in it")
        found = parent.member(name)
        if found is None:
            for inner in reversed(names[depth + 1 :]):
                value = {inner: value}
            return _inserted(text, parent, len(parent.inner), value, name)
        if depth < len(names) - 1:
            parent = found
    return text if found is None else _replaced(text, parent, found, value)


def _replaced(text: str, parent: _Node, old: _Node, value: JsonValue) -> str:
    if json.dumps(old.value) == json.dumps(value):
        return text
    if isinstance(old.value, list) and isinstance(value, list):
        keep = _staying(old.value, value)
        if keep:
            return _relisted(text, old, keep, value)
    line = _line(text, _between(text, parent))
    return text[: old.start] + _style(text).dumped(value, line) + text[old.end :]


def _staying(old: list[Any], new: list[Any]) -> list[int]:
    """Indices of the old entries that the new list has too, in the same order."""
    keep, at = [], 0
    for index, entry in enumerate(old):
        if entry in new[at:]:
            keep.append(index)
            at += new[at:].index(entry) + 1
    return keep


def _relisted(text: str, old: _Node, keep: list[int], value: list[Any]) -> str:
    for index in reversed(range(len(old.inner))):
        if index not in keep:
            text = _deleted(text, _node(text, old.start), index)
    kept = [old.value[index] for index in keep]
    for index, entry in enumerate(value):
        if kept[index : index + 1] != [entry]:
            text = _inserted(text, _node(text, old.start), index, entry)
            kept.insert(index, entry)
    return text


def _without(text: str, names: Sequence[str]) -> str:
    if not text.strip():
        return text
    path = [_parsed(text)]
    for name in names:
        found = path[-1].member(name)
        if found is None:
            return text
        path.append(found)
    depth = len(names)
    while depth > 1 and len(path[depth - 1].inner) == 1:
        depth -= 1
    parent = path[depth - 1]
    return _deleted(text, parent, parent.names.index(names[depth - 1]))


def _deleted(text: str, parent: _Node, index: int) -> str:
    inner = parent.inner
    if len(inner) == 1:
        return text[: parent.start + 1] + text[parent.end - 1 :]
    if index < len(inner) - 1:
        return text[: inner[index].begin] + text[inner[index + 1].begin :]
    return text[: inner[index - 1].end] + text[inner[index].end :]


def _inserted(text: str, parent: _Node, index: int, value: JsonValue, name: str | None = None) -> str:
    """The text with one more entry in an object or a list."""
    inner, style = parent.inner, _style(text)
    if not inner:
        outer = "" if style.one_line else style.newline + _indent_of_line(text, parent.start)
        line = outer + style.unit if outer else ""
        return (
            text[: parent.start + 1] + line + style.entry(value, name, line) + outer + text[parent.end - 1 :]
        )
    between = _between(text, parent)
    entry = style.entry(value, name, _line(text, between))
    if index < len(inner):
        return text[: inner[index].begin] + entry + "," + between + text[inner[index].begin :]
    return text[: inner[-1].end] + "," + between + entry + text[inner[-1].end :]


def _between(text: str, parent: _Node) -> str:
    """What stands between a comma and the next entry of an object or list that is not empty."""
    first = text[parent.start + 1 : parent.inner[0].begin]
    if len(parent.inner) > 1:
        gap = text[parent.inner[0].end : parent.inner[1].begin]
        return gap[gap.index(",") + 1 :]
    if "\n" in first:
        return first
    return " " if _style(text).colon.endswith(" ") else ""


def _line(text: str, between: str) -> str:
    """The line end and indentation of entries that stand on lines of their own, else ""."""
    return newline_of(text) + between[between.rindex("\n") + 1 :] if "\n" in between else ""


def _indent_of_line(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]
