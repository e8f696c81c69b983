"""Parsers of what npu-smi says of cards and boards: `info -l`, `-t board`, `-t topo`, `-t spod-info` and its help.

Sources and rules are those of npu_smi_queries.
"""

from __future__ import annotations

import re

from npuctl.hardware.npu_smi_fields import (
    BUS_ID,
    DIE_ID,
    HEXADECIMAL,
    INTEGER,
    NOT_ENDED,
    UNSIGNED_32,
    VERSION,
    Field,
    Values,
    integer_of,
    raise_if_refused,
    read_fields,
    text_of,
)
from npuctl.hardware.npu_smi_query_records import (
    CardBoard,
    ChipBoard,
    ListedNpu,
    NotSupportedError,
    NpuListing,
    Topology,
    Unsupported,
)
from npuctl.hardware.npu_smi_records import NpuSmiParseError
from npuctl.hardware.npu_smi_text import Line, lines_of, surrounds_output
from npuctl.hardware.super_pod import SuperPod, decode_sdid

_TOTAL_KEYS = ("Total Count", "Card Count")  # the second: 310, 310B
_LIST_KEYS = ("Product Name", "Serial Number", "Chip Count")
_DIE_KEYS = ("VDie ID", "NDie ID", "DDie ID", "Die ID")
_BOARD_ID = re.compile(r"0[xX][0-9A-Fa-f]{1,8}(?:\([0-9]{1,2}P\))?")

_DEVICE = re.compile(r"(?:NPU|Phy-ID|NIC)[0-9]{1,4}")
_AFFINITY = "CPU Affinity"
_AFFINITY_CELL = re.compile(r"[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*")
_LINKS = frozenset({"X", "SYS", "PHB", "HCCS", "PXB", "PIX", "SIO", "HCCS_SW", "UB", "NA"})
_BELOW_MATRIX = re.compile(r"Legend:|\w+\s*=\s.*|NIC[0-9]{1,4}: ?\S*")

_TYPES = re.compile(r"type:\s*((?:[\w-]+,\s+)*[\w-]+)\.", re.DOTALL)


def parse_list(text: str) -> NpuListing:
    """Read `npu-smi info -l`; an excerpt that shows fewer cards than it counts is not complete."""
    fields = read_fields(text, "npu-smi info -l", _TOTAL_KEYS)
    total = integer_of(fields[0])
    cards: list[list[Field]] = []
    for field in fields[1:]:
        if field.key == "NPU ID":
            cards.append([field])
        elif not cards:
            raise field.error("expected the first card's 'NPU ID'")
        else:
            cards[-1].append(field)
    npus = tuple(_listed(Values(card, f"card {card[0].value}")) for card in cards)
    keys = {frozenset(field.key for field in card if field.key in _LIST_KEYS) for card in cards}
    if total is None or len(npus) > total or len({npu.npu for npu in npus}) != len(npus):
        raise NpuSmiParseError(f"{total} cards are counted, {len(npus)} shown, or one twice")
    if len(keys) > 1:
        raise NpuSmiParseError("the cards have not the same keys: the text is cut")
    return NpuListing(total, npus, complete=len(npus) == total)


def _listed(values: Values) -> ListedNpu:
    return ListedNpu(
        npu=values.required_integer("NPU ID"),
        chip_count=values.integer("Chip Count"),
        product_name=values.text("Product Name"),
        serial_number=values.text("Serial Number"),
    )


def parse_board(text: str) -> CardBoard | ChipBoard:
    """Read `npu-smi info -t board`, of a card or, when it was asked with -c, of a chip."""
    values = Values(read_fields(text, "npu-smi info -t board", ("NPU ID", "Product Name")), "the answer")
    return _chip_board(values) if values.field("Chip ID") else _card_board(values)


def parse_card_board(text: str) -> CardBoard:
    """Read `npu-smi info -t board -i N`."""
    board = parse_board(text)
    if not isinstance(board, CardBoard):
        raise NpuSmiParseError("the answer is of a chip, not of a card")
    return board


def _card_board(values: Values) -> CardBoard:
    values.require("Software Version")
    values.require("Firmware Version")
    return CardBoard(
        npu=values.required_integer("NPU ID"),
        product_name=values.text("Product Name"),
        model=values.text("Model"),
        manufacturer=values.text("Manufacturer"),
        serial_number=values.text("Serial Number"),
        software_version=values.text("Software Version", VERSION),
        firmware_version=values.text("Firmware Version", VERSION),
        compatibility=values.text("Compatibility"),
        board_id=values.text("Board ID", HEXADECIMAL),
        main_board_id=values.text("Main Board ID", _BOARD_ID),
        pcb_id=values.text("PCB ID"),
        bom_id=values.text("BOM ID", INTEGER),
        bus_id=values.text("PCIe Bus Info", BUS_ID),
        slot_id=values.integer("Slot ID"),
        pci_vendor_id=values.text("PCI Vendor ID", HEXADECIMAL),
        pci_device_id=values.text("PCI Device ID", HEXADECIMAL),
        subsystem_vendor_id=values.text("Subsystem Vendor ID", HEXADECIMAL),
        subsystem_device_id=values.text("Subsystem Device ID", HEXADECIMAL),
        chip_count=values.integer("Chip Count"),
        chip_name=values.text("Chip Name"),
        npu_name=values.text("NPU Name"),
        die_ids=_die_ids(values),
    )


