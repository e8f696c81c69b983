"""What a format can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Protocol, final

from pydantic import JsonValue


@final
class Absent:
    """No value: the key does not stand in the file."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


class Format(Protocol):
    """Reads all values of a text, and sets some of them.

    `empty` is what a file that has to be there says when it says nothing.
    """

    empty: ClassVar[str]

    def read(self, text: str) -> Mapping[str, JsonValue]:
        """Key → value of everything that stands in the text.

        Raises:
            UnreadableError: the text is not of this format; it must not be written then.
        """

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        """The text with these values; comments, order and all other keys stay. "" when nothing is left."""
