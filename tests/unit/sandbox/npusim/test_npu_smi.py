"""A node as npu-smi shows it: new, with held chips, and query by query."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from npuctl.hardware.catalog import PRODUCTS, identify
from npuctl.hardware.lspci import npus, parse_lspci
from npuctl.hardware.npu_smi import DriverUnusableError, parse_info, parse_mapping
from npuctl.hardware.npu_smi_cards import parse_board, parse_list, parse_super_pod, parse_topology
from npuctl.hardware.npu_smi_events import parse_processes
from npuctl.hardware.npu_smi_queries import (
    parse_common,
    parse_ecc,
    parse_health,
    parse_memory,
    parse_usages,
)
from npuctl.hardware.npu_smi_query_records import Topology
from tests.unit.sandbox.npusim.conftest import BIN, Node

if TYPE_CHECKING:
    from collections.abc import Callable

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
    again = a3.show()
    assert again.pop("booted_seconds") > shown.pop("booted_seconds")
    assert again == shown


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


@pytest.mark.parametrize("kind", ["board", "common", "ecc", "health", "memory", "usages"])
@pytest.mark.parametrize("key", ["a2", "a3", "310p"])
def test_every_query_answers_on_every_product(key: str, kind: str, pristine: Callable[[str], Node]) -> None:
    node = pristine(key)
    npu = str(node.info().npus[1])
    for chip in (["-c", "0"], []):
        assert fields(node.smi("info", "-t", kind, "-i", npu, *chip))


PARSERS: dict[str, Callable[[str], Any]] = {
    "-m": parse_mapping,
    "-l": parse_list,
    "-t board -i {npu}": parse_board,
    "-t board -i {npu} -c 0": parse_board,
    "-t common -i {npu}": parse_common,
    "-t ecc -i {npu}": parse_ecc,
    "-t ecc -i {npu} -c 0": parse_ecc,
    "-t health -i {npu}": parse_health,
    "-t health -i {npu} -c 0": parse_health,
    "-t memory -i {npu}": parse_memory,
    "-t memory -i {npu} -c 0": parse_memory,
    "-t proc-mem -i {npu}": parse_processes,
    "-t proc-mem -i {npu} -c 0": parse_processes,
    "-t usages -i {npu}": parse_usages,
    "-t usages -i {npu} -c 0": parse_usages,
}


@pytest.mark.parametrize("query", PARSERS)
@pytest.mark.parametrize("key", ["a2", "a3", "310p"])
def test_npuctl_reads_every_answer(key: str, query: str, pristine: Callable[[str], Node]) -> None:
    node = pristine(key)
    words = query.format(npu=node.info().npus[1]).split()
    assert PARSERS[query](node.smi("info", *words))


def test_npuctl_reads_what_only_an_a3_answers(a3: Node) -> None:
    pod = parse_super_pod(a3.smi("info", "-t", "spod-info", "-i", "5", "-c", "1"))
    assert (pod.server_index, pod.super_pod_id) == (3, 0)
    topology = parse_topology(a3.smi("info", "-t", "topo"))
    assert isinstance(topology, Topology)
    assert len(topology.devices) == 16


@pytest.mark.parametrize("kind", ["ecc", "memory", "proc-mem", "usages"])
def test_a_chip_asked_by_its_number_does_not_repeat_it(kind: str, a3: Node) -> None:
    card = a3.smi("info", "-t", kind, "-i", "1")
    chip = a3.smi("info", "-t", kind, "-i", "1", "-c", "0")
    assert [line.split() for line in card.splitlines()[:2]] == [
        ["NPU", "ID", ":", "1"],
        ["Chip", "Count", ":", "2"],
    ]
    assert chip in card
    assert "Chip ID" not in chip
    assert card.endswith(": 1\n\n")


def test_the_usages_of_a_910b_are_those_of_a_published_one(a2: Node) -> None:
    """Keys and order: a telegraf plugin's test, taken from a 910B with driver 25.5.1."""
    assert list(fields(a2.smi("info", "-t", "usages", "-i", "0"))) == [
        *("NPU ID", "Chip Count"),
        *(
            "DDR Capacity(MB)",
            "DDR Usage Rate(%)",
            "DDR Hugepages Total(page)",
            "DDR Hugepages Usage Rate(%)",
        ),
        *("HBM Capacity(MB)", "HBM Usage Rate(%)", "Aicore Usage Rate(%)", "Aivector Usage Rate(%)"),
        *("Aicpu Usage Rate(%)", "Ctrlcpu Usage Rate(%)", "DDR Bandwidth Usage Rate(%)"),
        *("HBM Bandwidth Usage Rate(%)", "NPU Utilization(%)", "Aicube Usage Rate(%)", "Chip ID"),
    ]


