"""Parsers of what goes on on a chip: `npu-smi info -t proc-mem` and `-t current-fault-event`.

Sources and rules are those of npu_smi_queries.
"""

from __future__ import annotations

import re

from npuctl.hardware.npu_smi_blocks import Block, blocks_ended_by_chip
from npuctl.hardware.npu_smi_fields import Field, integer_of, read_fields, text_of
from npuctl.hardware.npu_smi_query_records import ChipProcesses, FaultEvent, ProcessMemory
from npuctl.hardware.npu_smi_records import NpuSmiParseError

_HEADING = ("NPU ID", "Chip Count")
NO_PROCESS = "No process in device."
_PROCESS_WITHOUT_VALUE = re.compile(r"No process in device\.|Get pid name failed\.")
_PROCESS = re.compile(r"([0-9]{1,10})\s+Process name\s*:\s*(.*?)\s*Process memory\(MB\)\s*:\s*([0-9]{1,9})")
_FAULT_EVENT = re.compile(
    r"event id=(0x[0-9A-Fa-f]{1,8}), severity=([0-9]{1,3}), node type ex=([0-9]{1,9}), node id=([0-9]{1,9}), "
    r"sub node type ex=([0-9]{1,9}), sub node id=([0-9]{1,9})"
)


def parse_processes(text: str) -> tuple[ChipProcesses, ...]:
    """Read `npu-smi info -t proc-mem`."""
    first = (*_HEADING, "Process id", NO_PROCESS)
    fields = read_fields(text, "npu-smi info -t proc-mem", first, without_value=_PROCESS_WITHOUT_VALUE)
    return tuple(_processes(block) for block in blocks_ended_by_chip(fields) if not block.unit)


def _processes(block: Block) -> ChipProcesses:
    idle = [field for field in block.fields if field.key == NO_PROCESS]
    processes = tuple(_process(field) for field in block.fields if field.key == "Process id")
    if bool(idle) == bool(processes) or len(idle) > 1:
        raise NpuSmiParseError(f"neither processes nor the word that there are none in {block.where}")
    return ChipProcesses(block.npu, block.chip, processes)


def _process(field: Field) -> ProcessMemory:
    text_of(field)
    found = _PROCESS.fullmatch(field.value)
    if not found:
        raise field.error("cannot read the process")
    return ProcessMemory(int(found[1]), found[2], int(found[3]))


def parse_fault_events(text: str) -> tuple[FaultEvent, ...]:
    """Read `npu-smi info -t current-fault-event`."""
    fields = read_fields(text, "npu-smi info -t current-fault-event", ("Fault Event Count",))
    count, events = integer_of(fields[0]), []
    for number, field in enumerate(fields[1:]):
        if field.key != ("" if number else "Fault Event Information"):
            raise field.error("not a line of `npu-smi info -t current-fault-event`")
        if text_of(field) is None and count == 0:
            continue
        found = _FAULT_EVENT.fullmatch(field.value)
        if not found:
            raise field.error("cannot read the event")
        events.append(FaultEvent(found[1], *(int(part) for part in found.groups()[1:])))
    if len(fields) == 1 or len(events) != count:
        raise NpuSmiParseError(f"{count} fault events are counted, {len(events)} shown")
    return tuple(events)
