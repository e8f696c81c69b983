"""`npu-smi info -l` and `-t TYPE` as real tools printed them; needs the corpus (NPUCTL_CORPUS)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from npuctl.hardware.npu_smi import DriverUnusableError, NpuSmiParseError
from npuctl.hardware.npu_smi_answer import parse_answer
from npuctl.hardware.npu_smi_cards import (
    parse_board,
    parse_card_board,
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
from npuctl.hardware.npu_smi_query_records import CardGoneError, ChipBoard, ListedNpu, Topology, Unsupported
from npuctl.hardware.super_pod import SuperPodPlace


def _names(pattern: str) -> list[str]:
    """Files of the corpus at collection; one stand-in without it, so that the skip is counted."""
    folder = os.environ.get("NPUCTL_CORPUS")
    return sorted(path.name for path in (Path(folder) / "npu").glob(pattern)) if folder else ["the corpus"]


def _kind(name: str) -> str:
    """The query that a file's name says."""
    if name.startswith("npu-smi-info_"):
        return "info"
    words = {
        "l": "list",
        "m": "mapping",
        "card": "board",
        "info": "help",
        "fault": "current-fault-event",
        "spod": "spod-info",
        "proc": "proc-mem",
    }
    word = name.removeprefix("npu-smi-").split("_")[0].split("-")[0]
    return words.get(word, word)


def test_the_boards_of_cards(corpus: Path) -> None:
    board = parse_card_board((corpus / "npu/npu-smi-board-card_910a_23.0.5.txt").read_text(encoding="utf-8"))
    assert (board.software_version, board.firmware_version, board.compatibility) == (
        "23.0.5",
        "7.1.0.7.220",
        "OK",
    )
    assert (board.pci_vendor_id, board.pci_device_id, board.chip_count) == ("0x19E5", "0xD801", 1)
    text = (corpus / "npu/npu-smi-card-board_910b2c_25.5.2.txt").read_text(encoding="utf-8")
    board = parse_card_board(text)
    assert (board.software_version, board.firmware_version, board.compatibility) == (
        "25.5.2",
        "7.8.0.7.220",
        "OK",
    )
    assert (board.serial_number, board.slot_id, board.chip_count) == ("102415083974", 0, None)


def test_the_board_of_a_chip(corpus: Path) -> None:
    chip = parse_board((corpus / "npu/npu-smi-board-chip_910a.txt").read_text(encoding="utf-8"))
    assert isinstance(chip, ChipBoard)
    assert (chip.chip_name, chip.firmware_version, chip.bus_id) == ("910A", "7.1.0.7.220", "0000:61:00.0")
    assert chip.die_ids == {
        "VDie ID": "42C711D4 20B03704 4A10C8D4 14CC040A D2102003",
        "NDie ID": "27216594 20401010 4E10C8D4 14CC040A A4102003",
    }


def test_a_card_that_is_gone(corpus: Path) -> None:
    with pytest.raises(CardGoneError):
        parse_board((corpus / "npu/npu-smi-board_invalid-card-id_drop-card.txt").read_text(encoding="utf-8"))


def test_common_and_its_controller(corpus: Path) -> None:
    common = parse_common((corpus / "npu/npu-smi-common_910b1_npu1.txt").read_text(encoding="utf-8"))
    (chip,) = common.chips
    assert (chip.chip, chip.hbm_usage_percent, chip.temperature_c, chip.power_w) == (0, 4, 46, 93.4)
    assert (chip.aicore_current_frequency_mhz, chip.aicore_frequency_mhz) == (800, 1800)
    assert common.controller_temperature_c == 38


def test_error_counters(corpus: Path) -> None:
    (chip,) = parse_ecc((corpus / "npu/npu-smi-ecc_910a_zero.txt").read_text(encoding="utf-8"))
    assert (chip.npu, len(chip.counters), set(chip.counters.values())) == (1, 12, {0})
    assert chip.uncorrectable == 0


def test_fault_events(corpus: Path) -> None:
    (event,) = parse_fault_events(
        (corpus / "npu/npu-smi-fault-event_950_doc.txt").read_text(encoding="utf-8")
    )
    assert (event.event_id, event.severity, event.node_type) == ("0x81AF8000", 2, 215)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("npu-smi-health_alarm_910b2c_ecc-clean.txt", ("80C98001",)),
        ("npu-smi-health_alarm_three-codes.txt", ("A4025021", "8C03A000", "8C084E00")),
    ],
)
def test_alarms(name: str, codes: tuple[str, ...], corpus: Path) -> None:
    (health,) = parse_health((corpus / "npu" / name).read_text(encoding="utf-8"))
    assert (health.health, health.error_codes) == ("Alarm", codes)
    assert len(health.error_informations) == len(codes)


def test_the_types_of_a_driver(corpus: Path) -> None:
    types = parse_types((corpus / "npu/npu-smi-info-help_23.0.rc2.txt").read_text(encoding="utf-8"))
    assert {"board", "proc-mem", "topo", "i2c_check"} <= set(types)
    assert "spod-info" not in types
    assert len(types) == 45


