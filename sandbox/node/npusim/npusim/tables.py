"""The table of `npu-smi info`, byte for byte as the real tool of each lay-out draws it.

Widths were taken from published outputs (Ascend/mind-cluster fixtures, vllm-project/vllm-ascend
issues); the tests parse such outputs and draw them again.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple


class ChipRow(NamedTuple):
    """The two rows of one chip."""

    npu: int
    chip: int
    device: int
    name: str
    health: str
    power: str
    temperature_c: int
    bus_id: str
    aicore_percent: int
    memory_used_mb: int
    memory_total_mb: int
    ddr_used_mb: int = 0
    ddr_total_mb: int = 0
    hugepages_used: int = 0
    hugepages_total: int = 0


class ProcessRow(NamedTuple):
    """One row of the process table."""

    npu: int
    chip: int
    pid: int
    name: str
    memory_mb: int


class Layout(NamedTuple):
    """Everything in which lay-outs differ; widths are of a cell's inside, without its bars."""

    id_column: str  # "", "Phy-ID" or "Device"
    cells: tuple[int, int, int]
    process_cells: tuple[int, ...]  # from the third cell on
    first: int  # width of the id in front of the name
    version: int  # width of the tool's version in the top row
    readings: tuple[int, int, int]  # power, temperature, huge pages before the slash
    usage: tuple[int, int, int]  # AICore, used and total of the first pair of memory figures
    hbm: int  # used HBM, 0 where the lay-out has none
    headings: tuple[str, str]
    process_headings: tuple[str, ...]
    plain_rule: bool  # the rule between two chips of a card has no "+" inside


_CLASSIC_HEADINGS = (
    "Power(W)    Temp(C)           Hugepages-Usage(page)",
    "AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)",
)
_WIDE_HEADINGS = (
    "Power(W)             Temp(C)                 Hugepages-Usage(page)",
    "AICore(%)            Memory-Usage(MB)        HBM-Usage(MB)",
)
_DUO_HEADINGS = (
    "Power(W)     Temp(C)           Hugepages-Usage(page)",
    "AICore(%)    Memory-Usage(MB)",
)

CLASSIC = Layout(
    id_column="",
    cells=(27, 15, 52),
    process_cells=(26, 25),
    first=6,
    version=33,
    readings=(12, 18, 5),
    usage=(12, 5, 11),
    hbm=5,
    headings=_CLASSIC_HEADINGS,
    process_headings=("Process name", "Process memory(MB)"),
    plain_rule=True,
)
CLASSIC_PHY = CLASSIC._replace(id_column="Phy-ID")
WIDE = CLASSIC._replace(
    cells=(27, 15, 70),
    process_cells=(20, 23, 25),
    version=44,
    readings=(21, 24, 5),
    usage=(21, 5, 17),
    headings=_WIDE_HEADINGS,
    process_headings=("Process name", "Process memory(MB)", "Process id in container"),
)
WIDE_PHY = WIDE._replace(id_column="Phy-ID")
DUO = Layout(
    id_column="Device",
    cells=(31, 17, 54),
    process_cells=(26, 27),
    first=8,
    version=49,
    readings=(13, 18, 6),
    usage=(13, 5, 33),
    hbm=0,
    headings=_DUO_HEADINGS,
    process_headings=("Process name", "Process memory(MB)"),
    plain_rule=False,
)


def render_info(
    layout: Layout, version: str, chips: list[ChipRow], processes: list[ProcessRow], driver: str = ""
) -> str:
    """The whole output; `driver` when its version is not the tool's."""
    strong = _rule("=", layout.cells)
    weak = _rule("-", (sum(layout.cells) + 2,)) if layout.plain_rule else _rule("-", layout.cells)
    lines = [
        _rule("-", (sum(layout.cells) + 2,)),
        _row(
            (sum(layout.cells) + 2,), f"{f'npu-smi {version}':<{layout.version}}Version: {driver or version}"
        ),
        _rule("-", layout.cells),
        _row(layout.cells, f"{'NPU':<{layout.first}}Name", "Health", layout.headings[0]),
        _row(layout.cells, f"{'Chip':<{layout.first}}{layout.id_column}", "Bus-Id", layout.headings[1]),
        strong,
    ]
    for index, chip in enumerate(chips):
        last_of_card = index + 1 == len(chips) or chips[index + 1].npu != chip.npu
        lines += [*_chip_rows(layout, chip), strong if last_of_card else weak]
    lines += _process_lines(layout, list(dict.fromkeys(chip.npu for chip in chips)), processes)
    return "\n".join(lines) + "\n"


def _chip_rows(layout: Layout, chip: ChipRow) -> tuple[str, str]:
    power, temperature, pages = layout.readings
    aicore, used, total = layout.usage
    device = str(chip.device) if layout.id_column else ""
    upper = (
        f"{chip.power:<{power}}{chip.temperature_c:<{temperature}}"
        f"{chip.hugepages_used:<{pages}}/ {chip.hugepages_total}"
    )
    lower = f"{chip.aicore_percent:<{aicore}}"
    if layout.hbm:
        lower += f"{chip.ddr_used_mb:<{used}}/ {chip.ddr_total_mb:<{total}}"
        lower += f"{chip.memory_used_mb:<{layout.hbm}}/ {chip.memory_total_mb}"
    else:
        lower += f"{chip.memory_used_mb:<{used}}/ {chip.memory_total_mb}"
    return (
        _row(layout.cells, f"{chip.npu:<{layout.first}}{chip.name}", chip.health, upper),
        _row(layout.cells, f"{chip.chip:<{layout.first}}{device}", chip.bus_id, lower),
    )


def _process_lines(layout: Layout, npus: list[int], processes: list[ProcessRow]) -> list[str]:
    strong = _rule("=", layout.cells)
    cells = (*layout.cells[:2], *layout.process_cells)
    heading = _row(cells, f"{'NPU':<8}Chip", "Process id", *layout.process_headings)
    lines = [_rule("-", layout.cells), heading, strong]
    for npu in npus:
        rows = [row for row in processes if row.npu == npu]
        container = ["NA"] * (len(layout.process_cells) - 2)
        lines += [
            _row(cells, f"{row.npu:<8}{row.chip}", str(row.pid), row.name, str(row.memory_mb), *container)
            for row in rows
        ]
        if not rows:
            lines.append(_row((sum(layout.cells) + 2,), f"No running processes found in NPU {npu}"))
        lines.append(strong)
    return lines


def _rule(stroke: str, widths: tuple[int, ...]) -> str:
    return "+" + "+".join(stroke * width for width in widths) + "+"


def _row(widths: tuple[int, ...], *cells: str) -> str:
    return "|" + "|".join(f" {cell}".ljust(width) for cell, width in zip(cells, widths, strict=True)) + "|"
