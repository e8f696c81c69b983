"""The pages of the checks: an index and a page an id, in both languages, from npuctl/data/checks/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from npuctl.plan.checks.catalogue import LANGUAGES, Entry, catalogue

_NOTE = (
    "<!-- Written by tools/generate_docs.py from npuctl/data/checks: change that, then run `make docs`. -->"
)
_WORDS: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_suffix(".json").read_text(encoding="utf-8")
)


def check_pages() -> Iterator[tuple[str, str]]:
    """Name below docs/reference and text of the index and of every check's page."""
    for language in LANGUAGES:
        suffix = ".md" if language == "en" else ".zh.md"
        yield f"checks{suffix}", _index(language)
        for entry in catalogue().values():
            yield f"checks/{entry.id}{suffix}", _page(language, entry)


def _index(language: str) -> str:
    words, suffix = _WORDS[language], ".md" if language == "en" else ".zh.md"
    rows = [
        f"| [`{entry.id}`](checks/{entry.id}{suffix}) | {entry.severity} | {entry.pages[language].title} |"
        for entry in catalogue().values()
    ]
    head = [
        _NOTE,
        "",
        f"# {words['checks']}",
        "",
        _other(language, "checks"),
        "",
        words["introduction"],
        "",
    ]
    table = [f"| {words['heads']} |", "| --- | --- | --- |", *rows]
    return "\n".join([*head, *table]) + "\n"


def _page(language: str, entry: Entry) -> str:
    words, page = _WORDS[language], entry.pages[language]
    steps = [f"{number}. {step.strip()}" for number, step in enumerate(page.mend, start=1)]
    lines = [_NOTE, "", f"# {entry.id}", "", _other(language, entry.id), "", f"**{page.title}**", ""]
    lines += [f"{words['severity']}: {words[entry.severity]}", ""]
    for key, text in (("what", page.what), ("why", page.why)):
        lines += [f"## {words[key]}", "", text, ""]
    lines += [f"## {words['mend']}", "", *(steps if len(steps) > 1 else page.mend), ""]
    lines += [f"## {words['waive']}", "", *_waiver(language, entry), ""]
    if not entry.fault.startswith("none"):
        lines += [f"## {words['drill']}", "", *_drill(language, entry), ""]
    if entry.sources:
        lines += [f"## {words['sources']}", "", *(f"- {source}" for source in entry.sources), ""]
    index = "../checks.md" if language == "en" else "../checks.zh.md"
    return "\n".join([*lines, f"[{words['all']}]({index})"]) + "\n"


def _other(language: str, name: str) -> str:
    return f"[中文]({name}.zh.md)" if language == "en" else f"[English]({name}.md)"


def _waiver(language: str, entry: Entry) -> list[str]:
    if not entry.waivable:
        return [_WORDS[language]["never"]]
    reason = _WORDS[language]["reason"]
    return [
        "```yaml",
        "npuctl_cluster:",
        "  name: prod",
        "  services: []",
        f"  waivers: [{{check: {entry.id}, reason: {reason}}}]",
        "```",
    ]


def _drill(language: str, entry: Entry) -> list[str]:
    if entry.fault == "spec":
        return [_WORDS[language]["spec"]]
    return ["```console", f"$ npuctl sandbox fault node-1 {entry.fault}", "```"]
