"""Faults: what the tools say while one is set, and what ends it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from npuctl.hardware.npu_smi import DriverUnusableError, parse_info, parse_mapping

if TYPE_CHECKING:
    from tests.unit.sandbox.npusim.conftest import Node


def test_a_dropped_chip_is_gone_but_for_its_device_node(a3: Node) -> None:
    a3.npusim("fault", "chip-dropped", "--chip", "5")
    assert [chip.phy_id for chip in a3.info().chips] == [n for n in range(16) if n != 5]
    assert len(parse_mapping(a3.smi("info", "-m"))) == 15
    assert (a3.root / "dev/davinci5").exists()
    assert a3.run("hccn_tool", "-i", "5", "-ip", "-g").stderr == "The device is not exist!\n"
    assert a3.run("npu-smi", "info", "-t", "health", "-i", "2", "-c", "1").returncode != 0


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
        ("fault health --value Poorly", "OK, Warning, Alarm, Critical"),
        ("fault hbm-leak --value lots", "a whole number"),
        ("fault npu-smi-hang --value soon", "a number of seconds"),
        ("fault npu-smi-hang --chip 1", "is of the node"),
        ("fault ip --chip 1", "needs --value"),
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
