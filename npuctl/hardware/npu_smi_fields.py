"""The "key : value" lines that npu-smi answers a `-t` query with, and its refusals.

A line's key ends at its first ":"; blanks around both are dropped, for quoted outputs have lost them.
Values are matched whole. A line that no newline follows may have been cut, so its value is not used,
unless it is a word that is the beginning of no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from npuctl.hardware.npu_smi_query_records import CardGoneError, NotSupportedError, RefusedError
from npuctl.hardware.npu_smi_records import NpuSmiParseError
from npuctl.hardware.npu_smi_text import Line, lines_of, surrounds_output

# Bounded, so that a run of digits from a damaged file is an error here and not inside int().
INTEGER = re.compile(r"[0-9]{1,9}")
UNSIGNED_32 = re.compile(r"[0-9]{1,10}")
PERCENT = re.compile(r"[0-9]{1,3}")
TEMPERATURE = re.compile(r"-?[0-9]{1,4}")
POWER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")
HEXADECIMAL = re.compile(r"0[xX][0-9A-Fa-f]{1,8}")
BUS_ID = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]{1,2}")
VERSION = re.compile(r"\S+")
DIE_ID = re.compile(r"\S+(?: \S+)*")
_ANYTHING = re.compile(r".*")
_LARGEST_UNSIGNED_32 = 0xFFFFFFFF

ABSENT = frozenset({"", "-", "NA", "N/A"})

NOT_ENDED = (
    "the text ends without a newline, so this line may be cut: add the missing line end if the text is whole"
)
_NEVER_CUT = frozenset({"OK", "NOK", "NA", "Warning", "Alarm", "Critical", "UNKNOWN"})
_ONE_DIGIT_KEYS = frozenset({"Chip Count"})  # no card has ten

# Wordings: hicann/driver, npu-smi (which has both "does" and "dose").
_NOT_SUPPORTED = re.compile(r".*\bdo(?:es|se) not support querying (.+?)\.?")
_GONE = re.compile(
    r"Invalid (?:card|chip) id\.?|There is no NPU (?:card|chip) on this (?:server|card)\.?", re.IGNORECASE
)
_REFUSED = re.compile(
    r'Failed to (?:query|get) [\w "]{1,60}\.|Error parameter of -\w+|Must input parameter of [\w ]{1,40}\.'
    r"|This command must input [\w ]{1,40}\.|The parameter is invalid\.|npu get board type failed\..*"
)


@dataclass(frozen=True, slots=True)
class Field:
    """A line with a key and a value; without a ":" all of it is the key."""

    key: str
    value: str
    source: Line

    @property
    def whole(self) -> bool:
        """Whether no end of the value can be missing."""
        if self.source.ended or self.value in _NEVER_CUT:
            return True
        return self.key in _ONE_DIGIT_KEYS and len(self.value) == 1

    def error(self, reason: str) -> NpuSmiParseError:
        """The error that points at this line."""
        return NpuSmiParseError(reason, line=self.source.line, line_number=self.source.number)


def read_fields(
    text: str, query: str, known: Iterable[str], *, without_value: re.Pattern[str] | None = None
) -> list[Field]:
    """The fields of an answer, from the first with a known key on; what stands above is not looked at.

    Args:
        text: the answer with its last newline.
        query: what was asked, for the error's words.
        known: keys that an answer begins with or has.
        without_value: lines without a ":" that belong to the answer.

    Raises:
        RefusedError: npu-smi refused the query.
        DriverUnusableError: npu-smi cannot use the driver.
        NpuSmiParseError: no known key, or a line among the fields that is none.
    """
    first = frozenset(known)
    fields: list[Field] = []
    ended = False
    for line in lines_of(text):
        key, colon, value = line.content.partition(":")
        field = Field(key.strip(), value.strip(), line)
        plain = not colon and without_value is not None and without_value.fullmatch(line.content)
        if not fields:
            raise_if_refused(line)
            if field.key in first and (colon or plain):
                fields.append(field)
        elif surrounds_output(line):
            ended = True
        elif ended or not (colon or plain):
            raise field.error(f"not a line of `{query}`")
        else:
            fields.append(field)
    if not fields:
        raise NpuSmiParseError(f"nothing found that `{query}` prints")
    return fields


def raise_if_refused(line: Line) -> None:
    """Raise what npu-smi refused with in this line, if it did."""
    words = line.content
    query = _NOT_SUPPORTED.fullmatch(words)
    if query:
        raise NotSupportedError(query[1], words=words, line=line.line, line_number=line.number)
    if _GONE.fullmatch(words):
        raise CardGoneError(words, line=line.line, line_number=line.number)
    if _REFUSED.fullmatch(words):
        raise RefusedError(words, line=line.line, line_number=line.number)


class Values:
    """Fields by their keys, each at most once; a value is what it should be, None for "NA", or an error."""

    def __init__(self, fields: Iterable[Field], where: str) -> None:
        self.where = where
        self._fields: dict[str, Field] = {}
        for field in fields:
            before = self._fields.get(field.key)
            if before is not None:
                raise field.error(f"{field.key!r} stands twice in {where}")
            self._fields[field.key] = field

    def __bool__(self) -> bool:
        return bool(self._fields)

    def __iter__(self) -> Iterator[Field]:
        return iter(self._fields.values())

    def field(self, *keys: str) -> Field | None:
        """The field under the first of these keys that is there."""
        return next((self._fields[key] for key in keys if key in self._fields), None)

    def require(self, *keys: str) -> Field:
        """The same, or an error."""
        field = self.field(*keys)
        if field is None:
            raise NpuSmiParseError(f"no {keys[0]!r} in {self.where}")
        return field

    def text(self, key: str, pattern: re.Pattern[str] = _ANYTHING) -> str | None:
        """A value as it stands."""
        field = self.field(key)
        return None if field is None else text_of(field, pattern)

    def integer(self, *keys: str, pattern: re.Pattern[str] = INTEGER) -> int | None:
        """A whole number under the first of these keys that is there."""
        field = self.field(*keys)
        return None if field is None else integer_of(field, pattern)

    def required_integer(self, *keys: str, pattern: re.Pattern[str] = INTEGER) -> int:
        """A whole number that has to be there."""
        field = self.require(*keys)
        number = integer_of(field, pattern)
        if number is None:
            raise field.error(f"no number under {field.key!r}")
        return number

    def number(self, *keys: str, pattern: re.Pattern[str] = POWER) -> float | None:
        """A number that may have decimals."""
        field = self.field(*keys)
        text = None if field is None else text_of(field, pattern)
        return None if text is None else float(text)


def text_of(field: Field, pattern: re.Pattern[str] = _ANYTHING) -> str | None:
    """A field's value when it is all there and as it should be; None for "NA"."""
    if not field.whole:
        raise field.error(NOT_ENDED)
    if field.value in ABSENT:
        return None
    if not pattern.fullmatch(field.value):
        raise field.error(f"cannot read {field.key or 'this'!r} in {field.value!r}")
    return field.value


def integer_of(field: Field, pattern: re.Pattern[str] = INTEGER) -> int | None:
    """A field's whole number; None for "NA"."""
    text = text_of(field, pattern)
    if text is None:
        if field.value == "":
            raise field.error(f"no number under {field.key!r}")
        return None
    number = int(text)
    if number > _LARGEST_UNSIGNED_32:
        raise field.error(f"too large a number under {field.key!r}")
    return number
