"""The parsers of npu-smi's queries on what nobody thought of: any text, texts that are cut or lack a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuctl.hardware.npu_smi_answer import parse_answer
from npuctl.hardware.npu_smi_cards import (
    parse_board,
    parse_list,
    parse_super_pod,
    parse_topology,
    parse_types,
)
from npuctl.hardware.npu_smi_events import parse_fault_events, parse_processes
from npuctl.hardware.npu_smi_queries import (
    parse_common,
    parse_ecc,
    parse_health,
    parse_memory,
    parse_usages,
)
from npuctl.hardware.npu_smi_query_records import ChipEcc
from npuctl.hardware.npu_smi_records import NpuSmiParseError
from npuctl.hardware.super_pod import SuperPodPlace, decode_sdid

SAMPLES = Path(__file__).parent.parent / "unit" / "hardware" / "samples" / "queries"
REFUSALS = {"board_card_gone", "spod_unsupported"}
TEXTS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted(SAMPLES.glob("*.txt"))
    if path.stem not in REFUSALS
}
PARSERS: tuple[Callable[[str], object], ...] = (
    parse_answer,
    parse_board,
    parse_common,
    parse_ecc,
    parse_fault_events,
    parse_health,
    parse_list,
    parse_memory,
    parse_processes,
    parse_super_pod,
    parse_topology,
    parse_types,
    parse_usages,
)
thorough = settings(max_examples=400)


def _read(text: str) -> object | None:
    try:
        return parse_answer(text)[1]
    except NpuSmiParseError:
        return None


def _differs(part: Any, whole: Any) -> str:
    """Where a value differs from the whole's; "" where every value that is there is the whole's."""
    if part is None or part == whole:
        return ""
    if is_dataclass(part) and type(part) is type(whole):
        found = [
            f"{field.name}: {_differs(getattr(part, field.name), getattr(whole, field.name))}"
            for field in fields(part)
            if field.name != "complete" and _differs(getattr(part, field.name), getattr(whole, field.name))
        ]
        if (
            isinstance(part, ChipEcc)
            and isinstance(whole, ChipEcc)
            and part.uncorrectable != whole.uncorrectable
        ):
            found.append("uncorrectable")
        return ", ".join(found)
    if isinstance(part, Mapping) and isinstance(whole, Mapping):
        return ", ".join(key for key in part if key not in whole or part[key] != whole[key])
    if isinstance(part, tuple) and isinstance(whole, tuple) and len(part) <= len(whole):
        if part and is_dataclass(part[0]):  # an item may be missing, none may be another
            return "" if all(any(not _differs(one, other) for other in whole) for one in part) else "items"
        return "another tuple" if part else ""
    return f"{part!r} for {whole!r}"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in PARSERS:
        try:
            parse(text)
        except NpuSmiParseError as error:
            assert error.reason  # noqa: PT017


WORDS = sorted({line.partition(":")[0].strip() for text in TEXTS.values() for line in text.splitlines()})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(WORDS),
            st.sampled_from([" : ", ":", "", "\t:"]),
            st.sampled_from(["0", "1", "NA", "-", "", "65536", "OK", "0x19E5", "1.5"]) | st.text(max_size=12),
        ),
        max_size=25,
    )
)
@thorough
def test_any_heap_of_fields_is_read_or_refused(lines: list[tuple[str, str, str]]) -> None:
    text = "".join(f"{key}{colon}{value}\n" for key, colon, value in lines)
    for parse in PARSERS:
        try:
            parse(text)
        except NpuSmiParseError as error:
            assert error.reason  # noqa: PT017


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_text_cut_anywhere_never_says_another_thing(name: str) -> None:
    text, whole = TEXTS[name], _read(TEXTS[name])
    assert whole is not None
    for end in range(len(text)):
        cut = _read(text[:end])
        assert not _differs(cut, whole), f"cut after {text[:end][-60:]!r}"


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_text_without_a_line_never_says_another_thing(name: str) -> None:
    lines, whole = TEXTS[name].splitlines(keepends=True), _read(TEXTS[name])
    for number, line in enumerate(lines):
        left = _read("".join(lines[:number] + lines[number + 1 :]))
        assert type(left) in {type(whole), type(None)}, line
        assert not _differs(left, whole), line


@given(st.data())
@thorough
def test_a_damaged_text_is_read_or_refused(data: st.DataObject) -> None:
    text = TEXTS[data.draw(st.sampled_from(sorted(TEXTS)))]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 40)))
        text = text[:start] + data.draw(st.text(max_size=8) | st.just(text[end : end + 30])) + text[end:]
    for parse in PARSERS:
        try:
            parse(text)
        except NpuSmiParseError as error:
            assert error.reason  # noqa: PT017


@given(st.integers(0, 1023), st.integers(0, 15), st.integers(0, 3), st.integers(0, 65535))
def test_every_place_is_found_again_in_its_sdid(server: int, npu: int, chip: int, die: int) -> None:
    sdid = server << 22 | npu << 18 | chip << 16 | die
    assert decode_sdid(sdid) == SuperPodPlace(server, npu, chip, die)
