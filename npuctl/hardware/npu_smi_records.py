"""What npu-smi says, as records; and the errors for a text that does not say it."""

from __future__ import annotations

from dataclasses import dataclass

from npuctl.hardware.unreadable import UnreadableError


class NpuSmiParseError(UnreadableError):
    """The text is not, or not wholly, what npu-smi prints."""


class DriverUnusableError(NpuSmiParseError):
    """npu-smi ran and said that it cannot use the driver; the text is as it should be.

    Causes seen in the field for -8005: not root, no device nodes, chips held by another container,
    driver or firmware changed without a reboot (vllm-project/vllm-ascend issue 2698).

    Attributes:
        ret: the number that npu-smi gave, such as -8005.
    """

    def __init__(self, ret: int, *, line: str, line_number: int) -> None:
        super().__init__("npu-smi cannot use the driver", line=line, line_number=line_number)
        self.ret = ret


@dataclass(frozen=True, slots=True)
class Chip:
    """One chip (on an A3: one die) as `npu-smi info` shows it.

    Attributes:
        npu: the card's id, the `-i` of npu-smi; has gaps in containers and is sparse on 310P.
        chip: the chip's number on that card, the `-c` of npu-smi.
        phy_id: the physical id, on an A3; None where the table has no such column.
        device: the "Device" column of a 310P; None elsewhere.
        memory_used_mb: HBM, or the plain memory of a chip that has no HBM.
        ddr_used_mb: the memory beside the HBM (0 of 0 on a 910B); None without HBM.
        hugepages_used: None with drivers before 21.0.4, which do not say it.
    """

    npu: int
    chip: int
    phy_id: int | None
    name: str
    health: str
    temperature_c: int | None
    power_w: float | None
    bus_id: str | None
    aicore_percent: int | None
    memory_used_mb: int
    memory_total_mb: int
    device: int | None
    ddr_used_mb: int | None
    ddr_total_mb: int | None
    hugepages_used: int | None
    hugepages_total: int | None


@dataclass(frozen=True, slots=True)
class NpuProcess:
    """One row of the process table; drivers of some releases leave the name empty."""

    npu: int
    chip: int
    pid: int
    name: str
    memory_mb: int


@dataclass(frozen=True, slots=True)
class NpuSmiInfo:
    """What one call of `npu-smi info` said.

    An empty `processes` does not mean that the chips are free: from inside a container a chip shows
    tens of gigabytes in use and no process. Judge by memory.

    Attributes:
        version: of the tool; None when the text starts below that row.
        driver_version: of the driver, which may differ from the tool's.
        npus: card ids, in the table's order.
        complete: both tables are there and closed, every card is in both, nothing was left out.
    """

    version: str | None
    driver_version: str | None
    npus: tuple[int, ...]
    chips: tuple[Chip, ...]
    processes: tuple[NpuProcess, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class ChipMapping:
    """One row of `npu-smi info -m`: how one chip is called in each numbering."""

    npu: int
    chip: int
    logic_id: int | None
    phy_id: int | None
    name: str
