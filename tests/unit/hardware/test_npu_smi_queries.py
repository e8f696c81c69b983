"""`npu-smi info -l` and `-t TYPE` of every lay-out, from outputs of our own making with invented values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from npuctl.hardware.npu_smi import DriverUnusableError, NpuSmiParseError, parse_info, parse_mapping
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
from npuctl.hardware.npu_smi_query_records import (
    CardGoneError,
    ChipBoard,
    ChipCommon,
    ChipHealth,
    ChipMemory,
    ChipUsages,
    FaultEvent,
    ListedNpu,
    NotSupportedError,
    ProcessMemory,
    RefusedError,
    Topology,
    Unsupported,
)
from npuctl.hardware.super_pod import SuperPodPlace, decode_sdid

TABLES = Path(__file__).parent / "samples"
SAMPLES = TABLES / "queries"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")


def table(name: str) -> str:
    return (TABLES / f"{name}.txt").read_text(encoding="utf-8")


# -l


def test_every_card_is_listed_with_its_chips() -> None:
    listing = parse_list(sample("list_a3"))
    assert (listing.total, listing.complete) == (3, True)
    assert [(card.npu, card.chip_count) for card in listing.npus] == [(0, 2), (4, 2), (5, 2)]


def test_a_list_with_names_and_one_without_chip_counts() -> None:
    assert parse_list(sample("list_310p")).npus[1] == ListedNpu(320, 2, "IT21PDDA01", "0331AB20C4000118")
    assert parse_list(sample("list_950")).npus == (
        ListedNpu(0, None, "A5 card", None),
        ListedNpu(1, None, "A5 card", "7Q2"),
    )
    assert parse_list(sample("list_310")).npus[0].chip_count == 4


def test_a_list_that_shows_fewer_cards_than_it_counts_is_not_complete() -> None:
    text = sample("list_a3").split("\tNPU ID                         : 5")[0]
    listing = parse_list(text)
    assert (listing.total, len(listing.npus), listing.complete) == (3, 2, False)


# -t board


def test_the_board_of_a_card() -> None:
    board = parse_card_board(sample("board_card_a2"))
    assert (board.npu, board.software_version, board.firmware_version) == (3, "25.3.rc1", "7.7.0.10.220")
    assert (board.compatibility, board.serial_number, board.model) == ("OK", "102499990007", None)
    assert (board.pci_vendor_id, board.pci_device_id) == ("0x19E5", "0xD802")
    assert (board.bus_id, board.slot_id, board.chip_count) == ("0000:02:00.0", 3, 1)
    board = parse_card_board(sample("board_card_310p"))
    assert (board.compatibility, board.slot_id, board.chip_count) == ("NOK", None, 2)


def test_the_board_of_a_950_answers_for_its_chip_as_well() -> None:
    board = parse_card_board(sample("board_card_950"))
    assert (board.chip_name, board.npu_name, board.main_board_id) == ("Ascend950", "9599", "0x68(1P)")
    assert board.die_ids == {"DDie ID": "01234567 89ABCDEF 00112233 44556677 8899AABB"}
    assert board.bus_id is None


def test_the_board_of_a_chip() -> None:
    chip = parse_board(sample("board_chip_a2"))
    assert isinstance(chip, ChipBoard)
    assert (chip.npu, chip.chip, chip.chip_name, chip.firmware_version) == (3, 0, "910B3", "7.7.0.10.220")
    assert chip.die_ids["VDie ID"] == "AAAA0001 20B03704 4A10C8D4 14CC040A D2102003"
    assert chip.soc_version == "Ascend910B3"
    chip = parse_board(sample("board_chip_a3"))
    assert isinstance(chip, ChipBoard)
    assert chip.soc_version == "Ascend910_9392"


def test_a_chip_is_not_taken_for_a_card() -> None:
    with pytest.raises(NpuSmiParseError, match="of a chip"):
        parse_card_board(sample("board_chip_a2"))


# -t health


def test_a_healthy_chip_has_no_codes() -> None:
    assert parse_health(sample("health_ok")) == (ChipHealth(None, None, "OK", (), (), controller=False),)


def test_each_code_has_its_information() -> None:
    (health,) = parse_health(sample("health_two_codes"))
    assert health.health == "Critical"
    assert health.error_codes == ("80E01801", "A8028801")
    assert health.error_informations == (
        "node type=HBM, sensor type=Memory, event state=Multi bit ECC",
        "node type=SoC, sensor type=Temperature, event state=over : limit",
    )
    (health,) = parse_health(sample("health_information_failed"))
    assert health.error_informations[1].startswith("Failed to get error information")
    assert parse_health(sample("health_950"))[0].npu == 1


def test_a_controller_does_not_answer_for_a_chip() -> None:
    answers = parse_health(sample("health_card_with_controller"))
    assert [(one.chip, one.health, one.controller) for one in answers] == [
        (0, "OK", False),
        (1, "Alarm", False),
        (None, None, True),
    ]


def test_an_information_over_two_lines_is_one() -> None:
    text = sample("health_two_codes").replace("Multi bit ECC", "Multi bit\n ECC in a bank")
    assert parse_health(text)[0].error_informations[0].endswith("Multi bit ECC in a bank")


# -t usages, common, memory


def test_values_belong_to_the_chip_whose_number_stands_below_them() -> None:
    first, second = parse_usages(sample("usages_a3"))
    assert first == ChipUsages(
        npu=4,
        chip=0,
        ddr_capacity_mb=0,
        ddr_usage_percent=0,
        ddr_hugepages=0,
        ddr_hugepages_usage_percent=0,
        hbm_capacity_mb=65536,
        hbm_usage_percent=77,
        aicore_percent=21,
        aivector_percent=3,
        aicube_percent=19,
        vectorcore_percent=None,
        aicpu_percent=0,
        ctrlcpu_percent=5,
        ddr_bandwidth_percent=0,
        hbm_bandwidth_percent=33,
        npu_utilization_percent=64,
    )
    assert (second.chip, second.aicore_percent, second.npu_utilization_percent) == (1, 100, 99)


def test_usages_of_a_310p_a_310_and_a_950() -> None:
    first, second = parse_usages(sample("usages_310p"))
    assert (first.ddr_capacity_mb, first.vectorcore_percent, first.hbm_capacity_mb) == (44278, 12, None)
    assert (second.chip, second.ddr_capacity_mb, second.ddr_usage_percent) == (1, 43690, 40)
    (chip,) = parse_usages(sample("usages_310"))
    assert (chip.chip, chip.ddr_capacity_mb, chip.ddr_bandwidth_percent) == (None, 7759, 1)
    (chip,) = parse_usages(sample("usages_950"))
    assert (chip.npu, chip.chip, chip.hbm_capacity_mb, chip.hbm_usage_percent) == (1, None, 131072, 3)


def test_the_controllers_temperature_does_not_overwrite_the_chips() -> None:
    common = parse_common(sample("common_310p"))
    assert [(chip.chip, chip.temperature_c, chip.power_w) for chip in common.chips] == [
        (0, 61, None),
        (1, 59, None),
    ]
    assert (common.controller_temperature_c, common.card_power_w) == (47, 44.8)
    common = parse_common(sample("common_a2"))
    assert common.chips == (ChipCommon(0, 0, 91, 6, 1800, 1650, 20, 51, 130.4),)
    assert common.controller_temperature_c is None


def test_common_without_a_chip_number_and_a_cold_chip() -> None:
    common = parse_common(sample("common_950"))
    assert common.chips[0].chip is None
    assert common.chips[0].temperature_c == -5


def test_memory() -> None:
    assert parse_memory(sample("memory_a2")) == (ChipMemory(3, 0, 0, 0, 65536, 1600, 38, "0x57"),)
    (chip,) = parse_memory(sample("memory_310p_one_chip"))
    assert (chip.chip, chip.ddr_capacity_mb, chip.ddr_clock_mhz, chip.hbm_capacity_mb) == (
        None,
        43690,
        2133,
        None,
    )


# -t ecc


def test_errors_of_two_bits_are_summed() -> None:
    first, second = parse_ecc(sample("ecc_a3"))
    assert (first.correctable, first.uncorrectable, first.uncorrectable_ever) == (7, 2, 5)
    assert first.counters["HBM Double Bit Isolated Pages Count"] == 3
    assert (second.chip, second.uncorrectable) == (1, 0)
    assert parse_ecc(sample("ecc_310p"))[0].uncorrectable == 1
    assert parse_ecc(sample("ecc_one_chip"))[0].uncorrectable == 4294967295


def test_a_counter_that_is_missing_is_not_taken_for_none() -> None:
    lines = sample("ecc_a3").splitlines(keepends=True)
    for number, line in enumerate(lines):
        if "Bit" in line:
            with pytest.raises(NpuSmiParseError):
                parse_ecc("".join(lines[:number] + lines[number + 1 :]))


# -t topo


def test_a_matrix_with_physical_ids_and_network_cards() -> None:
    topology = parse_topology(sample("topo_a3"))
    assert isinstance(topology, Topology)
    assert topology.devices == ("Phy-ID8", "Phy-ID9", "Phy-ID10", "NIC0")
    assert topology.links[0] == ("X", "SIO", "HCCS_SW", "PHB")
    assert topology.cpu_affinity == (None,) * 4


def test_a_matrix_with_cpus() -> None:
    topology = parse_topology(sample("topo_a2"))
    assert isinstance(topology, Topology)
    assert topology.cpu_affinity == ("144-167", "0-23,48-71", None)


def test_no_topology_is_an_answer() -> None:
    assert parse_topology(sample("topo_unsupported")) == Unsupported("topo")
    assert parse_answer(sample("topo_unsupported")) == ("topo", Unsupported("topo"))


# -t spod-info


def test_the_place_in_a_super_pod() -> None:
    pod = parse_super_pod(sample("spod_a3"))
    assert (pod.super_pod_size, pod.super_pod_id, pod.server_index) == (384, 2, 3)
    assert pod.place == SuperPodPlace(server=3, npu=6, chip=1, die=13)
    pod = parse_super_pod(sample("spod_950"))
    assert (pod.sdid, pod.place, pod.chassis_id, pod.server_index, pod.super_pod_type) == (
        None,
        None,
        7,
        None,
        1,
    )


def test_an_sdid_is_taken_apart() -> None:
    place = SuperPodPlace(server=1023, npu=15, chip=3, die=65535)
    assert decode_sdid(0xFFFFFFFF) == place
    for wrong in (-1, 1 << 32):
        with pytest.raises(ValueError, match="SDID"):
            decode_sdid(wrong)


# -t proc-mem, current-fault-event, -h


def test_processes_and_none() -> None:
    first, second = parse_processes(sample("proc_mem_a3"))
    assert (first.chip, first.processes) == (0, ())
    assert second.processes == (ProcessMemory(322909, "VLLM:Worker_TP1", 48208), ProcessMemory(17, "", 3))
    (chip,) = parse_processes(sample("proc_mem_one_chip"))
    assert (chip.npu, chip.processes) == (None, (ProcessMemory(395864, "power_test", 5118),))


def test_fault_events() -> None:
    first, second = parse_fault_events(sample("fault_events"))
    assert first == FaultEvent("0x81AF8000", 2, 215, 3, 1, 0)
    assert (second.event_id, second.sub_node_id) == ("0xB4060027", 9)
    assert parse_fault_events(sample("fault_events_none")) == ()


def test_the_types_that_a_driver_knows() -> None:
    assert parse_types(sample("help")) == ("board", "usages", "mac-addr", "i2c_check", "spod-info", "topo")


# The last line's end


@pytest.mark.parametrize("name", ["health_ok", "spod_a3", "list_a3", "board_card_a2", "usages_a3"])
def test_a_last_value_that_cannot_be_cut_needs_no_newline(name: str) -> None:
    text = sample(name)
    assert parse_answer(text.rstrip()) == parse_answer(text)


def test_what_may_be_cut_says_what_to_do() -> None:
    with pytest.raises(NpuSmiParseError, match="add the missing line end if the text is whole") as caught:
        parse_answer(sample("usages_950").rstrip())
    assert caught.value.line_number > 0


# Refusals


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (sample("board_card_gone"), CardGoneError),
        ("Invalid chip id.\n", CardGoneError),
        ("There is no NPU card on this server.\n", CardGoneError),
        (sample("spod_unsupported"), NotSupportedError),
        ("NPU is working in SMP mode, does not support querying usages\n", NotSupportedError),
        ('Failed to query "usages" info.\n', RefusedError),
        ("Must input parameter of chip id.\n", RefusedError),
    ],
)
def test_a_refusal_is_told_from_a_damaged_text(text: str, kind: type[RefusedError]) -> None:
    for parse in (parse_board, parse_usages, parse_super_pod, parse_answer):
        with pytest.raises(kind) as caught:
            parse("some driver's warning\n" + text)
        assert type(caught.value) is kind
        assert caught.value.line_number == 2


def test_a_query_that_is_not_supported_is_named() -> None:
    with pytest.raises(NotSupportedError) as caught:
        parse_super_pod(sample("spod_unsupported"))
    assert caught.value.query == "spod-info"


@pytest.mark.parametrize(
    ("words", "ret"),
    [
        ("dcmi module initialize failed. ret is -8005", -8005),
        ("dcmi model initialized failed, because the device is used. ret is -8020", -8020),
    ],
)
def test_an_unusable_driver_is_told_in_every_query(words: str, ret: int) -> None:
    parsers: tuple[Callable[[str], object], ...] = (parse_list, parse_ecc, parse_topology, parse_types)
    for parse in (*parsers, parse_info, parse_mapping, parse_answer):
        with pytest.raises(DriverUnusableError) as caught:
            parse(f"{words}\n")
        assert caught.value.ret == ret


# What people do to texts


SEEN = sorted(
    path.stem for path in SAMPLES.glob("*.txt") if path.stem not in {"board_card_gone", "spod_unsupported"}
)


@pytest.mark.parametrize("name", SEEN)
def test_margins_colours_blanks_prompts_and_line_ends_change_nothing(name: str) -> None:
    text = sample(name)
    read = parse_answer(text)
    spaced = text.replace("\n", " \t\n\n")
    assert parse_answer("\ufeff" + text.replace("\n", "\r\n")) == read
    assert parse_answer(spaced) == read
    assert parse_answer("".join(line.lstrip() + "\n" for line in text.splitlines())) == read
    assert parse_answer(text.replace("\t", "\x1b[0m\t\x1b[1;32m")) == read
    call = "(env) [root@node-1 ~]# npu-smi info -t some -i 0\n"
    assert parse_answer(f"Mon Nov 16 10:00:01 2026\n{call}{text}[root@node-1 ~]# \n") == read


@pytest.mark.parametrize("name", ["a2_26_wide_container", "310p_dashes_between_blocks", "950_container_pids"])
def test_what_people_paste_around_a_table_changes_nothing(name: str) -> None:
    text = table(name)
    read = parse_info(text)
    assert read.complete
    before = "Every 1.0s: npu-smi info   node: Mon Nov 16 10:00:01 2026\n\nroot@node:~# npu-smi info\n"
    warning = "[WARNING]The driver package may not be completely installed.\n"
    assert parse_info(f"\ufeff{before}{text}{warning}\n(base) root@node:/data# \n```\n") == read
    assert parse_info(text.replace("OK", "\x1b[32mOK\x1b[0m")) == read


@pytest.mark.parametrize(
    ("below", "reason"),
    [
        ("root@node:~# \n| 7     910B3 | OK | 1.0 40 0 / 0 |\n", "below the table's end"),
        ("Killed\n", "not a row"),
    ],
)
def test_what_is_not_a_prompt_below_a_table_is_refused(below: str, reason: str) -> None:
    with pytest.raises(NpuSmiParseError, match=reason):
        parse_info(table("a2_26_wide_container") + below)


def test_a_prompt_inside_a_table_is_refused() -> None:
    lines = table("a2_26_wide_container").splitlines(keepends=True)
    for number in range(1, len(lines)):
        with pytest.raises(NpuSmiParseError):
            parse_info("".join([*lines[:number], "root@node:~# ls\n", *lines[number:]]))


def test_new_lay_outs_of_the_table() -> None:
    info = parse_info(table("a2_26_wide_container"))
    assert [(chip.npu, chip.health, chip.temperature_c) for chip in info.chips] == [
        (2, "OK", 47),
        (6, "UNKNOWN", None),
    ]
    assert [(process.pid, process.name, process.memory_mb) for process in info.processes] == [
        (48591, "pytest", 5175),
        (48600, "", 57001),
    ]
    info = parse_info(table("310p_dashes_between_blocks"))
    assert [(chip.device, chip.memory_used_mb) for chip in info.chips] == [(0, 1455), (1, 30001)]
    info = parse_info(table("310b_without_bus"))
    assert (info.chips[0].bus_id, info.chips[0].power_w, info.complete) == (None, 7.9, False)
    info = parse_info(table("950_container_pids"))
    assert [(chip.npu, chip.bus_id, chip.memory_used_mb) for chip in info.chips] == [
        (0, None, 1024),
        (3, "0000:91:00.0", 2048),
    ]
    assert [process.pid for process in info.processes] == [1001, 1002]


def test_a_second_processor_is_not_a_chip_of_the_mapping() -> None:
    text = table("mapping_a3").replace("Mcu", "3559")
    assert parse_mapping(text) == parse_mapping(table("mapping_a3"))


def test_a_mapping_below_a_prompt_and_above_one() -> None:
    text = table("mapping_a3")
    assert parse_mapping(
        f"[root@localhost ~]$ npu-smi info -m\n{text}[root@localhost ~]$ \n"
    ) == parse_mapping(text)
    lines = text.splitlines()
    assert len(parse_mapping("\n".join(lines[:3]))) == 2  # the name is whole: the other chip has it too
    with pytest.raises(NpuSmiParseError, match="may be cut"):
        parse_mapping("\n".join(lines[:2]))
    with pytest.raises(NpuSmiParseError, match="may be cut"):
        parse_mapping("\n".join(lines[:3])[:-1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("", "no output of npu-smi", id="nothing"),
        pytest.param("dcmi module initialize failed " * 900, "a line of 27000 characters", id="endless-line"),
        pytest.param("Killed\n", "no output of npu-smi", id="no-answer"),
        pytest.param(sample("usages_a3").replace(": 77", ": 7x"), "cannot read 'HBM Usage", id="no-number"),
        pytest.param(
            sample("usages_a3").replace(": 77", ": 7٣"), "cannot read 'HBM Usage", id="other-digits"
        ),
        pytest.param(
            sample("usages_a3").replace(": 65536", ": 65536MB"), "cannot read 'HBM Cap", id="a-unit"
        ),
        pytest.param(sample("usages_a3").replace(": 65536", ":"), "no number under", id="empty"),
        pytest.param(sample("usages_a3").replace(": 65536", ": " + "9" * 3000), "cannot read", id="long"),
        pytest.param(
            sample("usages_a3").replace("\tChip ID                        : 0\n", ""),
            "counts 2 chips",
            id="two-in-one",
        ),
        pytest.param(sample("usages_a3").replace(": 1\n\n", ": 0\n\n"), "twice", id="chip-twice"),
        pytest.param(sample("usages_a3").replace(": 2\n\n", ": 3\n\n"), "counts 3 chips", id="too-few-chips"),
        pytest.param(sample("usages_a3") * 2, "second answer", id="two-answers"),
        pytest.param(sample("usages_a3") + "Killed\n", "not a line", id="text-below"),
        pytest.param(sample("usages_a3").rsplit("\tChip ID", 1)[0], "no chip's number", id="cut-block"),
        pytest.param(sample("usages_950")[:-1], "without a newline", id="cut-number"),
        pytest.param(
            sample("common_310p").replace("\tChip Name                      : mcu\n", ""),
            "twice",
            id="no-mcu",
        ),
        pytest.param(sample("common_310p").replace("mcu", "910B3"), "neither a chip", id="another-unit"),
        pytest.param(
            sample("common_a2").replace("Temperature(C)                 : 51", "Heat : 51"),
            "no 'Temp",
            id="key",
        ),
        pytest.param(
            sample("health_two_codes").replace("A8028801", "A80288Q1"), "'Error Code'", id="no-code"
        ),
        pytest.param(
            sample("health_two_codes").replace(" A8028801", ""), "1 error codes, but 2", id="code-lost"
        ),
        pytest.param(
            sample("health_two_codes").split("\tError Code")[0], "without an error code", id="cut-health"
        ),
        pytest.param(
            sample("health_two_codes").split("\tError Inf")[0], "without an information", id="cut-codes"
        ),
        pytest.param(
            sample("board_card_a2").replace("Firmware", "Softwear"), "no 'Firmware Version'", id="no-firmware"
        ),
        pytest.param(
            sample("board_card_a2").replace("0xD802", "D802"), "'PCI Device ID'", id="no-hexadecimal"
        ),
        pytest.param(sample("spod_a3").replace("Super Pod ID", "Pod"), "no 'Super Pod ID'", id="no-pod"),
        pytest.param(
            sample("spod_a3").replace("14221325", "4294967296"), "too large", id="more-than-32-bits"
        ),
        pytest.param(sample("spod_a3").replace("SDID ", "SDIX "), "no 'SDID'", id="no-sdid"),
        pytest.param(
            sample("topo_a2").replace("NPU1       HCCS       X ", "NPU1       HCCS       SYS"), "none", id="x"
        ),
        pytest.param(
            sample("topo_a2").replace("PIX        144", "PIY        144"), "links of NPU0", id="link"
        ),
        pytest.param(sample("topo_a2").replace("144-167", "144-"), "the CPUs", id="cpus"),
        pytest.param(sample("topo_a2").split("NPU5       PIX")[0], "3 columns but 2 rows", id="cut-matrix"),
        pytest.param(sample("list_a3").replace(": 3\n", ": 1\n"), "shown", id="more-cards-than-counted"),
        pytest.param(sample("list_a3").replace(": 5\n", ": 4\n"), "one twice", id="card-twice"),
        pytest.param(sample("list_a3").rsplit("\tChip Count", 1)[0], "same keys", id="cut-list"),
        pytest.param(sample("proc_mem_a3").replace("(MB):3\n", "(MB):\n"), "the process", id="no-memory"),
        pytest.param(
            sample("proc_mem_a3").replace("\tNo process in device.\n", ""), "without values", id="no-word"
        ),
        pytest.param(sample("fault_events").replace(": 2\n", ": 3\n"), "3 fault events", id="too-few-events"),
        pytest.param(sample("fault_events").replace("severity=2", "severity=?"), "the event", id="no-event"),
        pytest.param(sample("help").split("topo.")[0], "no list of types", id="cut-help"),
    ],
)
def test_what_is_cut_or_unknown_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NpuSmiParseError, match=reason):
        parse_answer(text)


def test_an_error_carries_the_line_and_its_number() -> None:
    with pytest.raises(NpuSmiParseError) as caught:
        parse_usages(sample("usages_a3").replace(": 78", ": 7B"))
    assert caught.value.line_number == 25
    assert str(caught.value) == (
        "line 25: cannot read 'HBM Usage Rate(%)' in '7B': 'HBM Usage Rate(%)              : 7B'"
    )


def test_keys_that_nobody_knows_are_left_out() -> None:
    text = sample("usages_a3").replace(
        "\tHBM Capacity", "\tSomething New(%)               : a lot\n\tHBM Capacity"
    )
    assert parse_usages(text) == parse_usages(sample("usages_a3"))


@pytest.mark.parametrize("parse", [parse_common, parse_usages, parse_memory])
def test_a_chip_without_its_number_is_refused(parse: Callable[[str], object]) -> None:
    with pytest.raises(NpuSmiParseError):
        parse("Chip ID : NA\nChip ID : 0\n")