def _chip_board(values: Values) -> ChipBoard:
    name = values.require("Chip Name")
    chip_name = text_of(name)
    if chip_name is None:
        raise name.error("a chip without a name")
    return ChipBoard(
        npu=values.required_integer("NPU ID"),
        chip=values.required_integer("Chip ID"),
        chip_type=values.text("Chip Type"),
        chip_name=chip_name,
        npu_name=values.text("NPU Name"),
        chip_version=values.text("Chip Version"),
        board_id=values.text("Board ID", HEXADECIMAL),
        pcb_id=values.text("PCB ID"),
        bom_id=values.text("BOM ID", INTEGER),
        die_ids=_die_ids(values),
        position=values.integer("Chip Position ID"),
        bus_id=values.text("PCIe Bus Info", BUS_ID),
        firmware_version=values.text("Firmware Version", VERSION),
    )


def _die_ids(values: Values) -> dict[str, str]:
    found = {key: values.text(key, DIE_ID) for key in _DIE_KEYS}
    return {key: die for key, die in found.items() if die is not None}


def parse_super_pod(text: str) -> SuperPod:
    """Read `npu-smi info -t spod-info`; products without a super pod raise NotSupportedError."""
    query = "npu-smi info -t spod-info"
    values = Values(read_fields(text, query, ("SDID", "Super Pod Size")), "the answer")

    def number(key: str) -> int | None:
        return values.integer(key, pattern=UNSIGNED_32)

    # An SDID says the server too: it proves an index that no newline follows.
    sdid, kind = number("SDID"), number("Super Pod Type")
    if sdid is None and kind is None:
        values.require("SDID")
    server = values.require("Server Index", "Chassis ID")
    proven = (
        server.key == "Server Index" and sdid is not None and server.value == str(decode_sdid(sdid).server)
    )
    return SuperPod(
        sdid=sdid,
        super_pod_size=values.required_integer("Super Pod Size", pattern=UNSIGNED_32),
        super_pod_id=values.required_integer("Super Pod ID", pattern=UNSIGNED_32),
        server_index=int(server.value) if proven else number("Server Index"),
        chassis_id=number("Chassis ID"),
        super_pod_type=kind,
    )


def parse_topology(text: str) -> Topology | Unsupported:
    """Read `npu-smi info -t topo`; "does not support querying topo" is an answer, not an error."""
    try:
        return _topology(text)
    except NotSupportedError as refusal:
        return Unsupported(refusal.query)


def is_matrix_heading(line: Line) -> bool:
    """Whether this line is the heading of a topology's matrix."""
    words = line.content.removesuffix(_AFFINITY).split()
    return bool(words) and all(_DEVICE.fullmatch(word) for word in words)


def _topology(text: str) -> Topology:
    devices: tuple[str, ...] = ()
    has_affinity = False
    rows: list[tuple[str, ...]] = []
    affinity: list[str | None] = []
    ended = False
    for line in lines_of(text):
        field = Field(line.content, "", line)
        if not devices:
            if is_matrix_heading(line):
                has_affinity = line.content.endswith(_AFFINITY)
                devices = tuple(line.content.removesuffix(_AFFINITY).split())
                if len(set(devices)) != len(devices):
                    raise field.error("a device that stands twice")
                continue
            raise_if_refused(line)
        elif len(rows) < len(devices):
            links, cpus = _matrix_row(field, devices, len(rows), has_affinity=has_affinity)
            rows.append(links)
            affinity.append(cpus)
        elif surrounds_output(line):
            ended = True
        elif ended or not _BELOW_MATRIX.fullmatch(line.content):
            raise field.error("not a line of `npu-smi info -t topo`")
    if not devices:
        raise NpuSmiParseError("no matrix found that `npu-smi info -t topo` prints")
    if len(rows) != len(devices):
        raise NpuSmiParseError(f"the matrix has {len(devices)} columns but {len(rows)} rows")
    return Topology(devices, tuple(rows), tuple(affinity))


def _matrix_row(
    field: Field, devices: tuple[str, ...], number: int, *, has_affinity: bool
) -> tuple[tuple[str, ...], str | None]:
    words = field.source.content.split()
    links = tuple(words[1 : len(devices) + 1])
    rest = words[len(devices) + 1 :]
    if not field.source.ended:
        raise field.error(NOT_ENDED)
    if words[0] != devices[number] or len(links) != len(devices) or len(rest) > has_affinity:
        raise field.error(f"not the row of {devices[number]}")
    if not set(links) <= _LINKS or [word == "X" for word in links] != [
        device == devices[number] for device in devices
    ]:
        raise field.error(f"links of {devices[number]} that are none")
    cpus = rest[0] if rest and rest[0] != "NA" else None
    if cpus is not None and not _AFFINITY_CELL.fullmatch(cpus):
        raise field.error(f"cannot read the CPUs in {cpus!r}")
    return links, cpus


def parse_types(text: str) -> tuple[str, ...]:
    """Read the words that -t takes out of `npu-smi info -h`."""
    lines = "\n".join(line.content for line in lines_of(text))
    found = _TYPES.search(lines)
    if "npu-smi info" not in lines or not found:
        raise NpuSmiParseError("no list of types: this is not the output of `npu-smi info -h`")
    return tuple(word.strip() for word in found[1].split(","))
