"""Parsers of `npu-smi info` and `npu-smi info -m`: text in, records out, nothing else.

npu-smi has no machine-readable output. Its table comes in at least four lay-outs, 93 to 116
characters wide, whose headings need not line up with their rows. So nothing here reads a column by
its position: rows are split at "|", paired, and numbers are matched against the whole cell.

What cannot be read is refused with NpuSmiParseError; no number is ever guessed. The one thing that
the text alone cannot show is a row pair that is missing without a trace: `NpuSmiInfo.complete` says
whether both tables are there, agree and are closed. Live output ought to be complete; excerpts in
manuals and issues seldom are.

Around an answer may stand what people paste with it: the call, a shell's prompt, a driver's warning, a
fence, colours, a byte order mark. Inside it nothing may, nor may a second answer follow.
"""

from __future__ import annotations

import re

from npuctl.hardware.npu_smi_fields import NOT_ENDED
from npuctl.hardware.npu_smi_records import (
    Chip,
    ChipMapping,
    DriverUnusableError,
    NpuProcess,
    NpuSmiInfo,
    NpuSmiParseError,
)
from npuctl.hardware.npu_smi_table import ID_CELL, TableReader
from npuctl.hardware.npu_smi_text import Line, lines_of, surrounds_output

__all__ = [
    "Chip",
    "ChipMapping",
    "DriverUnusableError",
    "NpuProcess",
    "NpuSmiInfo",
    "NpuSmiParseError",
    "parse_info",
    "parse_mapping",
]


def parse_info(text: str) -> NpuSmiInfo:
    """Read the output of `npu-smi info`.

    Raises:
        DriverUnusableError: npu-smi said so instead of printing a table.
        NpuSmiParseError: the text is cut inside a row, has an unknown lay-out or no table at all.
    """
    reader = TableReader()
    for line in lines_of(text):
        reader.read(line)
    return reader.result()


def parse_mapping(text: str) -> tuple[ChipMapping, ...]:
    """Read the output of `npu-smi info -m`; controllers ("Mcu", "3559") are left out.

    A last line without its newline is read when it is a controller's, or names a chip as others are.

    Raises:
        NpuSmiParseError: no heading, a row that does not fit it, or a number that is none.
    """
    columns: list[str] = []
    rows: list[ChipMapping] = []
    ended = False
    for line in lines_of(text):
        # Only the name, which comes last, has blanks in it: a quoted text may have lost the wide ones.
        cells = line.content.split(None, len(columns) - 1)
        if not columns:
            columns = _columns(line.content)
        elif surrounds_output(line):
            ended = True
        elif ended or len(cells) != len(columns):
            raise _error(f"expected {len(columns)} cells", line)
        else:
            found = _mapped(dict(zip(columns, cells, strict=True)), line, rows)
            if not line.ended and any(one.name not in {row.name for row in rows} for one in found):
                raise _error(NOT_ENDED, line)
            rows += found
    if not rows:
        raise NpuSmiParseError("no chip in the mapping" if columns else "no heading of a mapping")
    return tuple(rows)


_COLUMN = r"NPU ID|Slot ID|Chip ID|Chip Logic ID|Chip Phy-ID"
_HEADING = re.compile(rf"(?:(?:{_COLUMN})\s+){{2,5}}Chip Name")
_NOT_A_NAME = re.compile(r"(?:[0-9]+|-)(?:\s.*)?")


def _columns(content: str) -> list[str]:
    """The columns of a heading; none of any other line."""
    if not _HEADING.fullmatch(content):
        return []
    columns = [*re.findall(_COLUMN, content), "Chip Name"]
    known = {"NPU ID", "Chip ID"} <= set(columns) and len(columns) == len(set(columns))
    return columns if known else []


def _mapped(row: dict[str, str], line: Line, before: list[ChipMapping]) -> list[ChipMapping]:
    if row["Chip Name"].lower() == "mcu" or (row["Chip Name"], row.get("Chip Logic ID")) == ("3559", "-"):
        return []
    if _NOT_A_NAME.fullmatch(row["Chip Name"]):
        raise _error("a number too many", line)
    npu, chip, logic_id, phy_id = (
        _mapped_id(row.get(column, "-"), line)
        for column in ("NPU ID", "Chip ID", "Chip Logic ID", "Chip Phy-ID")
    )
    if npu is None or chip is None:
        raise _error("a chip without its ids", line)
    if any((other.npu, other.chip) == (npu, chip) for other in before):
        raise _error("this chip is listed twice", line)
    return [ChipMapping(npu, chip, logic_id, phy_id, row["Chip Name"])]


def _mapped_id(cell: str, line: Line) -> int | None:
    if cell == "-":
        return None
    if not ID_CELL.fullmatch(cell):
        raise _error(f"not an id: {cell!r}", line)
    return int(cell)


def _error(reason: str, line: Line) -> NpuSmiParseError:
    return NpuSmiParseError(reason, line=line.line, line_number=line.number)
