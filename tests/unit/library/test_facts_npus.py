"""library/module_utils/npuctl_npus.py: whom it asks, in which words, and what it does with tools that fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Script = Callable[[str, str], None]
INFO = {"rc": 0, "stdout": "", "stderr": ""}
A2 = """\
	NPU ID                         Chip ID                        Chip Logic ID                  Chip Name
	0                              0                              0                              Ascend 910B3
	0                              1                              -                              Mcu
	1                              0                              1                              Ascend 910B3
	1                              1                              -                              Mcu
"""
A3 = """\
NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name
0       0        0              0            Ascend910
0       1        1              1            Ascend910
0       2        -              -            Mcu
"""
DUO = """\
NPU ID  Chip ID  Chip Logic ID  Chip Name
64      0        0              Ascend 310P3
64      1        1              Ascend 310P3
64      2        -              Mcu
320     0        2              Ascend 310P3
"""
SINGLE_310P = """\
NPU ID  Chip ID  Chip Logic ID  Chip Name
8       0        0              Ascend 310P3
8       1        -              Mcu
"""
LIST = """\
	Total Count                    : 2

	NPU ID                         : 4
	Product Name                   : X
	Chip Count                     : 1

	NPU ID                         : 6
	Chip Count                     : 2
"""


@pytest.fixture
def npus(
    library_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: Script
) -> Any:
    loaded = library_module("npuctl_npus")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(loaded, "HCCN_TOOL_FOLDER", str(tmp_path / "bin"))
    monkeypatch.setattr(loaded, "device_numbers", lambda: [0, 1])
    monkeypatch.setattr(loaded.command, "BUSY_PAUSE_SECONDS", 0.01)
    return loaded


def calls(folder: Path) -> list[str]:
    return sorted((folder / "calls").read_text(encoding="utf-8").splitlines())


def recording(folder: Path, mapping: str = "", rest: str = "exit 0") -> str:
    (folder / "mapping").write_text(mapping, encoding="utf-8")
    return f'echo "$*" >> {folder}/calls\n[ "$*" = "info -m" ] && exec cat {folder}/mapping\n{rest}'


@pytest.mark.parametrize(
    ("mapping", "devices", "seats"),
    [
        (A2, [0, 1], [(0, 0, 0), (1, 0, 1)]),
        (A3, [0, 1], [(0, 0, 0), (0, 1, 1)]),
        (DUO, [0, 1, 2], [(64, 0, 0), (64, 1, 1), (320, 0, 2)]),
        (SINGLE_310P, [0], [(8, 0, 0)]),
        ("what?", [0], []),
        ("", [], []),
    ],
    ids=["a2", "a3", "duo", "300i-pro", "garbage", "nothing"],
)
def test_every_chip_has_its_seat_and_its_device(
    npus: Any,
    monkeypatch: pytest.MonkeyPatch,
    mapping: str,
    devices: list[int],
    seats: list[tuple[int, int, int]],
) -> None:
    monkeypatch.setattr(npus, "device_numbers", lambda: devices)
    found = npus.mapped_chips(mapping)
    assert [(chip["npu"], chip["chip"], chip["phy"]) for chip in found] == seats


def test_chips_of_a_list_are_numbered(npus: Any) -> None:
    found = npus.listed_chips(LIST)
    assert [(chip["npu"], chip["chip"], chip["phy"]) for chip in found] == [(4, 0, 0), (6, 0, 1), (6, 1, 2)]


def test_an_a2_is_asked_about_everything_once(npus: Any, tool: Script, tmp_path: Path) -> None:
    tool("npu-smi", recording(tmp_path, A2))
    tool("hccn_tool", f'echo "hccn $*" >> {tmp_path}/calls')
    found = npus.collect(INFO)
    asked = calls(tmp_path)
    assert len(asked) == len(set(asked))
    smi = [call for call in asked if not call.startswith("hccn")]
    assert smi == [
        "info -m",
        *(f"info -t board -i {npu}" for npu in (0, 1)),
        *(f"info -t ecc -i {npu} -c 0" for npu in (0, 1)),
        *(f"info -t health -i {npu} -c 0" for npu in (0, 1)),
    ]
    ports = [call for call in asked if call.startswith("hccn -i 1 ")]
    words = ("gateway", "ip", "link", "lldp", "mtu", "net_health", "netdetect", "tls")
    assert ports == [f"hccn -i 1 -{word} -g" for word in words]
    assert set(found["ports"]) == {"0", "1"}


def test_a_super_pod_is_asked_for_its_place_and_its_inner_network(
    npus: Any, tool: Script, tmp_path: Path
) -> None:
    tool("npu-smi", recording(tmp_path, A3))
    tool("hccn_tool", f'echo "hccn $*" >> {tmp_path}/calls')
    npus.collect(INFO)
    assert {"info -t spod-info -i 0 -c 1", "hccn -i 1 -vnic -g"} <= set(calls(tmp_path))


def test_chips_without_ports_are_asked_once(npus: Any, tool: Script, tmp_path: Path) -> None:
    tool("npu-smi", recording(tmp_path, A2))
    refusal = "The command is not supported on this product."
    tool("hccn_tool", f'echo "hccn $*" >> {tmp_path}/calls; echo "{refusal}"; exit 1')
    found = npus.collect(INFO)
    assert set(found["ports"]["0"]) == {"link"}
    asked = [call for call in calls(tmp_path) if call.startswith("hccn")]
    assert asked == ["hccn -i 0 -link -g", "hccn -i 1 -link -g"]


def test_nothing_is_ever_set(npus: Any, tool: Script, tmp_path: Path) -> None:
    tool("npu-smi", recording(tmp_path, A3))
    tool("hccn_tool", f'echo "hccn $*" >> {tmp_path}/calls')
    npus.collect(INFO)
    assert all(call.startswith("info ") or call.endswith(" -g") for call in calls(tmp_path))


def test_npu_smi_that_hung_is_not_asked_again_and_the_ports_are(
    npus: Any, tool: Script, tmp_path: Path
) -> None:
    tool("npu-smi", recording(tmp_path, A2))
    tool("hccn_tool", f'echo "hccn $*" >> {tmp_path}/calls')
    found = npus.collect({"rc": None, "stdout": "", "stderr": "npu-smi did not end within 20 s"})
    assert found["mapping"]["stderr"] == "not asked: npu-smi did not end within 20 s"
    assert not [call for call in calls(tmp_path) if not call.startswith("hccn")]
    assert set(found["ports"]) == {"0", "1"}
    assert found["chips"] == []


def test_a_chip_that_hangs_costs_one_time_out(
    npus: Any, tool: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npus, "NPU_SMI_SECONDS", 0.5)
    tool("npu-smi", recording(tmp_path, A2, 'case "$*" in *"-i 1 -c"*) exec sleep 60;; esac'))
    began = time.monotonic()
    found = npus.collect(INFO)
    assert time.monotonic() - began < 10
    good, bad = found["chips"]
    assert [answer["rc"] for answer in good["answers"].values()] == [0, 0]
    assert [answer["stderr"] for answer in bad["answers"].values()] == [
        "npu-smi did not end within 0.5 s",
        "not asked: npu-smi hung before",
    ]
    assert [call for call in calls(tmp_path) if "-i 1 -c" in call] == ["info -t health -i 1 -c 0"]


def test_an_older_npu_smi_without_a_mapping_is_asked_for_its_list(
    npus: Any, tool: Script, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text(LIST, encoding="utf-8")
    tool("npu-smi", recording(tmp_path, "", f'[ "$*" = "info -l" ] && exec cat {tmp_path}/list\nexit 0'))
    found = npus.collect(INFO)
    assert [(chip["npu"], chip["chip"]) for chip in found["chips"]] == [(4, 0), (6, 0), (6, 1)]


def test_a_node_without_tools(npus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npus.command, "FOLDERS", ())
    missing = npus.command.run(["npu-smi", "info"], 5)
    found = npus.collect(missing)
    assert not found["has_hccn_tool"]
    assert (found["ports"], found["chips"], found["boards"]) == ({}, [], {})


@pytest.mark.parametrize("script", ["echo garbage", "exit 3", "printf '\\377\\000'"])
def test_garbage_is_passed_on_as_it_is(npus: Any, tool: Script, tmp_path: Path, script: str) -> None:
    tool("npu-smi", recording(tmp_path, A2, script))
    tool("hccn_tool", script)
    found = npus.collect(INFO)
    assert len(found["chips"]) == 2
    assert found["ports"]["0"]["link"]["rc"] is not None


def test_the_bus_is_read_from_the_kernel_without_lspci(
    npus: Any, tool: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("lspci", "exit 1")
    for name, vendor, kind in (
        ("a", "0x19e5", "0x120000"),
        ("b", "0x19e5", "0x020000"),
        ("c", "0x8086", "0x120000"),
    ):
        (tmp_path / "devices" / name).mkdir(parents=True)
        (tmp_path / "devices" / name / "vendor").write_text(vendor + "\n", encoding="utf-8")
        (tmp_path / "devices" / name / "class").write_text(kind + "\n", encoding="utf-8")
    monkeypatch.setattr(npus, "PCI_DEVICES", f"{tmp_path}/devices/*")
    assert npus.read_bus()["sysfs"] == 1
    tool("lspci", "echo '3d:00.0 1200: 19e5:d802 (rev 20)'")
    assert npus.read_bus()["sysfs"] is None
