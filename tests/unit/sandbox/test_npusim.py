"""The simulated NPU tools, run as the node runs them: their scripts as processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from npuctl.hardware.catalog import PRODUCTS, identify
from npuctl.hardware.npu_smi import DriverUnusableError, NpuSmiInfo, parse_info, parse_mapping

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(__file__).resolve().parents[3] / "sandbox" / "node" / "npusim" / "bin"


@dataclass(frozen=True)
class Node:
    """A node's files below one folder."""

    root: Path

    def run(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "NPUSIM_ROOT": str(self.root),
            "NPUSIM_DEVICE_PREFIX": f"{self.root}/dev/davinci",
        }
        # As by its shebang, but with this interpreter: a checkout's machine may have another one.
        command = [sys.executable, "-ISE", str(BIN / tool), *arguments]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=30, check=False
        )

    def npusim(self, *arguments: str) -> str:
        done = self.run("npusim", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def smi(self, *arguments: str) -> str:
        done = self.run("npu-smi", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hccn(self, *arguments: str) -> str:
        done = self.run("hccn_tool", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def info(self) -> NpuSmiInfo:
        return parse_info(self.smi("info"))

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def show(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.npusim("show"))
        return answer


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Node]:
    """A booted node of each product, shared: for tests that only ask."""

    @cache
    def make(product: str) -> Node:
        node = Node(tmp_path_factory.mktemp(product))
        node.npusim("init", "--product", product, "--node-index", "3")
        node.npusim("boot")
        return node

    return make


@pytest.fixture
def own(pristine: Callable[[str], Node], tmp_path: Path) -> Callable[[str], Node]:
    """The same as a copy of the test's own: for tests that change something."""
    return lambda product: Node(shutil.copytree(pristine(product).root, tmp_path / product))


@pytest.fixture
def a2(own: Callable[[str], Node]) -> Node:
    return own("a2")


@pytest.fixture
def a3(own: Callable[[str], Node]) -> Node:
    return own("a3")


@pytest.fixture
def duo(own: Callable[[str], Node]) -> Node:
    return own("310p")


# -- a new node ------------------------------------------------------------------------------------


@pytest.mark.parametrize("product", PRODUCTS[:3], ids=lambda product: product.key)
def test_a_new_node_is_idle_healthy_and_recognised(product: Any, pristine: Callable[[str], Node]) -> None:
    info = pristine(product.key).info()
    assert info.complete
    assert (info.version, info.driver_version) == ("25.5.2", "25.5.2")
    assert len(info.chips) == product.chips_per_server
    assert {chip.health for chip in info.chips} == {"OK"}
    assert max(chip.memory_used_mb for chip in info.chips) < product.idle_memory_mb
    assert info.processes == ()
    assert identify([chip.name for chip in info.chips], len(info.chips)) is product


@pytest.mark.parametrize("key", ["a2", "a3", "310p"])
def test_the_mapping_lists_the_chips_of_the_table(key: str, pristine: Callable[[str], Node]) -> None:
    node = pristine(key)
    mapping = parse_mapping(node.smi("info", "-m"))
    assert [(row.npu, row.chip) for row in mapping] == [(c.npu, c.chip) for c in node.info().chips]
    assert [row.logic_id for row in mapping] == list(range(len(mapping)))
    assert {row.phy_id is None for row in mapping} == {key != "a3"}
    product = identify([row.name for row in mapping], len(mapping))
    assert product is not None
    assert product.key == key


def test_the_files_of_a_real_driver_are_there(a2: Node) -> None:
    assert a2.text("usr/local/Ascend/driver/version.info").startswith("Version=25.5.2\n")
    assert "Driver_Install_Status=complete\n" in a2.text("etc/ascend_install.info")
    for path in ("usr/local/dcmi/libdcmi.so", "usr/local/Ascend/driver/lib64/libascend_hal.so"):
        assert (a2.root / path).exists()
    conf = a2.text("etc/hccn.conf").splitlines()
    assert conf[:2] == ["address_0=10.20.3.11", "netmask_0=255.255.0.0"]
    assert len(conf) == 8 * 6
    assert (a2.root / "etc/hccn.conf").stat().st_mode & 0o777 == 0o640


def test_a_boot_makes_the_device_nodes_and_a_second_one_changes_nothing(a3: Node) -> None:
    def nodes() -> dict[str, int]:
        return {path.name: path.stat().st_mode for path in (a3.root / "dev").iterdir()}

    first = nodes()
    assert set(first) == {
        *(f"davinci{n}" for n in range(16)),
        "davinci_manager",
        "devmm_svm",
        "hisi_hdc",
    }
    assert {mode & 0o777 for mode in first.values()} == {0o660}
    shown = a3.show()
    a3.npusim("boot")
    assert nodes() == first
    assert a3.show() == shown


def test_init_again_resets_unless_told_not_to(a2: Node) -> None:
    a2.npusim("fault", "health", "--chip", "1")
    a2.npusim("init", "--product", "a2", "--node-index", "3", "--if-missing")
    assert a2.show()["faults"]
    a2.npusim("init", "--product", "a2", "--node-index", "3")
    assert not a2.show()["faults"]


def test_a_machine_without_npus_says_so(tmp_path: Path) -> None:
    node = Node(tmp_path)
    smi = node.run("npu-smi", "info")
    assert smi.returncode != 0
    with pytest.raises(DriverUnusableError):
        parse_info(smi.stdout)
    assert node.run("hccn_tool", "-i", "0", "-ip", "-g").returncode != 0
    show = node.run("npusim", "show")
    assert show.returncode == 1
    assert "npusim init" in show.stderr


# -- memory follows the processes ------------------------------------------------------------------


def test_memory_rises_while_a_process_holds_a_chip_and_falls_after(a2: Node) -> None:
    idle = a2.info()
    code = "import sys,time; f=open(sys.argv[1]); g=open(sys.argv[2]); print('up',flush=True); time.sleep(60)"
    devices = [str(a2.root / "dev" / name) for name in ("davinci2", "davinci5")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *devices], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "up\n"
            held = a2.info()
            shown = a2.smi("info", "-t", "proc-mem", "-i", "2", "-c", "0")
            usages = a2.smi("info", "-t", "usages", "-i", "2")
            with Path(devices[0]).open(encoding="utf-8"):
                crowd = [p for p in a2.info().processes if p.npu == 2]
        finally:
            holder.kill()
    rises = [
        after.memory_used_mb - before.memory_used_mb
        for before, after in zip(idle.chips, held.chips, strict=True)
    ]
    assert rises == [0, 0, 57000, 0, 0, 57000, 0, 0]
    assert [(p.npu, p.pid, p.memory_mb) for p in held.processes] == [
        (2, holder.pid, 57000),
        (5, holder.pid, 57000),
    ]
    assert all(p.name.startswith("python") for p in held.processes)
    assert f"Process id:{holder.pid} " in shown
    assert "HBM Usage Rate(%)              : 92\n" in usages
    assert sorted(p.memory_mb for p in crowd) == [129, 57000]
    assert {p.pid for p in crowd} == {holder.pid, os.getpid()}
    assert a2.info() == idle


def test_the_managers_and_other_files_hold_no_chip(a2: Node) -> None:
    with (a2.root / "dev/davinci_manager").open(encoding="utf-8"):
        assert a2.info().processes == ()


# -- npu-smi ---------------------------------------------------------------------------------------


def fields(text: str) -> dict[str, str]:
    pairs = [line.partition(":") for line in text.splitlines() if ":" in line]
    return {key.strip(): value.strip() for key, _, value in pairs}


def test_the_board_tells_driver_and_firmware(a2: Node) -> None:
    card = fields(a2.smi("info", "-t", "board", "-i", "0"))
    assert (card["Software Version"], card["Compatibility"], card["Chip Count"]) == ("25.5.2", "OK", "1")
    assert fields(a2.smi("info", "-t", "board", "-i", "0", "-c", "0"))["Chip Name"] == "910B3"


def test_health_without_a_chip_is_the_controllers(a2: Node) -> None:
    a2.npusim("fault", "health", "--chip", "4", "--value", "Alarm")
    assert fields(a2.smi("info", "-t", "health", "-i", "4"))["Health Status"] == "OK"
    alarm = fields(a2.smi("info", "-t", "health", "-i", "4", "-c", "0"))
    assert (alarm["Health Status"], alarm["Error Code"]) == ("Alarm", "80C98001")
    assert a2.info().chips[4].health == "Alarm"


def test_super_pod_ids_follow_the_published_rule(a3: Node) -> None:
    spod = fields(a3.smi("info", "-t", "spod-info", "-i", "5", "-c", "1"))
    assert spod["SDID"] == str(3 << 22 | 5 << 18 | 1 << 16 | 11)
    assert spod["Server Index"] == "3"


@pytest.mark.parametrize("kind", ["board", "common", "ecc", "health", "memory", "proc-mem", "usages"])
@pytest.mark.parametrize("key", ["a2", "a3", "310p"])
def test_every_query_answers_on_every_product(key: str, kind: str, pristine: Callable[[str], Node]) -> None:
    node = pristine(key)
    npu = str(node.info().npus[1])
    for chip in (["-c", "0"], []):
        assert fields(node.smi("info", "-t", kind, "-i", npu, *chip))


def test_the_list_counts_cards_and_chips(duo: Node) -> None:
    listed = duo.smi("info", "-l")
    assert fields(listed)["Total Count"] == "4"
    assert listed.count("Chip Count                     : 2") == 4


def test_topology_is_a_matrix_of_the_chips(a2: Node) -> None:
    lines = a2.smi("info", "-t", "topo").splitlines()
    assert lines[1].split() == ["NPU0", "X", *["HCCS"] * 7, "144-167"]


@pytest.mark.parametrize(
    ("key", "arguments", "says"),
    [
        ("a2", "info -t board -i 8", "Invalid card id."),
        ("a2", "info -t board -i x", "Invalid card id."),
        ("a2", "info -t board -i 0 -c 7", "Invalid chip id.\nError parameter of -c\n"),
        ("a2", "info -t board", "Error parameter of -i"),
        ("a2", "info -t nonsense -i 0", "Error parameter of -t"),
        ("a2", "info -x", "Error parameter of -x"),
        ("a2", "info -t", "Error parameter of -t"),
        ("a2", "info -l extra", "Error parameter of -l"),
        ("a2", "reset -i 0", "Error command: reset"),
        ("a2", "info -t spod-info -i 0 -c 0", "This device does not support querying spod-info."),
        ("310p", "info -t topo", "This device does not support querying topo."),
        ("310p", "info -t board -i 0", "Invalid card id."),
    ],
)
def test_what_the_real_npu_smi_refuses_is_refused(
    key: str, arguments: str, says: str, pristine: Callable[[str], Node]
) -> None:
    done = pristine(key).run("npu-smi", *arguments.split())
    assert done.returncode != 0
    assert done.stdout.startswith(says)


def test_npu_smi_is_cheap_to_call(a3: Node) -> None:
    a3.info()
    before = time.process_time() + sum(os.times()[2:4])
    for _ in range(5):
        a3.smi("info")
    assert (time.process_time() + sum(os.times()[2:4]) - before) / 5 < 0.12


# -- hccn_tool -------------------------------------------------------------------------------------


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
            "-ping -g address 10.20.4.11",
            (
                "device 2 PING 10.20.4.11\nrecv seq=0,time=0.137000ms\nrecv seq=1,time=0.096000ms\n"
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


def test_a_list_of_peers_says_who_answers(a3: Node) -> None:
    peers = {"10.20.4.11": "ok", "10.20.5.11": "fault"}
    (a3.root / "var/lib/npusim/peers.json").write_text(json.dumps(peers), encoding="utf-8")
    assert "3 received, 0.00% packet loss" in a3.hccn(
        "-i", "0", "-ping", "-g", "address", "10.20.4.11", "pkt", "64"
    )
    for unreachable in ("10.20.5.11", "10.20.6.11"):
        lost = a3.run("hccn_tool", "-i", "0", "-ping", "-g", "address", unreachable)
        assert (lost.returncode, lost.stderr) == (1, "Command execute failed!\n")
        assert lost.stdout.endswith("3 packets transmitted, 0 received, 100.00% packet loss\n")


@pytest.mark.parametrize(
    ("words", "result"),
    [
        ("address 192.4.3.184", "3 packets transmitted, 3 received, 0.00% packets loss"),
        (
            f"sdid {4 << 22 | 7 << 18 | 1 << 16 | 15} cnt 2",
            "2 packets transmitted, 2 received, 0.00% packets loss",
        ),
        # As in the tool's source: when everything was lost it still ends well.
        ("address 192.5.2.199", "3 packets transmitted, 0 received, 100.00% packets loss"),
        (f"sdid {5 << 22}", "3 packets transmitted, 0 received, 100.00% packets loss"),
    ],
)
def test_pings_inside_a_super_pod(a3: Node, words: str, result: str) -> None:
    peers = {"192.4.3.184": "ok", "192.5.2.199": "fault"}
    (a3.root / "var/lib/npusim/peers.json").write_text(json.dumps(peers), encoding="utf-8")
    assert result in a3.hccn("-i", "0", "-hccs_ping", "-g", *words.split()).splitlines()


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


def test_two_callers_at_once_meet_a_busy_tool(a2: Node) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (a2.root / "var/lib/npusim/hccn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        busy = a2.run("hccn_tool", "-i", "0", "-ip", "-g")
    assert busy.returncode != 0
    assert busy.stdout == "hccn_tool is busy, please try again.\n"
    assert a2.hccn("-i", "0", "-ip", "-g")


# -- faults ----------------------------------------------------------------------------------------


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
