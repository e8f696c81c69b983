"""Parsers of `npu-smi info` and `npu-smi info -m`: text in, records out, nothing else.

npu-smi has no machine-readable output. Its table comes in at least four lay-outs, 93 to 116
characters wide, whose headings need not line up with their rows. So nothing here reads a column by
its position: rows are split at "|", paired, and numbers are matched against the whole cell.

What cannot be read is refused with NpuSmiParseError; no number is ever guessed. The one thing that
the text alone cannot show is a row pair that is missing without a trace: `NpuSmiInfo.complete` says
whether both tables are there, agree and are closed. Live output ought to be complete; excerpts in
manuals and issues seldom are.
"""

from __future__ import annotations

import re

from npuctl.hardware.npu_smi_records import (
    Chip,
    ChipMapping,
    DriverUnusableError,
    NpuProcess,
    NpuSmiInfo,
    NpuSmiParseError,
)
from npuctl.hardware.npu_smi_table import ID_CELL, TableReader

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
    for number, line in enumerate(text.splitlines(), start=1):
        reader.read(line, number)
    return reader.result()


def parse_mapping(text: str) -> tuple[ChipMapping, ...]:
    """Read the output of `npu-smi info -m`; the management controllers ("Mcu") are left out.

    Raises:
        NpuSmiParseError: no heading, a row that does not fit it, or a number that is none.
    """
    columns: list[str] = []
    rows: list[ChipMapping] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = re.split(r"\s{2,}|\t+", line.strip())
        if cells == [""]:
            continue
        if not columns:
            if not {"NPU ID", "Chip ID", "Chip Name"} <= set(cells) or len(cells) != len(set(cells)):
                raise NpuSmiParseError("expected the heading of a mapping", line=line, line_number=number)
            columns = cells
            continue
        if len(cells) != len(columns):
            raise NpuSmiParseError(f"expected {len(columns)} cells", line=line, line_number=number)
        row = dict(zip(columns, cells, strict=True))
        if row["Chip Name"].lower() == "mcu":
            continue
        ids = {
            column: _mapped_id(row.get(column, "-"), line, number)
            for column in ("NPU ID", "Chip ID", "Chip Logic ID", "Chip Phy-ID")
        }
        npu, chip = ids["NPU ID"], ids["Chip ID"]
        if npu is None or chip is None:
            raise NpuSmiParseError("a chip without its ids", line=line, line_number=number)
        if any((other.npu, other.chip) == (npu, chip) for other in rows):
            raise NpuSmiParseError("this chip is listed twice", line=line, line_number=number)
        rows.append(ChipMapping(npu, chip, ids["Chip Logic ID"], ids["Chip Phy-ID"], row["Chip Name"]))
    if not rows:
        raise NpuSmiParseError("no chip in the mapping")
    return tuple(rows)


def _mapped_id(cell: str, line: str, number: int) -> int | None:
    if cell == "-":
        return None
    if not ID_CELL.fullmatch(cell):
        raise NpuSmiParseError(f"not an id: {cell!r}", line=line, line_number=number)
    return int(cell)
