"""Where the operator's own machine gets Debian packages from; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SUITE = "bookworm"
_DEFAULT_ARCHIVE = "http://deb.debian.org/debian"
_ONE_LINE = re.compile(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)")


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Debian's archive, and its security archive ("" where the machine has none configured)."""

    archive: str
    security: str

    @property
    def sources_list(self) -> str:
        """The one-line sources of a node."""
        text = f"deb {self.archive} {SUITE} main\n"
        if self.security:
            text += f"deb {self.security} {SUITE}-security main\n"
        return text


def mirrors(one_line_files: Iterable[str], deb822_files: Iterable[str]) -> Mirrors:
    """Find the Debian mirrors in apt's source files, given as texts.

    A machine of another family (Ubuntu, say) has none: then it is Debian's own address.
    """
    entries = [entry for text in deb822_files for entry in _deb822(text)]
    entries += [entry for text in one_line_files for entry in _one_line(text)]
    archive = security = ""
    for uri, suite in entries:
        address = uri.rstrip("/")
        if not address.startswith(("http://", "https://")):
            continue
        if suite.endswith("-security") and "debian" in address:
            security = security or address
        elif address.endswith("/debian"):
            archive = archive or address
    return Mirrors(archive or _DEFAULT_ARCHIVE, security if archive else "")


def _one_line(text: str) -> list[tuple[str, str]]:
    found = (_ONE_LINE.match(line) for line in text.splitlines())
    return [(match["uri"], match["suite"]) for match in found if match]


def _deb822(text: str) -> list[tuple[str, str]]:
    entries = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        for uri in fields.get("uris", "").split():
            entries += [(uri, suite) for suite in fields.get("suites", "").split()]
    return entries


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.strip()
    return fields