def test_lists(corpus: Path) -> None:
    listing = parse_list((corpus / "npu/npu-smi-l_910b3_25.5.1_cut.txt").read_text(encoding="utf-8"))
    assert (listing.total, listing.complete) == (8, False)
    assert [(card.npu, card.chip_count) for card in listing.npus] == [(0, 1), (1, 1)]
    listing = parse_list((corpus / "npu/npu-smi-l_950_doc.txt").read_text(encoding="utf-8"))
    assert (listing.total, listing.complete) == (1, True)
    assert listing.npus == (ListedNpu(0, None, "A5 PCIe Card", "IT23HMDA0502FAA"),)


def test_memory(corpus: Path) -> None:
    (chip,) = parse_memory((corpus / "npu/npu-smi-memory_910b3_25.5.1.txt").read_text(encoding="utf-8"))
    assert (chip.hbm_capacity_mb, chip.hbm_clock_mhz, chip.hbm_temperature_c) == (65536, 1600, 52)
    assert chip.hbm_manufacturer_id == "0x56"


def test_processes(corpus: Path) -> None:
    (chip,) = parse_processes((corpus / "npu/npu-smi-proc-mem_a2_python.txt").read_text(encoding="utf-8"))
    (process,) = chip.processes
    assert (chip.npu, chip.chip) == (0, 0)
    assert (process.pid, process.name, process.memory_mb) == (1654497, "python", 177)


@pytest.mark.parametrize(
    ("name", "sdid", "place"),
    [
        ("npu-smi-spod-info_a3_384_die0.txt", 167772160, SuperPodPlace(40, 0, 0, 0)),
        ("npu-smi-spod-info_a3_384_die11.txt", 169148427, SuperPodPlace(40, 5, 1, 11)),
        ("npu-smi-spod-info_a3_doc.txt", 16777216, SuperPodPlace(4, 0, 0, 0)),
    ],
)
def test_places_in_super_pods(name: str, sdid: int, place: SuperPodPlace, corpus: Path) -> None:
    pod = parse_super_pod((corpus / "npu" / name).read_text(encoding="utf-8"))
    assert (pod.sdid, pod.super_pod_size, pod.super_pod_id) == (sdid, 384, 0)
    assert pod.place == place
    assert pod.server_index == place.server


def test_topologies(corpus: Path) -> None:
    topology = parse_topology((corpus / "npu/npu-smi-topo_910b_8cards_hccs.txt").read_text(encoding="utf-8"))
    assert isinstance(topology, Topology)
    assert topology.devices == tuple(f"NPU{number}" for number in range(8))
    others = {link for row in topology.links for link in row if link != "X"}
    assert others == {"HCCS"}
    assert topology.cpu_affinity == (
        "144-167",
        "0-23",
        "144-167",
        "0-23",
        "96-119",
        "48-71",
        "96-119",
        "48-71",
    )
    topology = parse_topology((corpus / "npu/npu-smi-topo_950_doc.txt").read_text(encoding="utf-8"))
    assert isinstance(topology, Topology)
    assert topology.links[1][:3] == ("SYS", "X", "SYS")
    assert topology.cpu_affinity[4] == "64-127,192-255"
    text = (corpus / "npu/npu-smi-topo_unsupported.txt").read_text(encoding="utf-8")
    assert parse_topology(text) == Unsupported("topo")


@pytest.mark.parametrize(
    ("name", "chips"),
    [
        (
            "npu-smi-usages_910a.txt",
            [{"chip": 0, "ddr_capacity_mb": 13553, "ddr_usage_percent": 6, "hbm_capacity_mb": 31129}],
        ),
        (
            "npu-smi-usages_910b1_npu0.txt",
            [
                {
                    "chip": 0,
                    "hbm_capacity_mb": 65536,
                    "hbm_usage_percent": 4,
                    "aicore_percent": 0,
                    "aivector_percent": 0,
                    "hbm_bandwidth_percent": 0,
                }
            ],
        ),
        (
            "npu-smi-usages_a3_two-chips.txt",
            [
                {"chip": 0, "hbm_usage_percent": 16, "aicore_percent": 2, "npu_utilization_percent": 65},
                {"chip": 1, "hbm_usage_percent": 16, "aicore_percent": 12, "npu_utilization_percent": 58},
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_usages(name: str, chips: list[dict[str, Any]], corpus: Path) -> None:
    usages = parse_usages((corpus / "npu" / name).read_text(encoding="utf-8"))
    assert [
        {key: getattr(usage, key) for key in chip} for usage, chip in zip(usages, chips, strict=True)
    ] == chips


@pytest.mark.parametrize("name", _names("npu-smi-*.txt"))
def test_every_output_is_recognised_by_its_content(name: str, corpus: Path) -> None:
    text = (corpus / "npu" / name).read_text(encoding="utf-8")
    if "_broken_" in name or "invalid-card-id" in name:
        with pytest.raises(NpuSmiParseError):
            parse_answer(text)
    else:
        assert parse_answer(text)[0] == _kind(name)


def test_an_unusable_driver_is_recognised(corpus: Path) -> None:
    with pytest.raises(DriverUnusableError):
        parse_answer((corpus / "npu/npu-smi_driver-not-usable_-8005.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [name for name in _names("*.txt") if not name.startswith("npu-smi")])
def test_no_other_tools_output_is_taken_for_npu_smis(name: str, corpus: Path) -> None:
    with pytest.raises(NpuSmiParseError):
        parse_answer((corpus / "npu" / name).read_text(encoding="utf-8"))
