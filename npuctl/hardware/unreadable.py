"""The error of every parser here: a text that is not, or not wholly, what the tool prints."""

from __future__ import annotations


class UnreadableError(ValueError):
    """The text is cut, damaged, or of a lay-out that nobody has seen.

    Attributes:
        reason: what is wrong, without the line.
        line: the offending line as it stood in the text; empty when the end of the text is.
        line_number: counted from 1; 0 when the end of the text is wrong.
    """

    def __init__(self, reason: str, *, line: str = "", line_number: int = 0) -> None:
        where = f"line {line_number}: " if line_number else ""
        shown = f": {line.strip()!r}" if line.strip() else ""
        super().__init__(f"{where}{reason}{shown}")
        self.reason = reason
        self.line = line
        self.line_number = line_number
