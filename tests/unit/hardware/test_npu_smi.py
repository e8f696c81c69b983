"""`npu-smi info` of every lay-out, from outputs of our own making with invented values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from npuctl.hardware.npu_smi import (
    Chip,
    ChipMapping,
    DriverUnusableError,
    NpuProcess,
    NpuSmiParseError,
    parse_info,
    parse_mapping,
)

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def test_an_idle_a2_server_is_read_whole() -> None:
    info = parse_info(sample("a2_idle"))
    assert (info.version, info.driver_version) == ("25.5.2", "25.5.2")
    assert info.npus == tuple(range(8))
    assert info.processes == ()
    assert info.complete
    assert info.chips[1] == Chip(
        npu=1,
        chip=0,
        phy_id=None,
        name="910B3",
        health="OK",
        temperature_c=41,
        power_w=92.4,
        bus_id="0000:C2:00.0",
        aicore_percent=0,
        memory_used_mb=3401,
        memory_total_mb=65536,
        device=None,
        ddr_used_mb=0,
        ddr_total_mb=0,
        hugepages_used=0,
        hugepages_total=0,
    )


def test_ids_with_a_gap_unhealthy_chips_and_nameless_processes() -> None:
    info = parse_info(sample("a2_container_gap_in_ids"))
    assert (info.version, info.driver_version) == ("25.2.0", "25.3.rc1")
    assert info.npus == (0, 1, 3, 4)
    assert [chip.health for chip in info.chips] == ["OK", "OK", "Alarm", "Warning"]
    assert info.chips[0].memory_used_mb == 61022  # glued to the slash in the text
    assert info.processes == (
        NpuProcess(0, 0, 7001, "VLLMWorker_TP", 57000),
        NpuProcess(0, 0, 7002, "", 129),
        NpuProcess(3, 0, 7002, "VLLMWorker_TP", 40),
    )


@pytest.mark.parametrize(
    ("name", "version"), [("a3_two_cards_busy", "25.5.1"), ("a3_26_wide", "26.0.rc2")], ids=str
)
def test_both_dies_of_an_a3_with_their_physical_ids(name: str, version: str) -> None:
    info = parse_info(sample(name))
    assert info.version == version
    assert info.npus == tuple(range(8))
    assert [chip.phy_id for chip in info.chips] == list(range(16))
    assert [chip.power_w for chip in info.chips[:3]] == [160.5, None, 162.5]
    assert [chip.memory_used_mb for chip in info.chips[3:5]] == [52003, 3004]
    assert [(p.npu, p.chip, p.pid, p.memory_mb) for p in info.processes] == [
        (0, 0, 4000, 48000),
        (0, 1, 4001, 48001),
        (1, 0, 4002, 48002),
        (1, 1, 4003, 48003),
    ]
    assert info.complete


def test_a_310p_has_devices_and_plain_memory() -> None:
    info = parse_info(sample("310p_duo"))
    assert info.npus == (64, 320)
    assert [chip.device for chip in info.chips] == [0, 1, 2, 3]
    assert {chip.phy_id for chip in info.chips} == {None}
    assert [(chip.memory_used_mb, chip.memory_total_mb) for chip in info.chips[:2]] == [
        (1900, 44280),
        (1901, 43693),
    ]
    assert {chip.ddr_total_mb for chip in info.chips} == {None}
    assert {chip.power_w for chip in info.chips} == {None}
    assert info.chips[3].hugepages_used == 36
    assert info.processes == (NpuProcess(320, 1, 88, "python3", 700),)


@pytest.mark.parametrize(
    ("name", "memory", "device"),
    [
        ("910a_before_hugepages", [(0, 32768), (31002, 32768)], None),
        ("310_before_hugepages", [(5001, 8192)], 0),
    ],
)
def test_old_drivers_do_not_say_huge_pages(
    name: str, memory: list[tuple[int, int]], device: int | None
) -> None:
    info = parse_info(sample(name))
    assert [(chip.memory_used_mb, chip.memory_total_mb) for chip in info.chips] == memory
    assert {(chip.hugepages_used, chip.device) for chip in info.chips} == {(None, device)}
    assert (info.chips[0].power_w, info.chips[0].temperature_c) in {(64.0, 55), (12.5, 57)}
    assert info.version != info.driver_version


def test_ddr_stands_before_hbm_and_is_not_taken_for_it() -> None:
    chip = parse_info(sample("910a_ddr_beside_hbm")).chips[0]
    assert (chip.memory_used_mb, chip.memory_total_mb) == (0, 32768)
    assert (chip.ddr_used_mb, chip.ddr_total_mb) == (2280, 15039)


def test_the_lay_out_of_a_950_without_a_chip_column() -> None:
    info = parse_info(sample("950_two_cards"))
    assert [(chip.npu, chip.chip, chip.health) for chip in info.chips] == [(0, 0, "OK"), (5, 0, "Critical")]
    assert info.chips[1].bus_id is None
    assert info.chips[1].memory_used_mb == 80112
    assert info.processes == (NpuProcess(5, 0, 4711, "python3.11", 75000),)
    assert info.complete


def test_no_version_row_leaves_the_version_open() -> None:
    info = parse_info(sample("a2_no_version_row"))
    assert (info.version, info.npus) == (None, (0, 1))


def test_trailing_blanks_change_nothing() -> None:
    text = sample("a2_idle")
    assert parse_info(text.replace("\n", " \r\n")) == parse_info(text)


@pytest.mark.parametrize("name", ["a2_no_process_table", "a2_elided"])
def test_a_table_that_may_lack_rows_is_not_called_complete(name: str) -> None:
    info = parse_info(sample(name))
    assert info.npus == (0, 1)
    assert not info.complete


def test_a_process_name_may_hold_a_bar() -> None:
    row = "| 0       0                 | 7001          | VLLMWorker_TP            | 57000                   |"
    odd = "| 0       0                 | 7001          | a|b                      | 57000                   |"
    info = parse_info(sample("a2_container_gap_in_ids").replace(row, odd))
    assert info.processes[0] == NpuProcess(0, 0, 7001, "a|b", 57000)


def test_a_bar_inside_a_number_of_a_process_is_not_a_name() -> None:
    text = sample("a2_container_gap_in_ids")
    for number, halves in (("| 7001  ", "| 70|01  "), (" | 57000 ", " | 57|000 ")):
        with pytest.raises(NpuSmiParseError, match="cell too many"):
            parse_info(text.replace(number, halves, 1))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace("\n", "\n> "), id="quoted"),
        pytest.param(lambda text: text.replace("-+-", "-|-"), id="borders-with-bars"),
        pytest.param(lambda text: f"+ npu-smi info\n{text}+ date\nMon Nov 16\n", id="set-x"),
        pytest.param(lambda text: f"NPU:\n{text}\nCANN:\npackage_name=Ascend-cann-toolkit\n", id="report"),
        pytest.param(lambda text: f"{text}command terminated with exit code 0\n", id="kubectl-exec"),
        pytest.param(
            lambda text: "".join(f"2026-11-16T10:00:00.123456789Z {line}\n" for line in text.splitlines()),
            id="kubectl-logs",
        ),
        pytest.param(lambda text: text.replace("OK", "\x1b[01;31m\x1b[KOK\x1b[m\x1b[K"), id="grep-colour"),
        pytest.param(lambda text: text.replace("  ", " \u00a0"), id="blanks-of-a-web-page"),
        pytest.param(lambda text: text[:-1], id="no-last-newline"),
    ],
)
def test_what_people_do_to_a_table_changes_nothing(change: Callable[[str], str]) -> None:
    text = sample("a2_idle")
    assert parse_info(change(text)) == parse_info(text)


def test_a_bus_id_that_was_masked_is_not_known() -> None:
    chips = parse_info(sample("a2_idle").replace("0000:C2:", "0000:xx:")).chips
    assert (chips[1].bus_id, chips[2].bus_id is None) == (None, False)


def test_a_drivers_warning_above_the_table_is_passed_over() -> None:
    text = sample("a2_idle")
    assert parse_info("DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n" + text) == parse_info(text)


def test_an_unusable_driver_is_told_from_a_damaged_text() -> None:
    with pytest.raises(DriverUnusableError) as caught:
        parse_info(sample("driver_unusable"))
    assert caught.value.ret == -8005
    assert caught.value.line_number == 2


def test_memory_in_bytes_is_read_while_no_process_is_listed() -> None:
    text = sample("910a_process_memory_in_bytes")
    assert parse_info(text).complete
    idle = (
        "| No running processes found in NPU 2                                                            |"
    )
    busy = (
        "| 2       0                 | 4711          | python3                  | 1048576                 |"
    )
    with pytest.raises(NpuSmiParseError, match="unknown unit"):
        parse_info(text.replace(idle, busy))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "no chip found", id="nothing"),
        pytest.param("Killed\n", "no chip found", id="no-table"),
        pytest.param(sample("a2_idle").split("910B3")[0], "is cut", id="cut-in-first-row"),
        pytest.param(sample("a2_idle").split("65536")[0], "is cut", id="cut-in-second-row"),
        pytest.param(
            "\n".join(sample("a2_idle").split("\n")[:7]), "ends before the second row", id="cut-between"
        ),
        pytest.param(sample("a2_idle").replace("3401", "34O1"), "usage in", id="letter-in-a-number"),
        pytest.param(sample("a2_idle").replace("92.4 ", "92,4 "), "power in", id="comma-in-a-number"),
        pytest.param(
            sample("a2_idle").replace("| Chip  ", "| Die   "), "unknown heading", id="unknown-heading"
        ),
        pytest.param(
            sample("a2_idle").replace("Memory-Usage(MB)", "Memory-Usage(GB)"), "unknown heading", id="unit"
        ),
        pytest.param(
            sample("a2_idle").replace("Hugepages-Usage(page)", "HBM-Usage(MB)"),
            "unknown heading",
            id="column",
        ),
        pytest.param(sample("a2_idle").replace("| OK ", "| 0K ", 1), "health in '0K'", id="health"),
        pytest.param(
            sample("a2_idle").replace("| 7     910B3", "| 7 1   910B3"), "NPU and name", id="id-in-two"
        ),
        pytest.param(sample("a2_no_process_table") + "CANN:\n", "not a row", id="text-below-a-part"),
        pytest.param(sample("a2_idle").replace("| 7     910B3", "| 6     910B3"), "listed twice", id="twice"),
        pytest.param(sample("a2_idle").replace("in NPU 7", "in NPU 9"), "not in the table", id="unknown-npu"),
        pytest.param(sample("a2_idle") * 2, "second table", id="two-tables"),
        pytest.param(sample("a2_idle") + "Segmentation fault\n", "not a row", id="text-below"),
        pytest.param(
            "\n".join(sample("a2_idle").split("\n")[6:]), "above any known heading", id="no-heading"
        ),
    ],
)
def test_what_is_cut_or_unknown_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NpuSmiParseError, match=reason):
        parse_info(text)


def test_an_error_carries_the_line_and_its_number() -> None:
    text = sample("a2_idle").replace("3401 /", "34O1 /")
    with pytest.raises(NpuSmiParseError) as caught:
        parse_info(text)
    assert caught.value.line_number == 11
    assert "34O1 / 65536" in caught.value.line
    assert str(caught.value).startswith("line 11: cannot read usage")


def test_a_mapping_whose_wide_blanks_are_lost() -> None:
    text = sample("mapping_a3")
    narrow = "\n".join(" ".join(line.split()) for line in text.splitlines())
    assert parse_mapping(narrow) == parse_mapping(text)
    with pytest.raises(NpuSmiParseError, match="a number too many"):
        parse_mapping(text.replace("Ascend910", "7 Ascend910", 1))


def test_a_mapping_with_physical_ids_leaves_the_controller_out() -> None:
    assert parse_mapping(sample("mapping_a3")) == (
        ChipMapping(0, 0, 0, 0, "Ascend910"),
        ChipMapping(0, 1, 1, 1, "Ascend910"),
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(sample("driver_unusable"), id="no-mapping"),
        pytest.param(sample("mapping_a3").split("\n")[0], id="heading-alone"),
        pytest.param(sample("mapping_a3").replace("\t0  ", "\tx  "), id="no-number"),
        pytest.param(sample("mapping_a3")[:250], id="cut"),
        pytest.param(
            "".join(sample("mapping_a3").splitlines(keepends=True)[i] for i in (0, 1, 1)), id="twice"
        ),
    ],
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(NpuSmiParseError):
        parse_mapping(text)
