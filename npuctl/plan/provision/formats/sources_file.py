"""apt's lists of sources, both kinds: one line a source (.list), and paragraphs of fields (.sources).

A key says what is fetched, as `deb bookworm main`, a second source of the same with ` (2)`; its value is the
address. Addresses can be changed, sources neither added nor taken away. Comments, and with them what is
switched off, are not among the keys. Syntax: sources.list(5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from npuctl.plan.provision.formats._contract import Absent
from npuctl.plan.provision.formats._lines import lines_of

_ONE_LINE = re.compile(r"\s*(deb|deb-src)[ \t]+(\[[^\]]*\][ \t]+)?(\S+)(?:[ \t]+(.*))?")
_LABEL_FIELDS = ("types", "suites", "components")


@dataclass(frozen=True, slots=True)
class _Address:
    """text[start:end]; `label` says what is fetched from it."""

    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _SourcesFile:
    empty: ClassVar[str] = ""

    addresses: Callable[[str], Iterator[_Address]]

    def read(self, text: str) -> Mapping[str, JsonValue]:
        return {key: text[address.start : address.end] for key, address in self._keyed(text).items()}

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        keyed = self._keyed(text)
        places = [(keyed[key], str(value)) for key, value in values.items() if key in keyed]
        for address, value in sorted(places, key=lambda place: -place[0].start):
            text = text[: address.start] + value + text[address.end :]
        return text

    def _keyed(self, text: str) -> dict[str, _Address]:
        found: dict[str, _Address] = {}
        for address in self.addresses(text):
            number, key = 1, address.label
            while key in found:
                number += 1
                key = f"{address.label} ({number})"
            found[key] = address
        return found


def _one_line(text: str) -> Iterator[_Address]:
    at = 0
    for line in lines_of(text):
        found = _ONE_LINE.match(line)
        if found:
            words = [found[1], *(found[2] or "").split(), *(found[4] or "").partition("#")[0].split()]
            yield _Address(" ".join(words), at + found.start(3), at + found.end(3))
        at += len(line)


def _paragraphs(text: str) -> Iterator[_Address]:
    fields: dict[str, list[tuple[str, int]]] = {}
    name, at = "", 0
    for line in [*lines_of(text), "\n"]:
        if not line.strip():
            yield from _of_paragraph(fields)
            fields, name = {}, ""
        elif not line.startswith("#"):
            value = 0
            if not line[0].isspace() and ":" in line:
                value = line.index(":") + 1
                name = line[: value - 1].strip().lower()
            words = re.finditer(r"\S+", line[value:])
            fields.setdefault(name, []).extend((word[0], at + value + word.start()) for word in words)
        at += len(line)


def _of_paragraph(fields: Mapping[str, list[tuple[str, int]]]) -> Iterator[_Address]:
    label = " ".join(word for name in _LABEL_FIELDS for word, _ in fields.get(name, []))
    for word, at in fields.get("uris", []):
        yield _Address(label, at, at + len(word))


APT_LIST = _SourcesFile(_one_line)
APT_SOURCES = _SourcesFile(_paragraphs)
