"""The simulated hccn_tool: answers, settings that last, pings and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.sandbox.npusim.conftest import Node


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("-ip -g", "ipaddr:10.20.3.13\nnetmask:255.255.0.0\n"),
        ("-link -g", "link status: UP\n"),
        ("-net_health -g", "net health status: Success\n"),
        ("-gateway -g", "default gateway:10.20.255.1, Iface:eth2\n"),
        ("-netdetect -g", "netdetect address: 10.20.255.1\n"),
        ("-speed -g", "Speed: 200000 Mb/s\n"),
        ("-mtu -g", "mtu:1500\n"),
        (
            "-tls -g",
            (
                "dev_id:2, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), "
                "tls alarm time threshold[60]days\n"
            ),
        ),
        (
            "-ping -g address 10.20.3.11",
            (
                "device 2 PING 10.20.3.11\nrecv seq=0,time=0.137000ms\nrecv seq=1,time=0.096000ms\n"
                "recv seq=2,time=0.055000ms\n3 packets transmitted, 3 received, 0.00% packet loss\n"
            ),
        ),
    ],
)
def test_queries_answer_in_the_tools_words(
    pristine: Callable[[str], Node], arguments: str, answer: str
) -> None:
    assert pristine("a2").hccn("-i", "2", *arguments.split()) == answer


def test_statistics_records_and_neighbours(a2: Node) -> None:
    assert "roce_rx_err_pkt_num:0\n" in a2.hccn("-i", "0", "-stat", "-g")
    assert "Ifname: 400GE1/1/4:1\n" in a2.hccn("-i", "0", "-lldp", "-g")
    a2.npusim("fault", "link-down", "--chip", "0")
    records = [line for line in a2.hccn("-i", "0", "-link_stat", "-g").splitlines() if "LINK " in line]
    assert records[0].endswith("LINK DOWN")
    assert records[1].endswith("LINK UP")


def test_settings_last_and_stand_in_hccn_conf(a2: Node) -> None:
    for words in (
        "-ip -s address 10.30.0.9 netmask 255.255.255.0",
        "-gateway -s gateway 10.30.0.1",
        "-netdetect -s address 10.30.0.1",
        "-tls -s enable 1",
        "-mtu -s size 4200",
    ):
        assert a2.hccn("-i", "6", *words.split()) == "Cmd executed successfully!\n"
    assert a2.hccn("-i", "6", "-ip", "-g") == "ipaddr:10.30.0.9\nnetmask:255.255.255.0\n"
    conf = a2.text("etc/hccn.conf").splitlines()
    for line in (
        "address_6=10.30.0.9",
        "gateway_6=10.30.0.1",
        "tls_enable_6=1",
        "mtu_6=4200",
        "address_5=10.20.3.16",
    ):
        assert line in conf
    a2.npusim("boot")
    assert a2.hccn("-i", "6", "-mtu", "-g") == "mtu:4200\n"


def test_recovery_reads_hccn_conf_again(a2: Node) -> None:
    a2.hccn("-i", "1", "-link", "-s", "down")
    assert a2.hccn("-i", "1", "-net_health", "-g") == "net health status: Fault\n"
    assert a2.run("hccn_tool", "-i", "1", "-ping", "-g", "address", "10.20.3.11").returncode != 0
    assert a2.hccn("-i", "1", "-cfg", "recovery") == "Cmd executed successfully!\n"
    assert a2.hccn("-i", "1", "-net_health", "-g") == "net health status: Success\n"
    (a2.root / "etc/hccn.conf").write_text("address_1=10.9.9.9\nnetmask_1=255.255.0.0\n", encoding="utf-8")
    a2.hccn("-a", "-cfg", "recovery")
    assert a2.hccn("-i", "1", "-ip", "-g").startswith("ipaddr:10.9.9.9\n")
    assert a2.hccn("-i", "1", "-net_health", "-g") == "net health status: Init\n"
    bare = a2.run("hccn_tool", "-i", "2", "-ip", "-g")
    assert (bare.returncode, bare.stderr) == (13, "Get ipconf failed, because no ip was preset there!\n")


def test_an_a3_has_sixteen_ports_in_two_networks_and_a_virtual_one(a3: Node) -> None:
    assert a3.hccn("-i", "14", "-ip", "-g").startswith("ipaddr:10.20.3.25\n")
    assert a3.hccn("-i", "15", "-ip", "-g").startswith("ipaddr:10.21.3.26\n")
    assert a3.hccn("-i", "15", "-vnic", "-g").startswith("vnic link status: UP\nvnic ipaddr: 192.3.3.184\n")


@pytest.mark.parametrize(
    ("key", "arguments", "says"),
    [
        ("a2", "", "Get invalid major cmd number."),
        ("a2", "-i 0", "Get invalid major cmd number."),
        ("a2", "-x 0 -ip -g", "Get invalid major cmd type."),
        ("a2", "-i zero -ip -g", "Get invalid device id."),
        ("a2", "-i 8 -ip -g", "The device is not exist!"),
        ("a2", "-i 0 -nonsense -g", "Get invalid major cmd."),
        ("a2", "-i 0 -ip", "The total count of input parameters is wrong!\n[ hccn_tool -i devid -ip ] needs"),
        ("a2", "-i 0 -ip -q", "Get unknown option!\n[ hccn_tool -i devid -ip ] needs"),
        ("a2", "-i 0 -ip -g more", "The total count of input parameters is wrong!"),
        ("a2", "-i 0 -ip -s address 10.0.0.1", "The total count of input parameters is wrong!"),
        ("a2", "-i 0 -ip -s adress 10.0.0.1 netmask 255.0.0.0", "Get invalid parameters!"),
        (
            "a2",
            "-i 0 -ip -s address 10.0.0.256 netmask 255.0.0.0",
            "The ip address you configured is invalid!",
        ),
        (
            "a2",
            "-i 0 -ip -s address 10.20.3.12 netmask 255.255.0.0",
            "The ip address configured is conflicted!",
        ),
        ("a2", "-i 0 -gateway -s gateway 10.99.0.1", "The segment of configured gateway doesn't match"),
        ("a2", "-i 0 -tls -s enable 2", "Get invalid enable value!"),
        ("a2", "-i 0 -mtu -s size 67", "The value of mtu you input is out of the valid range!"),
        ("a2", "-i 0 -link -s sideways", "Get invalid parameters!"),
        ("a2", "-i 0 -net_health -s up", "Get unknown option!"),
        ("a2", "-i 0 -ping -g address nowhere", "The ip address you configured is invalid!"),
        ("a2", "-i 0 -ping -g", "Get invalid parameters!"),
        ("a2", "-i 0 -ping -g address 10.20.0.1 pkt 65508", "Get invalid parameters!"),
        ("a3", "-i 0 -hccs_ping -g sdid 1", "Get invalid parameters!"),
        ("a3", "-i 0 -hccs_ping -g address 192.4.3.184 sdid 0", "Get invalid parameters!"),
        ("a2", "-i 0 -vnic -g", "The command is not supported on this product."),
        ("310p", "-i 0 -ip -g", "The command is not supported on this product."),
    ],
)
def test_what_the_real_hccn_tool_refuses_is_refused(
    key: str, arguments: str, says: str, pristine: Callable[[str], Node]
) -> None:
    done = pristine(key).run("hccn_tool", *arguments.split())
    assert done.returncode != 0
    assert (done.stdout + done.stderr).startswith(says)


def test_two_callers_of_one_chip_meet_a_busy_tool(a2: Node) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (a2.root / "var/lib/npusim/hccn-0.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = a2.run("hccn_tool", "-i", "0", "-ip", "-g")
        assert a2.hccn("-i", "1", "-ip", "-g")
    assert busy.returncode != 0
    assert busy.stdout == "hccn_tool is busy, please try again.\n"
    assert a2.hccn("-i", "0", "-ip", "-g")