def test_an_a3_names_its_chips_by_physical_id(a3: Node) -> None:
    heading, first, second, controller = a3.smi("info", "-m").splitlines()[:4]
    assert heading.split("  ")[-1].strip() == ""
    assert heading.split() == [
        "NPU",
        "ID",
        "Chip",
        "ID",
        "Chip",
        "Logic",
        "ID",
        "Chip",
        "Phy-ID",
        "Chip",
        "Name",
    ]
    assert (first.split(), second.split()) == (
        ["0", "0", "0", "0", "Ascend910"],
        ["0", "1", "1", "1", "Ascend910"],
    )
    assert controller.split() == ["0", "2", "-", "-", "Mcu"]
    topology = a3.smi("info", "-t", "topo").splitlines()
    assert topology[1].split() == ["Phy-ID0", "X", "SIO", *["HCCS_SW"] * 14]


# -- lspci -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "count", "product"), [("a2", 8, "A2"), ("a3", 16, "A3"), ("310p", 4, "310P")]
)
def test_the_bus_shows_the_chips_and_another_device_of_the_vendor(
    key: str, count: int, product: str, pristine: Callable[[str], Node]
) -> None:
    node = pristine(key)
    devices = parse_lspci(node.lspci())
    assert [device.product for device in npus(devices)] == [product] * count
    assert len(devices) == count + 1
    listed = {(chip.bus_id or "").removeprefix("0000:").lower() for chip in node.info().chips}
    assert {device.bus for device in npus(devices)} == listed


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
        ("310p", "info -t board -i 0", "Invalid card id."),
    ],
)
def test_what_the_real_npu_smi_refuses_is_refused(
    key: str, arguments: str, says: str, pristine: Callable[[str], Node]
) -> None:
    done = pristine(key).run("npu-smi", *arguments.split())
    assert done.returncode != 0
    assert done.stdout.startswith(says)


@pytest.mark.parametrize(("key", "kind"), [("a2", "spod-info"), ("310p", "spod-info"), ("310p", "topo")])
def test_a_query_that_the_product_does_not_have_ends_well(
    key: str, kind: str, pristine: Callable[[str], Node]
) -> None:
    npu = str(pristine(key).info().npus[0])
    where = [] if kind == "topo" else ["-i", npu, "-c", "0"]
    said = pristine(key).smi("info", "-t", kind, *where)
    assert said == f"This device does not support querying {kind}.\n"


def test_npu_smi_is_cheap_to_call(a3: Node) -> None:
    a3.info()
    before = time.process_time() + sum(os.times()[2:4])
    for _ in range(5):
        a3.smi("info")
    assert (time.process_time() + sum(os.times()[2:4]) - before) / 5 < 0.06


# Each of these costs more than all that a query does: a survey makes some 80 calls a node, a probe of all
# pairs of NPUs thousands, and all of them on the few cores of one machine.
SLOW = {
    "typing",
    "json",
    "re",
    "argparse",
    "contextlib",
    "collections",
    "enum",
    "npusim.tables",
    "npusim.holders",
}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("npu-smi", "info -m"),
        ("npu-smi", "info -t health -i 0 -c 0"),
        ("npu-smi", "info -t board -i 0"),
        ("npu-smi", "info -t ecc -i 0 -c 0"),
        ("hccn_tool", "-i 0 -link -g"),
        ("hccn_tool", "-i 0 -ip -g"),
        ("hccn_tool", "-i 0 -ping -g address 10.20.3.12"),
    ],
)
def test_a_query_imports_nothing_that_is_slow(a2: Node, tool: str, arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-ISEX", "importtime", str(BIN / tool), *arguments.split()],
        env=a2.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "npusim.state" in imported
    assert not imported & SLOW
