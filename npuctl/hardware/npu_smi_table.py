"""The reader of the table that `npu-smi info` prints: a heading, then two rows a chip, then processes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from npuctl.hardware.lines import ELISIONS
from npuctl.hardware.npu_smi_records import (
    Chip,
    NpuProcess,
    NpuSmiInfo,
    NpuSmiParseError,
)
from npuctl.hardware.npu_smi_text import Line, is_table_line, surrounds_output

# Bounded, so that a run of digits from a damaged file is an error here and not inside int().
_INT = r"[0-9]{1,9}"
_PAIR = rf"({_INT})\s*/\s*({_INT})"  # "29070/ 32768": the slash may touch the number before it

_BORDER = re.compile(r"\+[-=+|]*[-=]\+")
_VERSIONS = re.compile(r"npu-smi\s+(\S+)\s+Version:\s*(\S+)")
_NO_PROCESS = re.compile(rf"No running processes found in NPU ({_INT})")
# A tool that was ended says so below what it had printed.
_ENDED_EARLY = re.compile(
    r"(?i)(?:\S+:\s+)*(?:line\s+[0-9]+:\s+[0-9]+\s+)?"
    r"(?:killed|terminated|aborted|segmentation fault|bus error)(?:\s+\(core dumped\))?(?:\s+npu-smi.*)?"
)

# What the last cell of each heading says; a lay-out with other columns or units is not known. Drivers
# before 21.0.4 have no huge pages.
_READING_COLUMNS = ("Power(W)", "Temp(C)")
_HUGEPAGES_COLUMN = "Hugepages-Usage(page)"
_USAGE_COLUMNS = frozenset({("AICore(%)",), ("NPU", "Util(%)")})
_MEMORY_COLUMN, _HBM_COLUMN = "Memory-Usage(MB)", "HBM-Usage(MB)"

# Not "3 0     310P3", whose id is in two.
_IDENTITY = re.compile(rf"({_INT})\s+(?![0-9]+\s)(\S+(?: \S+)*)")
# hicann/driver, npucli: npu_common.c
_HEALTH = re.compile(r"OK|Warning|Alarm|Critical|UNKNOWN|Unknown|NA")
_READINGS = re.compile(rf"(\S+)\s+(\S+)\s+{_PAIR}")
_READINGS_WITHOUT_HUGEPAGES = re.compile(r"(\S+)\s+(\S+)")
ID_CELL = re.compile(_INT)
_TWO_IDS = re.compile(rf"({_INT})\s+({_INT})")
_BUS_ID = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f]")
_MASKED_BUS_ID = re.compile(r"[0-9A-Fa-fxX*]{4,8}:[0-9A-Fa-fxX*]{2}:[0-9A-Fa-fxX*]{2}\.[0-9A-Fa-fxX*]")
_USAGE_WITH_HBM = re.compile(rf"(\S+)\s+{_PAIR}\s+{_PAIR}")
_USAGE = re.compile(rf"(\S+)\s+{_PAIR}")
_TEMPERATURE = re.compile(r"-?[0-9]{1,4}")
_POWER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,3})?")
_PERCENT = re.compile(r"[0-9]{1,3}")
_PID = re.compile(r"[0-9]{1,10}")

# What stands in a cell that has no figure: the second die of an A3 has power "-", a 310P "NA".
_ABSENT = frozenset({"-", "NA", "N/A"})

_FIRST_ROW_CELLS = 3
_FIRST_ROW_CELLS_950 = 4
_PROCESS_CELLS = 4
_BEFORE_NAME = 2


@dataclass(frozen=True, slots=True)
class _FirstRow:
    """The upper row of a chip's two."""

    npu: int
    name: str
    health: str
    power_w: float | None
    temperature_c: int | None
    hugepages_used: int | None
    hugepages_total: int | None


