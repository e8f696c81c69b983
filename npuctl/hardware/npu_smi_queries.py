"""Parsers of `npu-smi info -l` and `-t TYPE`: text in, records out, nothing else.

Lay-outs: hicann/driver (npu-smi's own printing and its 950 manual) and published outputs of 910A,
910B, A3 and 310P hosts. Blocks of several chips are told apart by "Chip ID", which stands below the
values of a chip (usages, memory, ecc, proc-mem, health) or above them (common); where one chip was
asked for (-c), or on a 950, it does not stand there at all.

Give the output with its last newline, as the tool printed it: a line without one may be cut, and its
value is refused unless it is a word, such as "OK", that no other begins with. Ansible's `command` strips it; whoever knows that the tool ended by itself puts it
back. Keys that are not known are left out; what is known and cannot be read is an error.

Every parser raises NotSupportedError, CardGoneError or RefusedError for a refusal, DriverUnusableError
for a driver that cannot be used, and NpuSmiParseError, their parent, for everything else.
"""

from __future__ import annotations

import re

from npuctl.hardware.npu_smi_blocks import Block, blocks_begun_by_chip, blocks_ended_by_chip
from npuctl.hardware.npu_smi_fields import (
    HEXADECIMAL,
    NOT_ENDED,
    PERCENT,
    TEMPERATURE,
    UNSIGNED_32,
    Field,
    integer_of,
    read_fields,
    text_of,
)
from npuctl.hardware.npu_smi_query_records import (
    ChipCommon,
    ChipEcc,
    ChipHealth,
    ChipMemory,
    ChipUsages,
    Common,
)
from npuctl.hardware.npu_smi_records import NpuSmiParseError

_HEADING = ("NPU ID", "Chip Count")
_HEALTH_KEYS = ("Health Status", "Health")
_HEALTH_WORD = re.compile(r"[A-Za-z][A-Za-z ]{0,30}")
_FAULTY = frozenset({"Warning", "Alarm", "Critical"})  # npu-smi gives codes for these
_ERROR_CODES = re.compile(r"[0-9A-Fa-f]{4,8}(?:\s+[0-9A-Fa-f]{4,8})*")
_ANY_WORDS = re.compile(r".{1,400}")
# Printed in the place of an information, without the margin of one.
_NO_INFORMATION = "Failed to get error information for error code"

USAGE_KEYS = (
    "DDR Capacity(MB)",
    "Memory Capacity(MB)",
    "HBM Capacity(MB)",
    "Aicore Usage Rate(%)",
    "HBM Usage Rate(%)",
    "DDR Usage Rate(%)",
    "NPU Utilization(%)",
)
# Those that neither common nor memory has: without a "Chip ID" at its end, an answer may be one of these, cut.
_USAGE_ALONE = (
    "DDR Usage Rate(%)",
    "DDR Hugepages Total(page)",
    "Hugepages Total(page)",
    "Aivector Usage Rate(%)",
    "Aicpu Usage Rate(%)",
    "HBM Bandwidth Usage Rate(%)",
    "NPU Utilization(%)",
)
COMMON_KEYS = ("Temperature(C)", "Aicore Freq(MHZ)", "Aicore curFreq(MHZ)", "Aicore Count")
MEMORY_KEYS = (
    "DDR Clock Speed(MHz)",
    "HBM Clock Speed(MHz)",
    "Clock Speed(MHz)",
    "HBM Temperature(C)",
)
ECC_COUNTER = re.compile(r"(?:(?:DDR|HBM) )?(Single|Double)[ -](?:Bit|bit) .*(?:Count|Cnt)")
# The counter that an answer without a "Chip ID" below it ends with, of an HBM, a 310P and a 310.
_LAST_COUNTERS = (
    "HBM Double Bit Isolated Pages Count",
    "DDR Double Bit Next-Isolated Pages Count",
    "Double-bit Error Count",
)
_POWER_KEYS = ("NPU Real-time Power(W)", "Power Dissipation(W)")  # the second: 310, 310B


