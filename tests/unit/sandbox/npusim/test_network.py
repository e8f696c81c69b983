"""The simulated NPU network: pings reach the node that owns the address, and each drill breaks its own thing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from npuctl.hardware.hccn_ping import parse_hccs_ping, parse_ping
from tests.unit.sandbox.npusim.conftest import BIN, Node

RESPONDER = f"import sys; sys.path.insert(0, {str(BIN.parent)!r}); from npusim.responder import main; sys.exit(main())"


@dataclass
class Network:
    """Nodes 1 and 2 of a sandbox of three; the third is down."""

    nodes: list[Node]
    responders: list[subprocess.Popen[bytes]]

    def reaches(self, chip: int, address: str, *, source: int = 0) -> bool:
        done = self.nodes[source].run("hccn_tool", "-i", str(chip), "-ping", "-g", "address", address)
        return parse_ping(done.stdout).received == 3

    def reaches_in_pod(self, chip: int, address: str) -> bool:
        words = ("-i", str(chip), "-hccs_ping", "-g", "address", address)
        return parse_hccs_ping(self.nodes[0].hccn(*words)).lossless


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Callable[[str], Network]]:
    running: list[subprocess.Popen[bytes]] = []

    def start(product: str) -> Network:
        # Loopback addresses of the test's own: the responders' port is one for all.
        subnet = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"  # noqa: S311
        nodes = []
        for index in (1, 2):
            node = Node(tmp_path / f"node-{index}")
            node.npusim("init", "--product", product, "--node-index", str(index))
            node.npusim("boot")
            marker = {"address": f"{subnet}.{10 + index}", "node": index, "nodes": 3}
            (node.root / "etc/npuctl-sandbox").write_text(json.dumps(marker), encoding="utf-8")
            command = [sys.executable, "-ISE", "-c", RESPONDER]
            running.append(subprocess.Popen(command, env=node.environment))
            nodes.append(node)
        found = Network(nodes, running)
        deadline = time.monotonic() + 20
        while not found.reaches(0, "10.20.2.11") or not found.reaches(0, "10.20.1.11", source=1):
            assert time.monotonic() < deadline, "the responders do not answer"
        return found

    yield start
    for responder in running:
        responder.kill()
        responder.wait()


def test_pings_reach_ports_that_are_there_and_no_others(network: Callable[[str], Network]) -> None:
    found = network("a2")
    assert found.reaches(0, "10.20.2.18")
    assert found.reaches(7, "10.20.1.11")  # a port of the same node
    for nobody in ("10.20.2.19", "10.20.3.11", "10.20.9.11", "10.99.2.11", "1.2.3.4"):
        assert not found.reaches(0, nobody), nobody
    found.responders[1].kill()
    found.responders[1].wait()
    assert not found.reaches(0, "10.20.2.18")


def test_addresses_that_an_operator_gave_are_found_wherever_they_are(
    network: Callable[[str], Network],
) -> None:
    found = network("a2")
    for node, address in zip(found.nodes, ("10.20.0.7", "10.20.9.8"), strict=True):
        node.hccn("-i", "3", "-ip", "-s", "address", address, "netmask", "255.255.0.0")
    assert found.reaches(3, "10.20.9.8")
    assert found.reaches(3, "10.20.0.7", source=1)
    assert found.reaches(0, "10.20.9.8")
    assert not found.reaches(3, "10.20.2.14")


def test_a_port_reaches_another_network_through_a_gateway_only(network: Callable[[str], Network]) -> None:
    found = network("a2")
    other = found.nodes[1]
    other.hccn("-i", "3", "-ip", "-s", "address", "10.30.0.3", "netmask", "255.255.255.0")
    assert not found.reaches(3, "10.30.0.3")
    assert other.hccn("-i", "3", "-net_health", "-g") == "net health status: Unreachable\n"
    other.hccn("-i", "3", "-gateway", "-s", "gateway", "10.30.0.254")
    assert found.reaches(3, "10.30.0.3")
    assert other.hccn("-i", "3", "-net_health", "-g") == "net health status: Success\n"


def test_a_tool_that_ignores_and_one_that_does_not_save(a2: Node) -> None:
    a2.npusim("fault", "hccn-ignores", "--chip", "3")
    assert a2.hccn("-i", "3", "-mtu", "-s", "size", "4200") == "Cmd executed successfully!\n"
    assert a2.hccn("-i", "3", "-mtu", "-g") == "mtu:1500\n"
    a2.npusim("clear")
    a2.npusim("fault", "hccn-unsaved")
    a2.hccn("-i", "3", "-mtu", "-s", "size", "4200")
    assert a2.hccn("-i", "3", "-mtu", "-g") == "mtu:4200\n"
    assert "mtu_3" not in a2.text("etc/hccn.conf")


def test_a_lost_ping_fails_and_says_so_in_the_tools_words(network: Callable[[str], Network]) -> None:
    found = network("a2")
    lost = found.nodes[0].run("hccn_tool", "-i", "0", "-ping", "-g", "address", "10.20.3.11")
    assert (lost.returncode, lost.stderr) == (1, "Command execute failed!\n")
    assert lost.stdout.endswith("3 packets transmitted, 0 received, 100.00% packet loss\n")


@pytest.mark.parametrize(
    ("fault", "into", "out"),
    [
        ("link-down", False, False),
        ("port-deaf", False, False),
        ("chip-dropped", False, None),
        ("ip", False, True),
        ("ip --value 10.20.1.99", False, True),  # a free address, whichever node's it looks like
        ("ip --value 10.20.1.12", False, False),  # another node's: the answer goes there
        ("ip --value 10.30.0.1", False, False),  # no way out of that network
        ("no-ip", False, False),
        ("tls", True, True),  # of HCCL's connections: a ping does not use it
        ("net-health", True, True),
        ("gateway", True, True),
        ("detect", True, True),
        ("npu-mtu", True, True),
    ],
)
def test_what_a_drill_does_to_pings_into_and_out_of_its_port(
    network: Callable[[str], Network], fault: str, *, into: bool, out: bool | None
) -> None:
    found = network("a2")
    own = found.nodes[1]
    own.npusim("fault", *fault.split(), "--chip", "3")
    assert found.reaches(0, "10.20.2.14") is into
    assert found.reaches(0, "10.20.2.15")
    if out is not None:
        assert found.reaches(3, "10.20.1.11", source=1) is out
    own.npusim("clear")
    assert found.reaches(0, "10.20.2.14")
    assert found.reaches(3, "10.20.1.11", source=1)


def test_a_pair_can_be_cut(network: Callable[[str], Network]) -> None:
    found = network("a2")
    found.nodes[0].npusim("fault", "cut-pair", "--chip", "3")
    assert not found.reaches(3, "10.20.2.14")
    assert not found.reaches(3, "10.20.1.14", source=1)
    assert found.reaches(3, "10.20.2.15")
    assert found.reaches(2, "10.20.2.14")


def test_inside_a_super_pod_the_vnic_counts_and_not_the_link(network: Callable[[str], Network]) -> None:
    found = network("a3")
    assert found.reaches_in_pod(0, "192.2.3.184")
    assert not found.reaches_in_pod(0, "192.3.3.184")
    sdid = 2 << 22 | 7 << 18 | 1 << 16 | 15
    answer = found.nodes[0].hccn("-i", "0", "-hccs_ping", "-g", "sdid", str(sdid), "cnt", "2")
    assert "2 packets transmitted, 2 received, 0.00% packets loss" in answer
    found.nodes[1].npusim("fault", "link-down", "--chip", "15")
    assert found.reaches_in_pod(0, "192.2.3.184")
    found.nodes[1].npusim("fault", "vnic-down", "--chip", "15")
    assert not found.reaches_in_pod(0, "192.2.3.184")
    assert "vnic link status: DOWN" in found.nodes[1].hccn("-i", "15", "-vnic", "-g")


def test_a_ping_lasts_as_long_as_was_asked_for(network: Callable[[str], Network]) -> None:
    found = network("a2")
    (found.nodes[0].root / "var/lib/npusim/ping-ms").write_text("400\n", encoding="utf-8")
    began = time.monotonic()
    assert found.reaches(0, "10.20.2.11")
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize(
    ("fault", "key", "runs", "saved"),
    [
        ("ip", "-ip", "ipaddr:10.20.3.114", "address_3=10.20.3.14"),
        ("gateway", "-gateway", "default gateway:10.20.250.1", "gateway_3=10.20.255.1"),
        ("detect", "-netdetect", "netdetect address: 0.0.0.0", "netdetect_3=10.20.255.1"),
        ("npu-mtu", "-mtu", "mtu:4200", "address_3=10.20.3.14"),
        ("duplicate-ip", "-ip", "ipaddr:10.20.3.13", "address_3=10.20.3.13"),
    ],
)
def test_drills_of_settings_are_seen_and_taken_back(
    a2: Node, fault: str, key: str, runs: str, saved: str
) -> None:
    before = a2.hccn("-i", "3", key, "-g"), a2.text("etc/hccn.conf").splitlines()
    a2.npusim("fault", fault, "--chip", "3")
    assert a2.hccn("-i", "3", key, "-g").startswith(runs)
    assert saved in a2.text("etc/hccn.conf").splitlines()
    a2.npusim("fault", fault, "--chip", "3")  # twice is once
    a2.npusim("clear", fault)
    assert (a2.hccn("-i", "3", key, "-g"), a2.text("etc/hccn.conf").splitlines()) == before


@pytest.mark.parametrize("fault", ["ip", "gateway", "detect", "npu-mtu", "tls"])
@pytest.mark.parametrize("mend", ["recovery", "boot"])
def test_what_only_runs_wrongly_is_over_after_a_recovery_or_a_boot(a2: Node, fault: str, mend: str) -> None:
    before = a2.show()["ports"]
    a2.npusim("fault", fault, "--chip", "3")
    assert a2.show()["ports"] != before
    if mend == "boot":
        a2.npusim("boot")
    else:
        a2.hccn("-i", "3", "-cfg", "recovery")
    assert a2.show()["ports"] == before
    assert a2.show()["faults"] == []


def test_an_npu_that_was_never_given_an_address_has_none_after_a_boot_either(a2: Node) -> None:
    a2.npusim("fault", "no-ip", "--chip", "3")
    for _ in range(2):
        assert a2.run("hccn_tool", "-i", "3", "-ip", "-g").returncode == 13
        assert "address_3=" not in a2.text("etc/hccn.conf")
        a2.npusim("boot")
    a2.npusim("clear")
    assert a2.hccn("-i", "3", "-ip", "-g").startswith("ipaddr:10.20.3.14")


def test_a_broken_line_of_hccn_conf_comes_and_goes(a2: Node) -> None:
    before = a2.text("etc/hccn.conf")
    a2.npusim("fault", "hccn-conf")
    a2.npusim("fault", "hccn-conf")
    assert [line for line in a2.text("etc/hccn.conf").splitlines() if "=" not in line] == ["address_0 10.20"]
    a2.npusim("clear")
    assert a2.text("etc/hccn.conf") == before