class TableReader:
    """Reads the table line by line; the state is which heading was last and a row awaiting its mate."""

    def __init__(self) -> None:
        self.versions: tuple[str, str] | None = None
        self.chips: dict[tuple[int, int], Chip] = {}
        self.processes: list[NpuProcess] = []
        self.accounted: set[int] = set()
        self.pending: _FirstRow | None = None
        self.first_heading = False
        self.id_column: str | None = None  # of the second row: "Chip", "Phy-ID", "Device" or "950"
        self.has_hbm = False
        self.has_hugepages = False
        self.in_processes = False
        self.process_cells = _PROCESS_CELLS
        self.process_widths: list[int] = []
        self.process_unit_known = False
        self.started = False
        self.ended = False
        self.elided = False
        self.last_was_border = False
        self.line = ""
        self.number = 0

    def read(self, line: Line) -> None:
        """Take one line that is not empty."""
        self.line, self.number = line.line, line.number
        content = line.content
        if not is_table_line(line):
            if not self.started:
                return  # a driver's warning, a prompt or the time above the table
            if not self._may_stand_below(line):
                raise self._error("not a row of the table")
            self.ended = True
            return
        if self.ended:
            raise self._error("a row below the table's end")
        self.started = True
        self.last_was_border = content[0] == "+"
        if content in ELISIONS:
            self._expect_no_pending()
            self.elided = True
        elif content[0] == "+":
            if not _BORDER.fullmatch(content):
                raise self._error("a border that is cut or damaged")
            self._expect_no_pending()
        elif len(content) > 1 and content.endswith("|"):
            self._row(content[1:-1].split("|"))
        else:
            raise self._error("a row that is cut")

    def result(self) -> NpuSmiInfo:
        """What was read, when the text ended at a place where it may end."""
        if self.pending is not None:
            raise NpuSmiParseError(f"the text ends before the second row of NPU {self.pending.npu}")
        if not self.chips:
            raise NpuSmiParseError("no chip found: this is not the output of `npu-smi info`")
        npus = tuple(dict.fromkeys(npu for npu, _ in self.chips))
        version, driver_version = self.versions or (None, None)
        return NpuSmiInfo(
            version=version,
            driver_version=driver_version,
            npus=npus,
            chips=tuple(self.chips.values()),
            processes=tuple(self.processes),
            complete=self._complete(),
        )

    def _complete(self) -> bool:
        """Whether both tables are there, closed and agree."""
        closed = self.last_was_border and not self.elided and self.pending is None
        return closed and bool(self.chips) and self.accounted == {npu for npu, _ in self.chips}

    def _may_stand_below(self, line: Line) -> bool:
        """Whether this line, which is none of a table, can end one.

        Below a table that lacks nothing, nothing can be a damaged row of it.
        """
        if not self.last_was_border:
            return False
        if surrounds_output(line):
            return True
        return self._complete() and "|" not in line.content and not _ENDED_EARLY.fullmatch(line.content)

    def _row(self, raw: list[str]) -> None:
        cells = [cell.strip() for cell in raw]
        if self._heading(cells):
            if self.in_processes:
                self.process_widths = [len(cell) for cell in raw]
            return
        if self.in_processes:
            self._process_row(cells, [len(cell) for cell in raw])
        elif self.id_column is None:
            raise self._error("a row above any known heading")
        elif self.pending is None:
            self.pending = self._first_row(cells)
        else:
            chip = self._second_row(self.pending, cells)
            self.pending = None
            if (chip.npu, chip.chip) in self.chips:
                raise self._error(f"NPU {chip.npu} chip {chip.chip} is listed twice")
            self.chips[chip.npu, chip.chip] = chip

    def _heading(self, cells: list[str]) -> bool:
        versions = _VERSIONS.fullmatch(cells[0]) if len(cells) == 1 else None
        if versions:
            self._expect_no_pending()
            if self.chips:
                raise self._error("a second table")
            self.versions = (versions[1], versions[2])
        elif "Health" in cells:
            self._expect_no_pending()
            if self.in_processes:
                raise self._error("a second table")
            self._first_heading(cells)
        elif "Bus-Id" in cells:
            self._expect_no_pending()
            self._second_heading(cells)
        elif "Process id" in cells:
            self._expect_no_pending()
            if not self.chips:
                raise self._error("processes before any chip")
            if len(cells) < _PROCESS_CELLS or not cells[3].startswith("Process memory"):
                raise self._error("an unknown process table")
            if self.in_processes:
                raise self._error("a second process table")
            self.in_processes, self.process_cells = True, len(cells)
            self.process_unit_known = cells[3] == "Process memory(MB)"
        else:
            return False
        return True

    def _first_heading(self, cells: list[str]) -> None:
        columns = tuple(cells[-1].split())
        if columns not in {_READING_COLUMNS, (*_READING_COLUMNS, _HUGEPAGES_COLUMN)}:
            raise self._error("an unknown heading")
        self.first_heading, self.has_hugepages = True, _HUGEPAGES_COLUMN in columns

    def _second_heading(self, cells: list[str]) -> None:
        known = {
            ("Chip",): "Chip",
            ("Chip", "Phy-ID"): "Phy-ID",
            ("Chip", "Device"): "Device",
            (): "950",
        }
        id_column = known.get(tuple(cells[0].split()))
        usage = cells[-1].split()
        has_hbm = usage[-1:] == [_HBM_COLUMN]
        if has_hbm:
            usage.pop()
        known_usage = usage[-1:] == [_MEMORY_COLUMN] and tuple(usage[:-1]) in _USAGE_COLUMNS
        if id_column is None or not self.first_heading or not known_usage:
            raise self._error("an unknown heading")
        self.id_column, self.has_hbm = id_column, has_hbm

    def _first_row(self, cells: list[str]) -> _FirstRow:
        if self.id_column == "950":
            if len(cells) != _FIRST_ROW_CELLS_950:
                raise self._error("a row with a cell too few or too many")
            cells = [f"{cells[0]} {cells[1]}", *cells[2:]]
        if len(cells) != _FIRST_ROW_CELLS:
            raise self._error("a row with a cell too few or too many")
        identity = self._match(_IDENTITY, cells[0], "NPU and name")
        hugepages: tuple[int, int] | tuple[None, None] = (None, None)
        if self.has_hugepages:
            readings = self._match(_READINGS, cells[2], "power, temperature and huge pages")
            hugepages = int(readings[3]), int(readings[4])
        else:
            readings = self._match(_READINGS_WITHOUT_HUGEPAGES, cells[2], "power and temperature")
        temperature = self._reading(_TEMPERATURE, readings[2], "temperature")
        power = self._reading(_POWER, readings[1], "power")
        return _FirstRow(
            npu=int(identity[1]),
            name=identity[2],
            health=self._match(_HEALTH, cells[1], "health")[0],
            power_w=None if power is None else float(power),
            temperature_c=None if temperature is None else int(temperature),
            hugepages_used=hugepages[0],
            hugepages_total=hugepages[1],
        )

    def _second_row(self, first: _FirstRow, cells: list[str]) -> Chip:
        chip, number = 0, None
        if self.id_column == "950":  # two empty cells: such a card has one chip
            if len(cells) != _FIRST_ROW_CELLS_950 or cells[0] or cells[1]:
                raise self._error("expected the second row of a chip")
            cells = cells[1:]
        elif len(cells) != _FIRST_ROW_CELLS:
            raise self._error("expected the second row of a chip")
        elif self.id_column == "Chip":
            chip = int(self._match(ID_CELL, cells[0], "chip")[0])
        else:
            ids = self._match(_TWO_IDS, cells[0], f"chip and {self.id_column}")
            chip, number = int(ids[1]), int(ids[2])
        usage = self._match(_USAGE_WITH_HBM if self.has_hbm else _USAGE, cells[2], "usage")
        aicore = self._reading(_PERCENT, usage[1], "AICore usage")
        figures = [int(figure) for figure in usage.groups()[1:]]
        # Where there are two pairs, the second one is HBM.
        ddr_used, ddr_total = figures[:-2] if self.has_hbm else (None, None)
        return Chip(
            npu=first.npu,
            chip=chip,
            phy_id=number if self.id_column == "Phy-ID" else None,
            name=first.name,
            health=first.health,
            temperature_c=first.temperature_c,
            power_w=first.power_w,
            bus_id=self._bus_id(cells[1]),
            aicore_percent=None if aicore is None else int(aicore),
            memory_used_mb=figures[-2],
            memory_total_mb=figures[-1],
            device=number if self.id_column == "Device" else None,
            ddr_used_mb=ddr_used,
            ddr_total_mb=ddr_total,
            hugepages_used=first.hugepages_used,
            hugepages_total=first.hugepages_total,
        )

    def _process_row(self, cells: list[str], widths: list[int]) -> None:
        idle = _NO_PROCESS.fullmatch(cells[0]) if len(cells) == 1 else None
        if idle:
            self._account(int(idle[1]))
            return
        if len(cells) < self.process_cells:
            raise self._error("a process row with a cell too few")
        if not self.process_unit_known:
            # 23.0.rc1 heads the column "(B)"; no row of such a table was seen to tell if it means it.
            raise self._error("a process row in an unknown unit of memory")
        # Read from both ends: what is left in the middle is the name, even one with a "|" in it. Then the
        # cells around it are as wide as their headings; a "|" inside a number would make one narrower.
        after_name = self.process_cells - _PROCESS_CELLS + 1
        outside = [*range(_BEFORE_NAME), *range(-after_name, 0)]
        if len(cells) > self.process_cells and any(widths[at] != self.process_widths[at] for at in outside):
            raise self._error("a process row with a cell too many")
        name = "|".join(cells[_BEFORE_NAME:-after_name])
        if self.id_column == "950":
            npu, chip = int(self._match(ID_CELL, cells[0], "NPU")[0]), 0
        else:
            ids = self._match(_TWO_IDS, cells[0], "NPU and chip")
            npu, chip = int(ids[1]), int(ids[2])
        if (npu, chip) not in self.chips and not self.elided:
            raise self._error("a process on a chip that the table above does not have")
        process = NpuProcess(
            npu=npu,
            chip=chip,
            pid=int(self._match(_PID, cells[1], "process id")[0]),
            name=name,
            memory_mb=int(self._match(ID_CELL, cells[-after_name], "process memory")[0]),
        )
        self._account(npu)
        self.processes.append(process)

    def _account(self, npu: int) -> None:
        if not self.elided and all(npu != known for known, _ in self.chips):
            raise self._error(f"NPU {npu} is not in the table above")
        self.accounted.add(npu)

    def _match(self, pattern: re.Pattern[str], cell: str, what: str) -> re.Match[str]:
        found = pattern.fullmatch(cell)
        if not found:
            raise self._error(f"cannot read {what} in {cell!r}")
        return found

    def _reading(self, pattern: re.Pattern[str], cell: str, what: str) -> str | None:
        return None if cell in _ABSENT else self._match(pattern, cell, what)[0]

    def _bus_id(self, cell: str) -> str | None:
        """None also where a person masked it: "0000:xx:00.0"."""
        masked = _MASKED_BUS_ID.fullmatch(cell) and not _BUS_ID.fullmatch(cell)
        return None if masked else self._reading(_BUS_ID, cell, "bus id")

    def _expect_no_pending(self) -> None:
        if self.pending is not None:
            raise self._error(f"expected the second row of NPU {self.pending.npu}")

    def _error(self, reason: str) -> NpuSmiParseError:
        return NpuSmiParseError(reason, line=self.line, line_number=self.number)
