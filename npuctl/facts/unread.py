"""What a tool answered → a value, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from npuctl.hardware.hccn_tool import HccnError, HccnNotSetError, HccnNotSupportedError
from npuctl.hardware.npu_smi_query_records import NotSupportedError, RefusedError
from npuctl.hardware.npu_smi_records import DriverUnusableError
from npuctl.hardware.unreadable import UnreadableError

T = TypeVar("T")
_MOST_WORDS = 300
# The product has no such thing, or nobody set it: the tool did answer, and there is nothing to be said.
_NOTHING_TO_SAY = (HccnNotSetError, HccnNotSupportedError, NotSupportedError)
_REFUSALS = (HccnError, RefusedError, DriverUnusableError)


class Unread:
    """Reads answers, and keeps why those that could not be read could not.

    Attributes:
        reasons: question → why there is no answer.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def note(self, question: str, why: str) -> None:
        """Keep a reason; the first line of it, which tools put their word into."""
        lines = [line.strip() for line in why.splitlines() if line.strip()] or ["no reason given"]
        self.reasons[question] = lines[0][:_MOST_WORDS]

    def answer(self, question: str, answer: dict[str, Any], parse: Callable[[str], T]) -> T | None:
        """The parsed answer of a tool; None when it cannot be read, or has nothing to say.

        The text decides before the exit code: tools refuse with any code, and in their own words.
        """
        if answer["rc"] is None:
            self.note(question, answer["stderr"])
            return None
        text = answer["stdout"] or answer["stderr"]
        try:
            value = parse(text)
        except _NOTHING_TO_SAY:
            return None
        except UnreadableError as error:
            told = error.line or text  # the line that was refused is the one with the tool's word in it
            unknown = f"cannot read the answer: {error}"
            self.note(
                question, told if told.strip() and (answer["rc"] or isinstance(error, _REFUSALS)) else unknown
            )
            return None
        if answer["rc"]:
            self.note(question, f"ended with {answer['rc']}: {text.strip()}")
            return None
        return value

    def file(self, path: str, read: dict[str, str], parse: Callable[[str], T]) -> T | None:
        """The parsed text of a file; None when it is absent or cannot be read."""
        if "text" not in read:
            self.note(path, read["error"])
            return None
        try:
            return parse(read["text"])
        except UnreadableError as error:
            self.note(path, f"cannot read it: {error}")
            return None
