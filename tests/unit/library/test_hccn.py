"""library/npuctl_hccn.py against the simulated hccn_tool of a node of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from npuctl.hardware.hccn_conf import parse_hccn_conf
from tests.making import REPOSITORY

BIN = REPOSITORY / "sandbox/node/npusim/bin"
GATEWAY = "10.20.255.1"


def port(chip: int, address: str, **more: Any) -> dict[str, Any]:
    return {
        "chip": chip,
        "address": address,
        "netmask": "255.255.0.0",
        "gateway": GATEWAY,
        "detect": GATEWAY,
        "tls": 0,
        **more,
    }


class Machine:
    """A node with simulated NPUs, and the module run on it."""

    def __init__(self, root: Path, module: Any, hccn: ModuleType) -> None:
        self.root, self.module = root, module
        self.error: type[Exception] = hccn.HccnError

    def tool(self, name: str, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, "-ISE", str(BIN / name), *words],
            env={"PATH": os.environ["PATH"], "NPUSIM_ROOT": str(self.root)},
            capture_output=True,
            text=True,
            check=check,
        )
        return done.stdout

    def fresh(self) -> None:
        """A node whose ports were never set up."""
        self.conf.unlink()
        self.tool("hccn_tool", "-a", "-cfg", "recovery")

    @property
    def conf(self) -> Path:
        return self.root / "etc/hccn.conf"

    @property
    def backup(self) -> Path:
        return self.root / "var/lib/npuctl/hccn.conf.before"

    @property
    def record(self) -> Path:
        return self.root / "var/lib/npuctl/npu_network.json"

    def runs(self, chip: int) -> dict[str, str]:
        shown: dict[str, str] = json.loads(self.tool("npusim", "show"))["ports"][str(chip)]
        return shown

    def addresses(self, *chips: int) -> list[str]:
        return [self.runs(chip)["address"] for chip in chips]

    def act(
        self, *ports: dict[str, Any], state: str = "set", check: bool = False, busy: int = 5, by: str = "prod"
    ) -> Any:
        params = {"cluster": by, "ports": list(ports), "busy_seconds": busy}
        found = self.module.Ports(params, check)
        {"set": found.set_all, "restored": found.restore}[state]()
        return found

    def set(self, *ports: dict[str, Any], **how: Any) -> list[str]:
        done: list[str] = self.act(*ports, **how).done
        return done

    def restore(self, **how: Any) -> Any:
        return self.act(state="restored", **how)


@cache
def _pristine(folder: Path) -> Path:
    environment = {"PATH": os.environ["PATH"], "NPUSIM_ROOT": str(folder)}
    for words in (["init", "--product", "a2", "--node-index", "3"], ["boot"]):
        subprocess.run([sys.executable, "-ISE", str(BIN / "npusim"), *words], env=environment, check=True)
    return folder


@pytest.fixture
def machine(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    library_module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> Machine:
    pristine = _pristine(tmp_path_factory.getbasetemp() / "hccn-node")
    root = Path(shutil.copytree(pristine, tmp_path / "node"))
    module = library_module("npuctl_hccn")
    hccn = sys.modules["ansible.module_utils.npuctl_hccn_tool"]
    tools = tmp_path / "tools"
    tools.mkdir()
    wrapper = tools / "hccn_tool"
    wrapper.write_text(
        f'#!/bin/sh\nNPUSIM_ROOT={root} exec {sys.executable} -ISE {BIN}/hccn_tool "$@"\n', encoding="utf-8"
    )
    wrapper.chmod(0o755)
    monkeypatch.setattr(hccn, "FOLDER", str(tools))
    monkeypatch.setattr(hccn, "CONF", str(root / "etc/hccn.conf"))
    monkeypatch.setattr(hccn, "BUSY_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(module, "FOLDER", str(root / "var/lib/npuctl"))
    return Machine(root, module, hccn)


def test_only_what_differs_is_set_and_hccn_conf_has_it(machine: Machine) -> None:
    before = machine.conf.read_text()
    done = machine.set(port(0, "10.20.3.11"), port(3, "10.20.0.4", tls=1, mtu=4200))
    assert done == [
        f"kept {machine.conf} as {machine.backup}",
        "NPU 3: address 10.20.3.14 -> 10.20.0.4",
        "NPU 3: tls 0 -> 1",
        "NPU 3: mtu 1500 -> 4200",
    ]
    shown = machine.runs(3)
    assert (shown["address"], shown["tls_enable"], shown["mtu"]) == ("10.20.0.4", "1", "4200")
    saved = parse_hccn_conf(machine.conf.read_text()).ports
    assert (saved[3].address, saved[3].tls_enable, saved[3].mtu) == ("10.20.0.4", True, 4200)
    assert (saved[0].address, saved[0].mtu) == ("10.20.3.11", None)
    assert machine.backup.read_text() == before
    assert [oct(path.stat().st_mode)[-3:] for path in (machine.backup, machine.record, machine.conf)] == [
        "600",
        "600",
        "640",
    ]
    assert machine.set(port(0, "10.20.3.11"), port(3, "10.20.0.4", tls=1, mtu=4200)) == []


def test_a_node_that_was_never_set_up_gets_everything(machine: Machine) -> None:
    machine.fresh()
    done = machine.set(*(port(chip, f"10.20.0.{chip + 1}") for chip in range(8)))
    assert f"NPU 0-7: gateway none -> {GATEWAY}" in done
    assert "NPU 7: address none -> 10.20.0.8" in done
    assert machine.addresses(*range(8)) == [f"10.20.0.{chip + 1}" for chip in range(8)]
    assert machine.tool("hccn_tool", "-i", "5", "-net_health", "-g") == "net health status: Success\n"
    assert len(parse_hccn_conf(machine.conf.read_text()).ports) == 8
    assert not machine.backup.exists()
    machine.tool("npusim", "boot")
    assert machine.addresses(7) == ["10.20.0.8"]


def test_check_mode_says_the_same_and_does_nothing(machine: Machine) -> None:
    before = machine.conf.read_text(), machine.runs(3)
    wanted = [port(3, "10.20.0.4", mtu=4200)]
    said = machine.set(*wanted, check=True)
    assert (machine.conf.read_text(), machine.runs(3)) == before
    assert not machine.record.exists()
    assert machine.set(*wanted) == said
    said = machine.restore(check=True).done
    assert machine.runs(3)["mtu"] == "4200"
    assert machine.restore().done == said


def test_ports_may_take_each_others_addresses(machine: Machine) -> None:
    """The tool refuses an address that another port of the node has."""
    first, second, third = (f"10.20.3.{11 + chip}" for chip in range(3))
    machine.set(port(0, second), port(1, third), port(2, first))
    assert machine.addresses(0, 1, 2) == [second, third, first]
    machine.set(port(0, "10.20.0.1"), port(1, second), port(2, third))
    assert machine.addresses(0, 1, 2) == ["10.20.0.1", second, third]
    machine.restore()
    assert machine.addresses(0, 1, 2) == [first, second, third]


def test_a_gateway_follows_into_another_network(machine: Machine) -> None:
    moved = port(3, "10.30.0.4", gateway="10.30.0.1", detect="10.30.0.1", netmask="255.255.255.0")
    machine.set(moved)
    assert machine.runs(3)["gateway"] == "10.30.0.1"
    machine.restore()
    assert machine.runs(3)["gateway"] == GATEWAY
    assert machine.runs(3)["netmask"] == "255.255.0.0"


def test_what_only_hccn_conf_lacks_is_written_there_and_no_port_is_touched(machine: Machine) -> None:
    text = machine.conf.read_text().replace(f"gateway_3={GATEWAY}\n", "gateway_3=10.20.255.9\n")
    machine.conf.write_text("# ours\narp_0=-i eth0 -s 10.20.3.9 02:00\n" + text)
    machine.tool("npusim", "fault", "hccn-ignores")
    done = machine.set(port(3, "10.20.3.14", mtu=1500))
    assert done[1:] == [
        f"NPU 3: gateway in {machine.conf} 10.20.255.9 -> {GATEWAY}",
        f"NPU 3: mtu in {machine.conf} none -> 1500",
    ]
    lines = machine.conf.read_text().splitlines()
    assert lines[:2] == ["# ours", "arp_0=-i eth0 -s 10.20.3.9 02:00"]
    assert f"gateway_3={GATEWAY}" in lines
    assert lines[-1] == "mtu_3=1500"
    assert machine.set(port(3, "10.20.3.14", mtu=1500)) == []
    assert machine.restore().left == []
    assert "mtu_3" not in machine.conf.read_text()
    assert "gateway_3=10.20.255.9" in machine.conf.read_text()


def test_what_the_tool_does_not_save_is_written_and_said(machine: Machine) -> None:
    machine.tool("npusim", "fault", "hccn-unsaved")
    done = machine.set(port(3, "10.20.0.4"))
    assert done[-1] == f"wrote address of NPU 3 into {machine.conf}, for hccn_tool had not"
    assert "address_3=10.20.0.4\n" in machine.conf.read_text()


def test_a_tool_that_says_yes_and_does_nothing_is_caught(machine: Machine) -> None:
    machine.tool("npusim", "fault", "hccn-ignores", "--chip", "3")
    with pytest.raises(machine.error, match=r"NPU 3: .* address is 10\.20\.3\.14, not 10\.20\.0\.4"):
        machine.set(port(2, "10.20.0.3"), port(3, "10.20.0.4"))
    machine.tool("npusim", "clear")
    machine.set(port(2, "10.20.0.3"), port(3, "10.20.0.4"))
    machine.restore()
    assert machine.addresses(2, 3) == ["10.20.3.13", "10.20.3.14"]


def test_what_the_tool_refuses_is_said_in_its_words(machine: Machine) -> None:
    with pytest.raises(machine.error, match=r"`hccn_tool -i 3 -gateway -s .*segment of configured gateway"):
        machine.set(port(3, "10.20.0.4", gateway="10.99.0.1"))
    with pytest.raises(machine.error, match="NPU 12: The device is not exist!"):
        machine.set(port(12, "10.20.0.4"))


def test_a_busy_tool_is_asked_again_until_patience_ends(machine: Machine) -> None:
    machine.tool("npusim", "fault", "hccn-busy")
    with pytest.raises(machine.error, match="busy for 1 s"):
        machine.set(port(3, "10.20.0.4"), busy=1)
    free = threading.Timer(0.5, machine.tool, ["npusim", "clear"])
    free.start()
    assert machine.set(port(3, "10.20.0.4"), busy=30)
    free.join()
    assert machine.addresses(3) == ["10.20.0.4"]


def test_backup_and_note_are_those_of_before_the_first_change(machine: Machine) -> None:
    before = machine.conf.read_text()
    machine.set(port(3, "10.20.0.4"))
    machine.set(port(3, "10.20.0.5"), port(4, "10.20.0.6"))
    assert machine.backup.read_text() == before
    noted = json.loads(machine.record.read_text())["ports"]
    assert noted["3"]["address"] == {"ran": "10.20.3.14", "saved": "10.20.3.14", "ours": "10.20.0.5"}
    done = machine.restore()
    assert (done.left, machine.conf.read_text()) == ([], before)
    assert machine.addresses(3, 4) == ["10.20.3.14", "10.20.3.15"]
    assert not machine.record.exists()
    assert not machine.backup.exists()
    assert machine.restore().done == []


def test_a_run_that_was_cut_off_is_gone_on_with_and_taken_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine.conf.read_text()
    wanted = [port(0, "10.20.3.12"), port(1, "10.20.3.11"), port(2, "10.20.0.3")]
    calls = 0
    real = machine.module.hccn.Tool.set_address

    def cut_off(tool: Any, *words: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        real(tool, *words)

    monkeypatch.setattr(machine.module.hccn.Tool, "set_address", cut_off)
    with pytest.raises(KeyboardInterrupt):
        machine.set(*wanted)
    monkeypatch.setattr(machine.module.hccn.Tool, "set_address", real)
    machine.set(*wanted)
    assert machine.addresses(0, 1, 2) == ["10.20.3.12", "10.20.3.11", "10.20.0.3"]
    machine.restore()
    assert machine.conf.read_text() == before
    assert machine.addresses(0, 1, 2) == ["10.20.3.11", "10.20.3.12", "10.20.3.13"]


def test_what_had_no_value_leaves_the_file_and_is_said_of_the_device(machine: Machine) -> None:
    machine.fresh()
    machine.set(port(0, "10.20.0.1", tls=1))
    done = machine.restore()
    assert "NPU 0: tls 1 -> 0" in done.done
    assert done.left == [
        f"NPU 0: hccn_tool cannot unset {key}: the device keeps {value} until its next boot"
        for key, value in sorted(
            {"address": "10.20.0.1", "netmask": "255.255.0.0", "gateway": GATEWAY, "detect": GATEWAY}.items()
        )
    ]
    assert not machine.conf.exists()
    machine.tool("npusim", "boot")
    assert machine.addresses(0) == [""]


def test_what_somebody_else_changed_since_is_left(machine: Machine) -> None:
    machine.set(port(3, "10.20.0.4", mtu=4200), port(4, "10.20.0.5"))
    machine.tool("hccn_tool", "-i", "3", "-mtu", "-s", "size", "9000")
    done = machine.restore()
    assert done.left == ["NPU 3: mtu was set to 9000 by somebody else since"]
    assert (machine.runs(3)["mtu"], machine.runs(3)["address"]) == ("9000", "10.20.3.14")
    assert "mtu_3=9000" in machine.conf.read_text()


def test_a_chip_that_is_gone_loses_its_lines_and_stops_nothing(machine: Machine) -> None:
    machine.set(port(3, "10.20.0.4"), port(4, "10.20.0.5"))
    machine.tool("npusim", "fault", "chip-dropped", "--chip", "3")
    done = machine.restore()
    assert "NPU 3: The device is not exist!" in done.left[0]
    assert machine.addresses(4) == ["10.20.3.15"]
    assert "address_3=10.20.3.14" in machine.conf.read_text()


def test_another_clusters_note_is_left(machine: Machine) -> None:
    machine.set(port(3, "10.20.0.4"))
    done = machine.restore(by="other")
    assert (done.done, done.left) == ([], ["the ports were set for cluster prod"])
    assert machine.record.exists()


def test_a_broken_note_is_named(machine: Machine) -> None:
    machine.set(port(3, "10.20.0.4"))
    machine.record.write_text("{")
    with pytest.raises(machine.error, match=r"npu_network\.json cannot be read"):
        machine.restore()


@pytest.mark.parametrize("check", [True, False])
def test_ports_of_another_cluster_are_not_taken_over(machine: Machine, check: bool) -> None:  # noqa: FBT001
    machine.set(port(0, "10.20.3.21"))
    noted, conf, runs = machine.record.read_text(), machine.conf.read_text(), machine.runs(0)
    machine.backup.unlink()
    with pytest.raises(machine.error, match=r"set for cluster prod, .*nothing was changed.*teardown"):
        machine.set(port(0, "10.20.3.31"), by="other", check=check)
    assert (machine.record.read_text(), machine.conf.read_text(), machine.runs(0)) == (noted, conf, runs)
    assert not machine.backup.exists()
    assert machine.set(port(0, "10.20.3.21"), by="other") == [], "what is as wanted is nobody's loss"


@pytest.mark.parametrize(
    "record",
    [
        [],
        {"ports": {}},
        {"cluster": "prod", "ports": {"x": {}}},
        {"cluster": "prod", "ports": {"0": {"address": {"ours": "10.20.0.1"}}}},
    ],
)
@pytest.mark.parametrize("state", ["set", "restored"])
def test_a_record_of_another_shape_is_told_and_changes_nothing(
    machine: Machine, record: Any, state: str
) -> None:
    machine.record.parent.mkdir(parents=True, exist_ok=True)
    machine.record.write_text(json.dumps(record))
    runs = machine.runs(0)
    with pytest.raises(machine.error, match=r"npu_network\.json cannot be read"):
        machine.act(port(0, "10.20.3.31"), state=state)
    assert machine.runs(0) == runs
    assert not machine.backup.exists()
