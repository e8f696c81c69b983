"""A check's page on the screen, in the reader's language."""

from __future__ import annotations

import difflib
import os
import textwrap
from collections.abc import Sequence

from npuctl.errors import UsageError
from npuctl.plan.checks.catalogue import Entry, catalogue

_WIDTHS = {"en": 100, "zh": 48}  # a Chinese character takes two columns
_HEADS = {
    "en": ("what is seen", "why it matters", "what to do", "sources"),
    "zh": ("看到了什么", "为什么重要", "怎么处理", "依据"),
}


def reader_language() -> str:
    """The language of the locale (LC_ALL, LC_MESSAGES, LANG, in the order of POSIX): "zh", or "en" for any other."""
    words = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return "zh" if next((word for word in words if word), "").lower().startswith("zh") else "en"


def explained(identity: str) -> list[Entry]:
    """The check of that id; all of them where the id is empty.

    Raises:
        UsageError: there is no such check.
    """
    known = catalogue()
    if not identity:
        return list(known.values())
    if identity not in known:
        near = difflib.get_close_matches(identity, list(known), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "npuctl check --explain lists all"
        raise UsageError(f"there is no check {identity!r}", hint=hint)
    return [known[identity]]


def explanation_text(entries: Sequence[Entry], language: str, *, single: bool) -> str:
    """One check's page, or a line for each."""
    if single:
        return "\n".join(_page(entries[0], language))
    width = max(len(entry.id) for entry in entries)
    return "\n".join(f"{entry.id:<{width}}  {entry.pages[language].title}" for entry in entries)


def _page(entry: Entry, language: str) -> list[str]:
    page = entry.pages[language]
    what, why, mend, sources = _HEADS[language]
    lines = [f"{entry.id} ({entry.severity}): {page.title}"]
    for head, texts in ((what, [page.what]), (why, [page.why]), (mend, page.mend), (sources, entry.sources)):
        lines += ["", f"{head}:"] if texts else []
        for text in texts:
            lines += textwrap.wrap(text, _WIDTHS[language], initial_indent="  ", subsequent_indent="  ")
    return lines
