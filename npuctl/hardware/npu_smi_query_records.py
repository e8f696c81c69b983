"""What `npu-smi info -l` and `-t TYPE` say, as records; and the errors for what it refuses to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from npuctl.hardware.npu_smi_records import NpuSmiParseError


class RefusedError(NpuSmiParseError):
    """npu-smi ran and refused the query; the text is as it should be.

    Attributes:
        words: what npu-smi said, its first line.
    """

    def __init__(self, words: str, *, line: str, line_number: int) -> None:
        super().__init__("npu-smi refused the query", line=line, line_number=line_number)
        self.words = words


class NotSupportedError(RefusedError):
    """This product, or this driver, has no answer to the query: nothing is wrong.

    Attributes:
        query: the word after -t as npu-smi repeats it, such as "spod-info".
    """

    def __init__(self, query: str, *, words: str, line: str, line_number: int) -> None:
        super().__init__(words, line=line, line_number=line_number)
        self.query = query


class CardGoneError(RefusedError):
    """npu-smi does not know the card or the chip: a wrong number, or the card dropped off the bus."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """The answer of a machine that has no such thing, where that is an answer: `-t topo` of some cards."""

    query: str


@dataclass(frozen=True, slots=True)
class ListedNpu:
    """One card of `npu-smi info -l`; what the product does not show is None."""

    npu: int
    chip_count: int | None
    product_name: str | None
    serial_number: str | None


@dataclass(frozen=True, slots=True)
class NpuListing:
    """`npu-smi info -l`.

    Attributes:
        total: the count that npu-smi gives.
        complete: as many cards are listed as the count says; excerpts in manuals have fewer.
    """

    total: int
    npus: tuple[ListedNpu, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class CardBoard:
    """`npu-smi info -t board -i N`: one card. "NA" and what the product does not show are None.

    Attributes:
        software_version: of the driver that runs, which after an update may not be the one on disk.
        compatibility: "OK", "NOK" or "UNKNOWN" between driver and firmware; "NOT SUPPORT" when asked by another than root.
        chip_name: on a 950 alone, where this query answers for the chip too; so are the last two.
    """

    npu: int
    product_name: str | None
    model: str | None
    manufacturer: str | None
    serial_number: str | None
    software_version: str | None
    firmware_version: str | None
    compatibility: str | None
    board_id: str | None
    main_board_id: str | None
    pcb_id: str | None
    bom_id: str | None
    bus_id: str | None
    slot_id: int | None
    pci_vendor_id: str | None
    pci_device_id: str | None
    subsystem_vendor_id: str | None
    subsystem_device_id: str | None
    chip_count: int | None
    chip_name: str | None
    npu_name: str | None
    die_ids: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChipBoard:
    """`npu-smi info -t board -i N -c C`: one chip. "NA" and what the product does not show are None.

    Attributes:
        chip_type: "Ascend" on an A2; an A3 has npu_name instead.
        die_ids: the ids by npu-smi's word for the die: "VDie ID", "NDie ID", "DDie ID" or "Die ID".
    """

    npu: int
    chip: int
    chip_type: str | None
    chip_name: str
    npu_name: str | None
    chip_version: str | None
    board_id: str | None
    pcb_id: str | None
    bom_id: str | None
    die_ids: Mapping[str, str]
    position: int | None
    bus_id: str | None
    firmware_version: str | None

    @property
    def soc_version(self) -> str | None:
        """The name that compilers take, such as Ascend910B3 or Ascend910_9392 (MindStudio ModelSlim docs)."""
        if self.npu_name:
            return f"{self.chip_name}_{self.npu_name}"
        return f"{self.chip_type}{self.chip_name}" if self.chip_type else None


@dataclass(frozen=True, slots=True)
class ChipHealth:
    """One chip in `npu-smi info -t health`.

    Attributes:
        npu: None where the answer does not repeat it, which is so when a chip was asked for.
        chip: None likewise, and for a controller.
        health: "OK", "Warning", "Alarm", "Critical", "UNKNOWN" or a word not seen yet; None for "NA".
        error_codes: hexadecimal, as printed.
        error_informations: one a code, in the same order; empty for "NA".
        controller: this is the card's management controller, not a chip.
    """

    npu: int | None
    chip: int | None
    health: str | None
    error_codes: tuple[str, ...]
    error_informations: tuple[str, ...]
    controller: bool


@dataclass(frozen=True, slots=True)
class ChipUsages:
    """One chip in `npu-smi info -t usages`; what the product does not show is None, rates are percent.

    On a 310P the memory is "DDR", on a 910B and later "HBM" (whose DDR is 0); a 310 says "Memory".
    """

    npu: int | None
    chip: int | None
    ddr_capacity_mb: int | None
    ddr_usage_percent: int | None
    ddr_hugepages: int | None
    ddr_hugepages_usage_percent: int | None
    hbm_capacity_mb: int | None
    hbm_usage_percent: int | None
    aicore_percent: int | None
    aivector_percent: int | None
    aicube_percent: int | None
    vectorcore_percent: int | None
    aicpu_percent: int | None
    ctrlcpu_percent: int | None
    ddr_bandwidth_percent: int | None
    hbm_bandwidth_percent: int | None
    npu_utilization_percent: int | None


@dataclass(frozen=True, slots=True)
class ChipCommon:
    """One chip in `npu-smi info -t common`; what the product does not show is None."""

    chip: int | None
    memory_usage_percent: int | None
    hbm_usage_percent: int | None
    aicore_percent: int | None
    aicore_frequency_mhz: int | None
    aicore_current_frequency_mhz: int | None
    aicore_count: int | None
    temperature_c: int | None
    power_w: float | None


@dataclass(frozen=True, slots=True)
class Common:
    """`npu-smi info -t common`.

    Attributes:
        controller_temperature_c: of the management controller ("mcu"), which is not the chip's.
        card_power_w: what the controller measures; on a 310P the only power there is.
    """

    npu: int | None
    chips: tuple[ChipCommon, ...]
    controller_temperature_c: int | None
    card_power_w: float | None


@dataclass(frozen=True, slots=True)
class ChipMemory:
    """One chip in `npu-smi info -t memory`; what the product does not show is None."""

    npu: int | None
    chip: int | None
    ddr_capacity_mb: int | None
    ddr_clock_mhz: int | None
    hbm_capacity_mb: int | None
    hbm_clock_mhz: int | None
    hbm_temperature_c: int | None
    hbm_manufacturer_id: str | None


@dataclass(frozen=True, slots=True)
class ChipEcc:
    """One chip in `npu-smi info -t ecc`.

    Attributes:
        counters: every counter under npu-smi's own name for it.
    """

    npu: int | None
    chip: int | None
    counters: Mapping[str, int]

    @property
    def uncorrectable(self) -> int:
        """Errors of two bits since the driver was loaded, of all memories of the chip."""
        return self._sum("Double Bit Error Count")

    @property
    def uncorrectable_ever(self) -> int:
        """Errors of two bits that the chip remembers over reboots."""
        return self._sum("Double Bit Aggregate Total Err Cnt")

    @property
    def correctable(self) -> int:
        """Errors of one bit since the driver was loaded, of all memories of the chip."""
        return self._sum("Single Bit Error Count")

    def _sum(self, counter: str) -> int:
        names = [name for name in self.counters if name.replace("-bit", " Bit").endswith(counter)]
        return sum(self.counters[name] for name in names)


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """A process in `npu-smi info -t proc-mem`; the name is empty where npu-smi could not read it."""

    pid: int
    name: str
    memory_mb: int


@dataclass(frozen=True, slots=True)
class ChipProcesses:
    """One chip in `npu-smi info -t proc-mem`."""

    npu: int | None
    chip: int | None
    processes: tuple[ProcessMemory, ...]


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """An event of `npu-smi info -t current-fault-event`."""

    event_id: str
    severity: int
    node_type: int
    node_id: int
    sub_node_type: int
    sub_node_id: int


@dataclass(frozen=True, slots=True)
class Topology:
    """`npu-smi info -t topo`.

    Attributes:
        devices: the names of rows and columns: NPU0 …, on an A3 Phy-ID0 …, then NIC0 ….
        links: devices x devices; "X" on the diagonal, else one of the legend's words.
        cpu_affinity: one a device, such as "0-63,128-191"; None where the machine has none.
    """

    devices: tuple[str, ...]
    links: tuple[tuple[str, ...], ...]
    cpu_affinity: tuple[str | None, ...]
