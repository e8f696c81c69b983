"""How a text ends its lines: what is put in ends them the same way."""

from __future__ import annotations

import re


def lines_of(text: str) -> list[str]:
    r"""The lines with their ends; only "\n" ends one, as programs read files and unlike str.splitlines."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def newline_of(text: str) -> str:
    r"""The end of its first line: "\r\n" or "\n"."""
    first = text.partition("\n")[0]
    return "\r\n" if first.endswith("\r") and first != text else "\n"


def ended(text: str) -> str:
    """The text with an end to its last line."""
    return text if not text or text.endswith("\n") else text + newline_of(text)


def ended_like(original: str, text: str) -> str:
    """The text with its last line ended, or left open, as the original has it."""
    if not original or original.endswith("\n"):
        return text
    return text.removesuffix("\n").removesuffix("\r")
