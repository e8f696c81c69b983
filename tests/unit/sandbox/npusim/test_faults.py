"""Faults: what the tools say while one is set, and what ends it."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from npuctl.hardware.lspci import npus, parse_lspci
from npuctl.hardware.npu_smi import DriverUnusableError, parse_info, parse_mapping
from npuctl.hardware.npu_smi_cards import parse_board
from npuctl.hardware.npu_smi_queries import parse_ecc, parse_health
from npuctl.hardware.npu_smi_query_records import CardBoard, ChipEcc, ChipHealth

if TYPE_CHECKING:
    from tests.unit.sandbox.npusim.conftest import Node


def test_a_dropped_chip_is_gone_but_for_its_device_node(a3: Node) -> None:
    a3.npusim("fault", "chip-dropped", "--chip", "5")
    assert [chip.phy_id for chip in a3.info().chips] == [n for n in range(16) if n != 5]
    assert len(parse_mapping(a3.smi("info", "-m"))) == 15
    assert (a3.root / "dev/davinci5").exists()
    assert a3.run("hccn_tool", "-i", "5", "-ip", "-g").stderr == "The device is not exist!\n"
    assert a3.run("npu-smi", "info", "-t", "health", "-i", "2", "-c", "1").returncode != 0


def test_a_dropped_chip_is_still_on_the_bus_unless_the_bus_lost_it(a2: Node) -> None:
    a2.npusim("fault", "chip-dropped", "--chip", "5")
    assert len(npus(parse_lspci(a2.lspci()))) == 8
    a2.npusim("fault", "chip-dropped", "--chip", "5", "--value", "bus")
    assert len(npus(parse_lspci(a2.lspci()))) == 7
    assert not (a2.root / "dev/davinci5").exists()
    a2.npusim("boot")
    assert not (a2.root / "dev/davinci5").exists()
    a2.npusim("clear")
    assert (a2.root / "dev/davinci5").exists()
    assert len(npus(parse_lspci(a2.lspci()))) == 8


def test_another_call_of_lspci_is_the_machines_own(a2: Node) -> None:
    own, real = a2.run("lspci", "-v"), shutil.which("lspci", path="/usr/bin")
    if real:
        assert own.stdout == subprocess.run([real, "-v"], capture_output=True, text=True, check=False).stdout
    else:
        assert (own.returncode, own.stderr) == (127, "lspci: not installed\n")


def health(node: Node, card: int, *chip: str) -> ChipHealth:
    return parse_health(node.smi("info", "-t", "health", "-i", str(card), *chip))[0]


def test_a_chip_in_alarm_may_be_ok_to_its_card_and_in_the_table(a2: Node) -> None:
    a2.npusim("fault", "health-mcu", "--chip", "4", "--value", "80E18402 8C084E00")
    told = health(a2, 4, "-c", "0")
    assert (told.health, told.error_codes) == ("Alarm", ("80E18402", "8C084E00"))
    assert len(told.error_informations) == 2
    assert health(a2, 4).health == "OK"
    assert {chip.health for chip in a2.info().chips} == {"OK"}


@pytest.mark.parametrize("word", ["OK", "Warning", "Alarm", "Critical", "UNKNOWN"])
def test_every_word_of_health_can_be_had(word: str, a3: Node) -> None:
    a3.npusim("fault", "health", "--chip", "3", "--value", word)
    assert health(a3, 1, "-c", "1").health == word
    assert health(a3, 1, "-c", "0").health == "OK"
    assert a3.info().chips[3].health == word


@pytest.mark.parametrize(("fixture", "card"), [("a2", "2"), ("a3", "1"), ("duo", "320")])
def test_errors_of_two_bits_are_counted_and_their_pages_isolated(
    fixture: str, card: str, request: pytest.FixtureRequest
) -> None:
    node: Node = request.getfixturevalue(fixture)

    def ecc() -> ChipEcc:
        return parse_ecc(node.smi("info", "-t", "ecc", "-i", card, "-c", "0"))[0]

    assert set(ecc().counters.values()) == {0}
    node.npusim("fault", "ecc", "--chip", "2", "--value", "3")
    found = ecc()
    assert (found.uncorrectable, found.uncorrectable_ever, found.correctable) == (3, 3, 0)
    assert sum(found.counters.values()) == 9


def board(node: Node, card: str) -> CardBoard:
    found = parse_board(node.smi("info", "-t", "board", "-i", card))
    assert isinstance(found, CardBoard)
    return found


def test_a_card_says_what_its_firmware_is_and_whether_it_fits(a3: Node) -> None:
    a3.npusim("fault", "firmware", "--chip", "3")
    a3.npusim("fault", "compatibility", "--chip", "5")
    assert [board(a3, str(card)).firmware_version for card in range(3)] == [
        "7.8.0.7.220",
        "7.8.0.7.220",
        "7.8.0.7.220",
    ]
    assert [board(a3, str(card)).compatibility for card in range(3)] == ["OK", "OK", "NOK"]
    a3.npusim("fault", "firmware", "--chip", "2")
    assert board(a3, "1").firmware_version == "7.7.0.6.236"


def test_an_installation_that_was_cut_short_lacks_its_last_line(a2: Node) -> None:
    whole = a2.text("etc/ascend_install.info")
    a2.npusim("fault", "install-broken")
    assert whole == a2.text("etc/ascend_install.info") + "Driver_Install_Status=complete\n"
    assert (
        a2.smi("info")
        .splitlines()[-1]
        .startswith("[WARNING]The driver package may not be completely installed")
    )
    assert a2.info().complete
    a2.npusim("fault", "driver", "--value", "26.0.rc1")
    a2.npusim("clear", "driver")
    assert a2.text("etc/ascend_install.info") != whole
    a2.npusim("clear", "install-broken")
    assert a2.text("etc/ascend_install.info") == whole
    assert a2.smi("info").endswith("+\n")


def test_a_foreign_process_holds_a_chip_until_it_is_sent_away(a2: Node) -> None:
    a2.npusim("fault", "held", "--chip", "6")
    (process,) = a2.info().processes
    assert (process.npu, process.name) == (6, "sleep")
    a2.npusim("fault", "held", "--chip", "6")
    (again,) = a2.info().processes
    assert again.pid != process.pid
    a2.npusim("clear", "held", "--chip", "5")
    assert a2.info().processes == (again,)
    a2.npusim("boot")
    assert a2.info().processes == ()
    assert not a2.show()["faults"]


def test_a_boot_mends_what_a_boot_mends(a2: Node) -> None:
    transient = ["hbm-leak", "held", "npu-smi-hang", "npu-smi-dead", "hccn-busy", "tls"]
    lasting = ["health", "health-mcu", "ecc", "temperature", "firmware", "compatibility", "install-broken"]
    for name in transient + lasting:
        kind = {"npu-smi-hang": ["--value", "0"]}.get(name, [])
        chip = (
            [] if name in {"npu-smi-hang", "npu-smi-dead", "hccn-busy", "install-broken"} else ["--chip", "1"]
        )
        a2.npusim("fault", name, *chip, *kind)
    a2.npusim("boot")
    assert [fault["name"] for fault in a2.show()["faults"]] == lasting


def test_a_dropped_card_is_an_invalid_id(a2: Node) -> None:
    a2.npusim("fault", "chip-dropped", "--chip", "0")
    assert a2.run("npu-smi", "info", "-t", "board", "-i", "0").stdout.startswith("Invalid card id.\n")
    a2.npusim("clear", "chip-dropped")
    assert len(a2.info().chips) == 8


def test_leaked_memory_has_no_process(a2: Node) -> None:
    before = a2.info().chips[3].memory_used_mb
    a2.npusim("fault", "hbm-leak", "--chip", "3", "--value", "26000")
    info = a2.info()
    assert info.chips[3].memory_used_mb == before + 26000
    assert info.processes == ()
    a2.npusim("fault", "hbm-leak", "--chip", "3", "--value", "99999")
    assert a2.info().chips[3].memory_used_mb == 65536  # never more than there is


def test_temperature_and_health_of_every_chip(duo: Node) -> None:
    duo.npusim("fault", "temperature", "--value", "97")
    duo.npusim("fault", "health", "--value", "Critical")
    assert {(chip.temperature_c, chip.health) for chip in duo.info().chips} == {(97, "Critical")}
    duo.npusim("clear", "health", "--chip", "2")
    assert [chip.health for chip in duo.info().chips].count("OK") == 1


def test_a_broken_link_is_not_mended_by_commands(a2: Node) -> None:
    a2.npusim("fault", "link-down", "--chip", "7")
    a2.hccn("-i", "7", "-link", "-s", "up")
    assert a2.hccn("-i", "7", "-link", "-g") == "link status: DOWN\n"
    assert a2.hccn("-i", "7", "-net_health", "-g") == "net health status: Fault\n"
    a2.npusim("clear")
    assert a2.hccn("-i", "7", "-link", "-g") == "link status: UP\n"


def test_net_health_says_what_the_fault_says(a2: Node) -> None:
    a2.npusim("fault", "net-health", "--chip", "1", "--value", "Receive timeout")
    assert a2.hccn("-i", "1", "-net_health", "-g") == "net health status: Receive timeout\n"
    assert a2.hccn("-i", "2", "-net_health", "-g") == "net health status: Success\n"


@pytest.mark.parametrize(
    "mend", [["npusim", "clear", "ip"], ["hccn_tool", "-i", "2", "-cfg", "recovery"]], ids=str
)
def test_an_address_changed_behind_the_configuration(a2: Node, mend: list[str]) -> None:
    a2.npusim("fault", "ip", "--chip", "2", "--value", "10.66.0.1")
    assert a2.hccn("-i", "2", "-ip", "-g").startswith("ipaddr:10.66.0.1\n")
    assert "address_2=10.20.3.13\n" in a2.text("etc/hccn.conf")
    assert a2.run(*mend).returncode == 0
    assert a2.hccn("-i", "2", "-ip", "-g").startswith("ipaddr:10.20.3.13\n")
    assert not a2.show()["faults"]


def test_tls_differs_until_it_is_set_again(a2: Node) -> None:
    a2.npusim("fault", "tls", "--chip", "4", "--value", "1")
    assert "tls switch[1]" in a2.hccn("-i", "4", "-tls", "-g")
    a2.hccn("-i", "4", "-tls", "-s", "enable", "0")
    assert "tls switch[0]" in a2.hccn("-i", "4", "-tls", "-g")
    assert not a2.show()["faults"]


def test_npu_smi_hangs_for_as_long_as_told(a2: Node) -> None:
    a2.npusim("fault", "npu-smi-hang", "--value", "0.6")
    start = time.monotonic()
    a2.info()
    assert time.monotonic() - start >= 0.6


def test_a_dead_npu_smi_blames_the_driver(a2: Node) -> None:
    a2.npusim("fault", "npu-smi-dead")
    dead = a2.run("npu-smi", "info")
    assert dead.returncode != 0
    with pytest.raises(DriverUnusableError):
        parse_info(dead.stdout)


def test_a_table_that_is_cut_has_its_chips_and_no_end(a2: Node) -> None:
    a2.npusim("fault", "npu-smi-cut")
    info = a2.info()
    assert (len(info.chips), info.complete) == (8, False)


def test_one_query_fails_and_the_others_do_not(a2: Node) -> None:
    a2.npusim("fault", "npu-smi-fails", "--value", "health")
    failed = a2.run("npu-smi", "info", "-t", "health", "-i", "0", "-c", "0")
    assert (failed.returncode, failed.stdout) == (1, 'Failed to query "health" info.\n')
    assert a2.smi("info", "-t", "ecc", "-i", "0", "-c", "0")
    assert len(a2.info().chips) == 8


def test_a_busy_hccn_tool_stays_busy_until_cleared(a2: Node) -> None:
    a2.npusim("fault", "hccn-busy")
    assert a2.run("hccn_tool", "-i", "0", "-ip", "-g").stdout == "hccn_tool is busy, please try again.\n"
    a2.npusim("clear", "hccn-busy")
    assert a2.hccn("-i", "0", "-ip", "-g")


def test_a_driver_on_disk_runs_after_the_next_boot(a2: Node) -> None:
    a2.npusim("fault", "driver", "--value", "26.0.rc1")
    assert a2.text("usr/local/Ascend/driver/version.info").startswith("Version=26.0.rc1\n")
    assert a2.info().version == "25.5.2"
    a2.npusim("boot")
    assert a2.info().version == "26.0.rc1"
    assert a2.info().complete  # this release prints the wide table
    assert not a2.show()["faults"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("fault meteor", "known: chip-dropped, health,"),
        ("clear meteor", "known: chip-dropped, health,"),
        ("fault health --chip 8", "no chip 8"),
        ("fault health --value Poorly", "OK, Warning, Alarm, Critical, UNKNOWN, or codes"),
        ("fault health --value 80C9800", "codes of 8 hex digits"),
        ("fault chip-dropped --value down", "driver, bus"),
        ("fault held --value 1", "takes no --value"),
        ("fault hbm-leak --value lots", "a whole number"),
        ("fault npu-smi-hang --value soon", "a number of seconds"),
        ("fault npu-smi-hang --chip 1", "is of the node"),
        ("fault vnic-down --chip 1", "in no super pod"),
        ("fault cut-pair --chip 1", "no other node is known"),
        ("fault ip --value 10.0.0.1", "needs --chip"),
        ("fault link-down --value 3", "takes no --value"),
        ("init --product a5 --node-index 0", "invalid choice"),
        ("init --product a2 --node-index 255", "0 to 254"),
        ("dance", "invalid choice"),
    ],
)
def test_the_switchboard_refuses_what_it_does_not_know(a2: Node, arguments: str, says: str) -> None:
    state = a2.text("var/lib/npusim/state.json")
    done = a2.run("npusim", *arguments.split())
    assert done.returncode == 2
    assert says in done.stderr
    assert a2.text("var/lib/npusim/state.json") == state
