"""`npu-smi info` and `-m` as real tools printed them; needs the corpus (NPUCTL_CORPUS)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from npuctl.hardware.npu_smi import Chip, DriverUnusableError, NpuSmiParseError, parse_info, parse_mapping


def _names(pattern: str) -> list[str]:
    """Files of the corpus at collection; one stand-in without it, so that the skip is counted."""
    folder = os.environ.get("NPUCTL_CORPUS")
    return sorted(path.name for path in (Path(folder) / "npu").glob(pattern)) if folder else ["the corpus"]


TABLES = [name for name in _names("npu-smi-info_*.txt") if "_broken_" not in name]
BROKEN = [name for name in _names("npu-smi-info_*.txt") if "_broken_" in name or name == "the corpus"]


def _number(text: str) -> float | None:
    return None if text in {"-", "NA"} else float(text)


def _as_expected(chip: Chip) -> dict[str, Any]:
    """The chip in the words of the corpus, which has one name for Phy-ID and Device."""
    return {
        "npu": chip.npu,
        "name": chip.name,
        "health": chip.health,
        "power": chip.power_w,
        "temp": chip.temperature_c,
        "chip": chip.chip,
        "phy": chip.device if chip.phy_id is None else chip.phy_id,
        "bus": chip.bus_id,
        "util": chip.aicore_percent,
        "mem": [chip.memory_used_mb, chip.memory_total_mb],
        "ddr": None if chip.ddr_used_mb is None else [chip.ddr_used_mb, chip.ddr_total_mb],
    }


@pytest.mark.parametrize("name", TABLES)
def test_every_table_reads_as_the_corpus_says(name: str, corpus: Path) -> None:
    expected = json.loads((corpus / "npu" / "expected.json").read_text(encoding="utf-8"))[name]
    info = parse_info((corpus / "npu" / name).read_text(encoding="utf-8"))
    for chip in expected["chips"]:
        chip["power"], chip["temp"] = _number(chip["power"]), _number(chip["temp"])
    assert info.driver_version == expected["version"]
    assert list(info.npus) == expected["npus"]
    assert [_as_expected(chip) for chip in info.chips] == expected["chips"]
    assert [
        {"npu": p.npu, "chip": p.chip, "pid": p.pid, "name": p.name, "mem": p.memory_mb}
        for p in info.processes
    ] == expected["processes"]


def test_every_expectation_of_the_corpus_has_its_table(corpus: Path) -> None:
    expected = json.loads((corpus / "npu" / "expected.json").read_text(encoding="utf-8"))
    assert set(expected) <= set(TABLES)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_refused(name: str, corpus: Path) -> None:
    with pytest.raises(NpuSmiParseError):
        parse_info((corpus / "npu" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "word",
    ["_cut.txt", "_elided.txt", "no-process-table", "process_cut", "trailing-spaces", "22.0.2_power-shown"],
)
def test_an_excerpt_is_not_called_complete(word: str, corpus: Path) -> None:
    for name in TABLES:
        if word in name:
            assert not parse_info((corpus / "npu" / name).read_text(encoding="utf-8")).complete


def test_an_unusable_driver_is_recognised(corpus: Path) -> None:
    with pytest.raises(DriverUnusableError) as caught:
        parse_info((corpus / "npu" / "npu-smi_driver-not-usable_-8005.txt").read_text(encoding="utf-8"))
    assert caught.value.ret == -8005


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("npu-smi-m_910a_8cards_four-columns.txt", [(n, 0, n, None, "Ascend 910A") for n in range(8)]),
        ("npu-smi-m_910b3_25.5.1_mcu-row.txt", [(0, 0, 0, None, "Ascend 910B3")]),
        ("npu-smi-m_950_doc.txt", [(0, 0, None, 0, "xxx")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_mapping_reads_as_its_index_says(name: str, rows: list[tuple[Any, ...]], corpus: Path) -> None:
    mapping = parse_mapping((corpus / "npu" / name).read_text(encoding="utf-8"))
    assert [(row.npu, row.chip, row.logic_id, row.phy_id, row.name) for row in mapping] == rows


@pytest.mark.parametrize("name", _names("*.txt"))
def test_no_file_of_the_corpus_surprises_either_parser(name: str, corpus: Path) -> None:
    text = (corpus / "npu" / name).read_text(encoding="utf-8")
    for parse in (parse_info, parse_mapping):
        try:
            parse(text)
        except NpuSmiParseError as error:
            assert error.reason  # noqa: PT017  either outcome is fine, another exception is not