def parse_health(text: str) -> tuple[ChipHealth, ...]:
    """Read `npu-smi info -t health`.

    Ask with -c: without it a 910B2C in Alarm was seen to answer OK, for its controller.
    """
    query = "npu-smi info -t health"
    first = (*_HEALTH_KEYS, "Error Code", "NPU ID")
    return tuple(
        _health(block)
        for block in blocks_ended_by_chip(read_fields(text, query, first, without_value=_ANY_WORDS))
    )


def _health(block: Block) -> ChipHealth:
    fields, informations = _without_informations(block.fields)
    values = Block(block.npu, block.chip, block.unit, tuple(fields)).values
    word = text_of(values.require(*_HEALTH_KEYS), _HEALTH_WORD)
    codes = tuple((values.text("Error Code", _ERROR_CODES) or "").split())
    if word in _FAULTY and values.field("Error Code") is None:
        raise NpuSmiParseError(f"{word} without an error code: the text is cut")
    if codes and not any(field.key == "Error Information" for field in block.fields):
        raise NpuSmiParseError("error codes without an information: the text is cut")
    if len(informations) != len(codes) and informations:
        raise NpuSmiParseError(f"{len(codes)} error codes, but {len(informations)} informations")
    return ChipHealth(block.npu, block.chip, word, codes, informations, controller=bool(block.unit))


def _without_informations(fields: tuple[Field, ...]) -> tuple[list[Field], tuple[str, ...]]:
    """The error informations: one a line below their key, each after a ":" alone, or a failure's sentence."""
    others: list[Field] = []
    found: list[str] = []
    begun = False
    for field in fields:
        text = field.source.content
        if field.key == "Error Information":
            if begun:
                raise field.error("a second 'Error Information'")
            begun = True
            information = text_of(field)
            found += [] if information is None else [information]
        elif begun and field.key == "":
            found.append(text_of(field) or "")
        elif begun and text.startswith(_NO_INFORMATION):
            found.append(f"{field.key}: {text_of(field)}")
        elif begun and found and ":" not in text:
            if not field.source.ended:
                raise field.error(NOT_ENDED)
            found[-1] += f" {text}"  # an information that has a line's end in it
        elif ":" not in text:
            raise field.error("not a line of `npu-smi info -t health`")
        else:
            others.append(field)
    return others, tuple(found)


def parse_usages(text: str) -> tuple[ChipUsages, ...]:
    """Read `npu-smi info -t usages`."""
    fields = read_fields(text, "npu-smi info -t usages", (*_HEADING, *USAGE_KEYS))
    return tuple(_usages(block) for block in blocks_ended_by_chip(fields) if not block.unit)


def _usages(block: Block) -> ChipUsages:
    values = block.values
    values.require(*(_USAGE_ALONE if block.chip is None else USAGE_KEYS))

    def percent(*keys: str) -> int | None:
        return values.integer(*keys, pattern=PERCENT)

    return ChipUsages(
        npu=block.npu,
        chip=block.chip,
        ddr_capacity_mb=values.integer("DDR Capacity(MB)", "Memory Capacity(MB)"),
        ddr_usage_percent=percent("DDR Usage Rate(%)", "Memory Usage Rate(%)"),
        ddr_hugepages=values.integer("DDR Hugepages Total(page)", "Hugepages Total(page)"),
        ddr_hugepages_usage_percent=percent("DDR Hugepages Usage Rate(%)", "Hugepages Usage Rate(%)"),
        hbm_capacity_mb=values.integer("HBM Capacity(MB)"),
        hbm_usage_percent=percent("HBM Usage Rate(%)"),
        aicore_percent=percent("Aicore Usage Rate(%)"),
        aivector_percent=percent("Aivector Usage Rate(%)"),
        aicube_percent=percent("Aicube Usage Rate(%)"),
        vectorcore_percent=percent("Vectorcore Usage Rate(%)"),
        aicpu_percent=percent("Aicpu Usage Rate(%)"),
        ctrlcpu_percent=percent("Ctrlcpu Usage Rate(%)"),
        ddr_bandwidth_percent=percent("DDR Bandwidth Usage Rate(%)", "Memory Bandwidth Usage Rate(%)"),
        hbm_bandwidth_percent=percent("HBM Bandwidth Usage Rate(%)"),
        npu_utilization_percent=percent("NPU Utilization(%)"),
    )


