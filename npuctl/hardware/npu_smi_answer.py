"""Which query of npu-smi a text answers, judged by the text alone."""

from __future__ import annotations

import re
from collections.abc import Callable

from npuctl.hardware.npu_smi import parse_info, parse_mapping
from npuctl.hardware.npu_smi_cards import (
    is_matrix_heading,
    parse_board,
    parse_list,
    parse_super_pod,
    parse_topology,
    parse_types,
)
from npuctl.hardware.npu_smi_events import NO_PROCESS, parse_fault_events, parse_processes
from npuctl.hardware.npu_smi_fields import raise_if_refused
from npuctl.hardware.npu_smi_queries import (
    COMMON_KEYS,
    ECC_COUNTER,
    MEMORY_KEYS,
    USAGE_KEYS,
    parse_common,
    parse_ecc,
    parse_health,
    parse_memory,
    parse_usages,
)
from npuctl.hardware.npu_smi_query_records import NotSupportedError, Unsupported
from npuctl.hardware.npu_smi_records import NpuSmiParseError
from npuctl.hardware.npu_smi_text import Line, is_table_line, lines_of

_Parser = Callable[[str], object]
_MAPPING_HEADING = re.compile(r"NPU ID\s.*Chip ID\s.*Chip Name")
_HELP = re.compile(r"-t type\s.*")
# Of a table of which every line has something before it, such as a logger's name.
_BORDER_INSIDE = re.compile(r"\+[-=]{8,}[-=+]*\+")

# From the most telling key on: usages and common share keys with others and come last.
_BY_KEY: tuple[tuple[str, frozenset[str], _Parser], ...] = (
    ("list", frozenset({"Total Count", "Card Count"}), parse_list),
    ("spod-info", frozenset({"SDID", "Super Pod Size"}), parse_super_pod),
    ("current-fault-event", frozenset({"Fault Event Count"}), parse_fault_events),
    ("health", frozenset({"Health", "Health Status"}), parse_health),
    ("proc-mem", frozenset({"Process id", NO_PROCESS}), parse_processes),
    ("board", frozenset({"Software Version", "Chip Version", "Chip Type", "NPU Name"}), parse_board),
    ("memory", frozenset(MEMORY_KEYS), parse_memory),
    ("common", frozenset(COMMON_KEYS), parse_common),
    ("usages", frozenset(USAGE_KEYS), parse_usages),
)


def parse_answer(text: str) -> tuple[str, object]:
    """Read any output of npu-smi that npuctl knows.

    Returns:
        The query, as the word after -t, or "info", "mapping", "list" or "help"; and the parser's record.

    Raises:
        NpuSmiParseError: what the query's parser raises, or no query has such an answer.
    """
    lines = list(lines_of(text))
    if any(is_table_line(line) and line.content[0] in "+|" for line in lines):
        return "info", parse_info(text)
    if any(_MAPPING_HEADING.fullmatch(line.content) for line in lines):
        return "mapping", parse_mapping(text)
    if any(is_matrix_heading(line) for line in lines):
        return "topo", parse_topology(text)
    if any(_HELP.fullmatch(line.content) for line in lines):
        return "help", parse_types(text)
    name, parse = _by_key(lines)
    if parse is not None:
        return name, parse(text)
    try:
        for line in lines:
            raise_if_refused(line)
    except NotSupportedError as refusal:
        if refusal.query == "topo":
            return "topo", Unsupported(refusal.query)
        raise
    raise _unknown(lines)


def _unknown(lines: list[Line]) -> NpuSmiParseError:
    line = next((line for line in lines if _BORDER_INSIDE.search(line.content)), None)
    if line is None:
        return NpuSmiParseError("no output of npu-smi that is known")
    return NpuSmiParseError(
        "a table with something before each line", line=line.line, line_number=line.number
    )


def _by_key(lines: list[Line]) -> tuple[str, _Parser | None]:
    keys = {line.content.partition(":")[0].strip() for line in lines}
    for name, telling, parse in _BY_KEY:
        if keys & telling:
            return name, parse
    if any(ECC_COUNTER.fullmatch(key) for key in keys):
        return "ecc", parse_ecc
    return "", None
