"""What every check is about, in words: npuctl/data/checks/, read when somebody asks for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Page:
    """One check in one language: what it sees, why it matters, the steps that mend it."""

    title: str
    what: str
    why: str
    mend: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One check.

    Attributes:
        severity: "error", "warning" or "error or warning".
        waivable: False where a deploy cannot be meant while it fails.
        fault: the sandbox's fault that triggers it, "spec" for a mistake in the spec, or "none: REASON".
        pages: by language.
        sources: where what it knows is published.
    """

    id: str
    severity: str
    waivable: bool
    fault: str
    pages: dict[str, Page]
    sources: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """The entry as data."""
        return asdict(self)


@cache
def catalogue() -> dict[str, Entry]:
    """Every check by its id, sorted."""
    found: dict[str, Entry] = {}
    for file in files("npuctl").joinpath("data/checks").iterdir():
        if file.name.endswith(".yaml"):
            loaded: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            for name, data in loaded.items():
                if name in found:
                    raise ValueError(f"{file.name}: {name} stands in another file too")
                found[name] = _entry(name, data)
    return dict(sorted(found.items()))


def _entry(name: str, data: dict[str, Any]) -> Entry:
    return Entry(
        id=name,
        severity=data["severity"],
        waivable=data.get("waivable", True),
        fault=data["fault"],
        pages={language: _page(data[language]) for language in LANGUAGES},
        sources=tuple(data.get("sources", ())),
    )


def _page(data: dict[str, Any]) -> Page:
    mend = data["mend"]
    steps = tuple(mend) if isinstance(mend, list) else (mend,)
    if not all(isinstance(step, str) for step in steps):
        raise TypeError(f"{data['title']}: a step with ': ' in it wants quotes: {steps}")
    return Page(data["title"].strip(), data["what"].strip(), data["why"].strip(), steps)
