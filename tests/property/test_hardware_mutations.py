"""Texts of vendor tools, damaged in every place: refused, or read as no more than what they said before.

What a damage leaves no sign of is not asked for: a number that lost a digit at its edge to a blank, a
row pair that is gone with its borders, a word that is another word now.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from npuctl.hardware.hccn_conf import parse_hccn_conf
from npuctl.hardware.hccn_tool import parse_answer as parse_hccn_answer
from npuctl.hardware.lines import whole_lines
from npuctl.hardware.lspci import parse_lspci
from npuctl.hardware.npu_smi_answer import parse_answer
from npuctl.hardware.npu_smi_records import NpuSmiInfo
from npuctl.hardware.unreadable import UnreadableError

SAMPLES = Path(__file__).parent.parent / "unit" / "hardware" / "samples"
# Several chips' lines of -lldp: with fewer of them it is the answer of one chip.
ANOTHER_QUERY = {"lldp_grep_three_chips"}
REFUSALS = {"driver_unusable", "board_card_gone", "spod_unsupported"}
LSPCI = "".join(f"{bus:02x}:00.0 1200: 19e5:d802 (rev 20)\n" for bus in range(1, 9))

_IDS = ("npu", "chip", "pid", "device", "phy_id", "bus")

Reader = Callable[[str], object]
Facts = set[tuple[Hashable, ...]]


def _cases() -> Iterator[tuple[str, Reader, str]]:
    for folder in (SAMPLES, SAMPLES / "queries"):
        for path in sorted(folder.glob("*.txt")):
            if path.stem not in REFUSALS:
                yield path.stem, lambda text: parse_answer(text)[1], path.read_text(encoding="utf-8")
    for path in sorted((SAMPLES / "hccn").glob("*.txt")):
        if not path.stem.startswith("collected") and path.stem not in ANOTHER_QUERY:
            text = path.read_text(encoding="utf-8")
            yield path.stem, lambda answer: parse_hccn_answer(whole_lines(answer))[1], text
    conf = (SAMPLES / "hccn" / "hccn_a3_two_networks.conf").read_text(encoding="utf-8")
    yield "hccn.conf", lambda text: parse_hccn_conf(whole_lines(text)), conf
    yield "lspci", lambda text: parse_lspci(whole_lines(text)), LSPCI


CASES = {name: (read, text) for name, read, text in _cases()}
TABLES = [name for name, (_, text) in CASES.items() if text.lstrip()[:1] in {"+", "|"}]


def _read(read: Reader, text: str) -> object | None:
    try:
        return read(text)
    except UnreadableError as error:
        assert error.reason  # noqa: PT017  the only error there may be
        return None


def _facts(value: Any, at: tuple[Hashable, ...] = ()) -> Facts:
    """What a record says, by what it says it of; a list says its items, in no order."""
    if value is None or at[-1:] == ("complete",):
        return set()
    if is_dataclass(value) and not isinstance(value, type):
        ids = tuple(getattr(value, key, None) for key in _IDS)
        names = [field.name for field in fields(value)]
        return {fact for name in names for fact in _facts(getattr(value, name), (*at, ids, name))}
    if isinstance(value, dict):
        return {fact for key, item in value.items() for fact in _facts(item, (*at, key))}
    if isinstance(value, list | tuple):
        return {fact for item in value for fact in _facts(item, at)}
    return {(*at, value)}


def _numbers(facts: Facts) -> Facts:
    """Those that are not words: names, versions, codes and the like are whatever stands there."""
    return {fact for fact in facts if not isinstance(fact[-1], str)}


def _is_said(fact: tuple[Hashable, ...], said: Facts) -> bool:
    """Whether it was said before, be it of something that has lost its number since."""

    def alike(part: Hashable, before: Hashable) -> bool:
        if isinstance(part, tuple) and isinstance(before, tuple):
            return all(one in {None, other} for one, other in zip(part, before, strict=True))
        return part == before

    return fact in said or any(len(fact) == len(before) and all(map(alike, fact, before)) for before in said)


def _expect_no_more(name: str, mutants: Iterator[str], of: Callable[[Facts], Facts] = set) -> None:
    read, text = CASES[name]
    whole = read(text)
    said = of(_facts(whole))
    for mutant in mutants:
        left = _read(read, mutant)
        if left is None:
            continue
        new = [fact for fact in of(_facts(left)) if not _is_said(fact, said)]
        assert not new, mutant
        if isinstance(left, NpuSmiInfo) and isinstance(whole, NpuSmiInfo) and left.complete:
            assert left.npus != whole.npus or len(left.chips) == len(whole.chips), mutant


def _lines(name: str) -> list[str]:
    return CASES[name][1].splitlines(keepends=True)


@pytest.mark.parametrize("name", CASES)
def test_a_text_cut_at_any_byte(name: str) -> None:
    text = CASES[name][1]
    # Rows are alike: in a long text the first and the last of them stand for all.
    ends = [end for end in range(len(text)) if end < 1200 or end > len(text) - 500]
    _expect_no_more(name, (text[:end] for end in ends))


@pytest.mark.parametrize("name", CASES)
def test_a_text_without_a_line_or_with_one_twice(name: str) -> None:
    lines = _lines(name)
    for at in range(len(lines)):
        _expect_no_more(name, iter(["".join(lines[:at] + lines[at + 1 :])]))
        _expect_no_more(name, iter(["".join([*lines[: at + 1], *lines[at:]])]))


@pytest.mark.parametrize("name", CASES)
def test_two_lines_in_the_wrong_order(name: str) -> None:
    lines = _lines(name)
    for at in range(1, len(lines)):
        swapped = [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]
        _expect_no_more(name, iter(["".join(swapped)]))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("letter", ["x", "O", " "], ids=["x", "O", "blank"])
def test_a_digit_that_became_something_else(name: str, letter: str) -> None:
    text = CASES[name][1]
    digits = [at for at, one in enumerate(text) if one.isdigit() and text[at + 1 : at + 2] != "_"]
    if letter == " ":  # only between two digits, for at a number's edge nothing is left to see
        digits = [at for at in digits if text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit()]
    chosen = digits[:120] + digits[120:-60:7] + digits[120:][-60:]
    _expect_no_more(name, (text[:at] + letter + text[at + 1 :] for at in chosen), _numbers)


@pytest.mark.parametrize("name", TABLES)
def test_a_bar_too_many_or_too_few(name: str) -> None:
    text = CASES[name][1]
    rows = [at for at, one in enumerate(text) if text[text.rfind("\n", 0, at) + 1 : at + 1].startswith("|")]
    more = (text[:at] + "|" + text[at:] for at in [*rows[:700], *rows[700:][-600:]])
    _expect_no_more(name, more, _numbers)
    bars = [at for at, one in enumerate(text) if one == "|"]
    _expect_no_more(name, (text[:at] + text[at + 1 :] for at in bars), _numbers)