def parse_common(text: str) -> Common:
    """Read `npu-smi info -t common`; the controller's temperature and power are kept apart."""
    fields = read_fields(
        text,
        "npu-smi info -t common",
        (*_HEADING, *COMMON_KEYS, "Chip ID", "Memory Usage Rate(%)", "HBM Usage Rate(%)"),
    )
    blocks = blocks_begun_by_chip(fields)
    chips = tuple(_common(block) for block in blocks if not block.unit)
    if not chips:
        raise NpuSmiParseError("no chip in `npu-smi info -t common`")
    controllers = [block.values for block in blocks if block.unit == "mcu"]
    if len(controllers) > 1:
        raise NpuSmiParseError("a second controller in `npu-smi info -t common`")
    controller = controllers[0] if controllers else None
    return Common(
        npu=blocks[0].npu,
        chips=chips,
        controller_temperature_c=controller.integer("Temperature(C)", pattern=TEMPERATURE)
        if controller
        else None,
        card_power_w=controller.number(*_POWER_KEYS) if controller else None,
    )


def _common(block: Block) -> ChipCommon:
    values = block.values
    values.require("Temperature(C)")
    return ChipCommon(
        chip=block.chip,
        memory_usage_percent=values.integer("Memory Usage Rate(%)", pattern=PERCENT),
        hbm_usage_percent=values.integer("HBM Usage Rate(%)", pattern=PERCENT),
        aicore_percent=values.integer("Aicore Usage Rate(%)", pattern=PERCENT),
        aicore_frequency_mhz=values.integer("Aicore Freq(MHZ)"),
        aicore_current_frequency_mhz=values.integer("Aicore curFreq(MHZ)"),
        aicore_count=values.integer("Aicore Count"),
        temperature_c=values.integer("Temperature(C)", pattern=TEMPERATURE),
        power_w=values.number(*_POWER_KEYS),
    )


def parse_memory(text: str) -> tuple[ChipMemory, ...]:
    """Read `npu-smi info -t memory`."""
    first = (*_HEADING, *MEMORY_KEYS, "DDR Capacity(MB)", "HBM Capacity(MB)", "Capacity(MB)")
    fields = read_fields(text, "npu-smi info -t memory", first)
    return tuple(_memory(block) for block in blocks_ended_by_chip(fields) if not block.unit)


def _memory(block: Block) -> ChipMemory:
    values = block.values
    values.require(*MEMORY_KEYS)
    return ChipMemory(
        npu=block.npu,
        chip=block.chip,
        ddr_capacity_mb=values.integer("DDR Capacity(MB)", "Capacity(MB)"),
        ddr_clock_mhz=values.integer("DDR Clock Speed(MHz)", "Clock Speed(MHz)"),
        hbm_capacity_mb=values.integer("HBM Capacity(MB)"),
        hbm_clock_mhz=values.integer("HBM Clock Speed(MHz)"),
        hbm_temperature_c=values.integer("HBM Temperature(C)", pattern=TEMPERATURE),
        hbm_manufacturer_id=values.text("HBM Manufacturer ID", HEXADECIMAL),
    )


def parse_ecc(text: str) -> tuple[ChipEcc, ...]:
    """Read `npu-smi info -t ecc`; a counter that is missing would be an error that nobody sees."""
    first = (*_HEADING, "DDR Single Bit Error Count", "HBM Single Bit Error Count", "Single-bit Error Count")
    fields = read_fields(text, "npu-smi info -t ecc", first)
    return tuple(_ecc(block) for block in blocks_ended_by_chip(fields) if not block.unit)


def _ecc(block: Block) -> ChipEcc:
    counters: dict[str, int] = {}
    for field in block.values:
        if ECC_COUNTER.fullmatch(field.key):
            value = integer_of(field, UNSIGNED_32)
            if value is None:
                raise field.error("a counter without a number")
            counters[field.key] = value
    single = {name.replace("Single", "Double") for name in counters if "Single" in name}
    if not single or single != {name for name in counters if "Double" in name}:
        raise NpuSmiParseError(f"counters of one and of two bits do not pair in {block.where}")
    if block.chip is None and not any(name in counters for name in _LAST_COUNTERS):
        raise NpuSmiParseError("the last counters are missing: the text is cut")
    return ChipEcc(block.npu, block.chip, counters)
