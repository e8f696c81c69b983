"""What library/module_utils/npuctl_second_opinion.py returned → SecondOpinion. Pure.

msprechecker's `precheck` writes for people: to stderr, in colours, its words in Chinese, blocks in any order,
and ends with 0 whatever it found (version 0.4.0). One finding is two lines, of which the second may go on:

    -- transparent_hugepage [RECOMMEND]
        - advise -> always <-- why
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from npuctl.facts.survey import SecondOpinion
from npuctl.facts.unread import Unread

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TITLE = re.compile(r"=+ (?P<block>[A-Z ]+) (?:CHECK|COLLECT) REPORT =+")
_END = re.compile(rf"|{_TITLE.pattern}|Traceback .*")
_HEAD = re.compile(r"-- (?P<what>\S.*) \[(?P<severity>NOK|WARNING|RECOMMEND)\]")
_BODY = re.compile(
    r"\s+- (?P<seen>.*?) -> (?P<expected>.*?) ?<-- (?P<advice>.*)",
    re.DOTALL,
)
_LONGEST = 300
# It warns of a direct cable between two servers where LLDP told it nothing, too: that is no opinion, and
# npuctl asks every port itself.
_NOT_SEEN = "未知协议"


def read_second_opinions(raw: Sequence[dict[str, Any]], unread: Unread) -> list[SecondOpinion]:
    """The findings of every tool that answered, each once; `unread` takes why one did not."""
    found: dict[SecondOpinion, None] = {}
    for answer in raw:
        question = f"second opinion of {answer['tool']}"
        text = _COLOUR.sub("", f"{answer['stdout']}\n{answer['stderr']}")
        if answer["rc"] is None:
            unread.note(question, answer["stderr"])
        elif answer["rc"] != 0:
            unread.note(question, f"ended with {answer['rc']}: {_last_line(text)}")
        elif not _TITLE.search(text):
            unread.note(question, f"no report in its answer: {_last_line(text)}")
        # What it printed before it broke is as good: each block is about something else.
        found |= dict.fromkeys(_findings(text, answer["tool"], answer["version"]))
    return list(found)


def _findings(text: str, tool: str, version: str) -> list[SecondOpinion]:
    blocks: list[tuple[re.Match[str], list[str]]] = []
    taking = False
    for line in text.splitlines():
        head = _HEAD.fullmatch(line.rstrip())
        if head:
            blocks.append((head, []))
        taking = bool(head) or (taking and not _END.fullmatch(line.strip()))
        if taking and not head:
            blocks[-1][1].append(line)
    opinions = []
    for head, lines in blocks:
        body = _BODY.fullmatch("\n".join(lines))
        if body and body["seen"].strip() != _NOT_SEEN:
            opinions.append(
                SecondOpinion(
                    tool=tool,
                    tool_version=version,
                    severity=head["severity"],
                    what=_short(head["what"]),
                    seen=_short(body["seen"]),
                    expected=_short(body["expected"]),
                    advice=_short(body["advice"]),
                )
            )
    return sorted(opinions, key=lambda opinion: (opinion.what, opinion.seen))


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no word"
