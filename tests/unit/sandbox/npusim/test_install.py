"""The installers of simulated packages: flags, exit codes, words, and what they leave on a node."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from npuctl.hardware.boot_status import parse_boot_status
from npuctl.hardware.driver_files import parse_driver_version, parse_firmware_version, parse_install_info
from npuctl.hardware.npu_smi_cards import parse_board
from npuctl.hardware.npu_smi_query_records import CardBoard
from npuctl.sandbox import packages
from npuctl.sandbox.packages import Kind, Release
from tests.unit.sandbox.npusim.conftest import BIN, Node

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = (
    "usr/local/bin/npu-smi",
    "usr/local/Ascend/driver/tools/hccn_tool",
    "usr/local/Ascend/driver/tools/upgrade-tool",
)
DEVICES = "dev/davinci0"
PACKAGES: tuple[Kind, ...] = ("firmware", "runtime", "driver")


@dataclass
class Machine:
    """A node, and packages to install on it."""

    node: Node
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def package(self, kind: Kind, version: str, **release: str) -> Path:
        path = self.folder / packages.name(kind, version, Release(**release))
        path.write_bytes(packages.content(kind, version, Release(**release)))
        return path

    def start(self, path: Path, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-ISE", str(BIN / "npusim"), "package", str(path), *words],
            env=self.node.environment | {"NPUSIM_UID": "0"} | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, path: Path, *words: str, say: str = "") -> tuple[int, str]:
        with self.start(path, *words) as process:
            told, _ = process.communicate(say, timeout=60)
            return process.returncode, told

    def driver(self, *words: str, version: str = "25.5.2", say: str = "") -> tuple[int, str]:
        return self.run(self.package("driver", version), *words, say=say)

    def firmware(self, *words: str, version: str = "7.8.0.7.220") -> tuple[int, str]:
        return self.run(self.package("firmware", version), *words)

    def board(self) -> CardBoard:
        found = parse_board(self.node.smi("info", "-t", "board", "-i", "0"))
        assert isinstance(found, CardBoard)
        return found

    def has(self, path: str) -> bool:
        return (self.node.root / path).exists()

    def state(self, **changes: object) -> None:
        path = self.node.root / "var/lib/npusim/state.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _machine(folder: Path, *options: str) -> Machine:
    node = Node(folder / "node")
    node.npusim(
        "init",
        "--product",
        "a2",
        "--node-index",
        "3",
        "--install-seconds",
        "0",
        "--boot-seconds",
        "0",
        *options,
    )
    (node.root / "etc").mkdir(exist_ok=True)
    (node.root / "etc/npuctl-sandbox").write_text("{}")
    (node.root / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nHwHiAiUser:x:1000:1000::/home/h:/bin/sh\nops:x:1001:1001::/:/bin/sh\n"
    )
    (node.root / "etc/group").write_text("root:x:0:\nHwHiAiUser:x:1000:\nops:x:1001:\nother:x:1002:ops\n")
    node.npusim("boot")
    (folder / "packages").mkdir()
    return Machine(node, folder / "packages")


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Chips on the bus and nothing else."""
    return _machine(tmp_path, "--bare")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Driver 25.2.0 and its firmware, from the factory."""
    return _machine(tmp_path, "--driver", "25.2.0")


def test_a_bare_machine_has_chips_on_its_bus_and_nothing_of_a_driver(bare: Machine) -> None:
    assert bare.node.lspci().count("19e5:d802") == 8
    assert not any(bare.has(path) for path in (*TOOLS, DEVICES, "etc/ascend_install.info", "etc/hccn.conf"))
    assert bare.node.run("npu-smi", "info").stdout.endswith("ret is -8005\n")
    assert bare.node.run("upgrade-tool", "--device_index", "-1", "--boot_status").returncode == 1
    assert bare.node.run("hccn_tool", "-i", "0", "-ip", "-g").stderr == "The device is not exist!\n"


def test_first_the_driver_then_the_firmware_then_a_boot(bare: Machine) -> None:
    code, told = bare.firmware("--full", "--quiet")
    assert (code, "install the driver first" in told) == (1, True)

    code, told = bare.driver("--full", "--install-for-all", "--quiet")
    assert code == 0, told
    assert "Driver package installed successfully! The new version takes effect immediately." in told
    assert all(bare.has(path) for path in (*TOOLS, DEVICES, "usr/local/dcmi/libdcmi.so"))
    assert parse_driver_version(bare.node.text("usr/local/Ascend/driver/version.info")).version == "25.5.2"
    record = parse_install_info(bare.node.text("etc/ascend_install.info"))
    assert (record.driver_type, record.driver_for_all, record.driver_status) == ("full", True, "complete")
    assert bare.node.text("etc/hccn.conf") == ""

    code, told = bare.firmware("--full", "--quiet")
    assert code == 0, told
    assert "Firmware package installed successfully! Reboot now or after driver installation" in told
    assert "[8] chips are successfully upgraded" in told
    assert (
        parse_firmware_version(bare.node.text("usr/local/Ascend/firmware/version.info")).version
        == "7.8.0.7.220"
    )
    assert bare.board().firmware_version != "7.8.0.7.220"
    bare.node.npusim("boot")
    assert (bare.board().firmware_version, bare.board().compatibility) == ("7.8.0.7.220", "OK")


def test_an_upgrade_takes_both_firmware_first_without_a_boot(machine: Machine) -> None:
    assert machine.firmware("--upgrade", "--quiet")[0] == 0
    assert machine.board().software_version == "25.2.0"
    code, told = machine.driver("--upgrade", "--quiet")
    assert (code, "Driver package upgraded successfully!" in told) == (0, True)
    found = machine.board()
    assert (found.software_version, found.firmware_version, found.compatibility) == (
        "25.5.2",
        "7.8.0.7.220",
        "OK",
    )


def test_a_driver_whose_firmware_is_missing_is_not_compatible(machine: Machine) -> None:
    assert machine.board().compatibility == "OK"
    machine.driver("--upgrade", "--quiet", version="26.0.rc1")
    assert machine.board().compatibility == "NOK"
    machine.firmware("--upgrade", "--quiet", version="9.0.0.0.205")
    machine.node.npusim("boot")
    assert machine.board().compatibility == "OK"


def test_after_an_installation_that_owes_a_reboot_the_old_version_runs(machine: Machine) -> None:
    machine.node.npusim("fault", "reboot-owed")
    code, told = machine.driver("--full", "--quiet")
    assert (code, "Reboot needed for installation/upgrade to take effect!" in told) == (2, True)
    assert machine.board().software_version == "25.2.0"
    assert "Version=25.5.2\n" in machine.node.text("usr/local/Ascend/driver/version.info")
    machine.node.npusim("boot")
    assert machine.board().software_version == "25.5.2"


def test_a_chip_that_is_held_stops_an_installation_unless_it_is_forced(machine: Machine) -> None:
    machine.node.npusim("fault", "held", "--chip", "2")
    try:
        code, told = machine.driver("--full", "--quiet")
        assert (code, "davinci nodes are occupied by some processes" in told) == (1, True)
        assert machine.board().software_version == "25.2.0"
        code, told = machine.driver("--full", "--quiet", "--force")
        assert (code, "Reboot needed" in told) == (2, True)
    finally:
        machine.node.npusim("clear", "held")


@pytest.mark.parametrize(
    ("words", "number", "says"),
    [
        ((), "0x0004", "Unrecognized parameters"),
        (("--bogus",), "0x0004", "Unrecognized parameters: --bogus"),
        (("--quiet",), "0x0004", "needs to be used with full"),
        (("--full", "--run"), "0x0004", "only support one type"),
        (("--check", "--quiet"), "0x0004", "version/check"),
        (("--version", "--full"), "0x0004", "version/check"),
        (("--uninstall", "--quiet"), "0x0004", "except force"),
        (("--upgrade", "--install-for-all"), "0x0004", "install-for-all"),
        (("--upgrade", "--install-path=/usr/local/Ascend"), "0x0004", "install-path"),
        (("--full", "--install-username=ops"), "0x0004", "at the same time"),
        (("--full", "--install-username=root", "--install-usergroup=root"), "0x0091", "not permission"),
        (("--full", "--install-username=no", "--install-usergroup=ops"), "0x0091", "no not exists"),
        (("--full", "--install-username=ops", "--install-usergroup=root"), "0x0096", "not right"),
        (("--uninstall",), "0x0080", "is not installed on this device"),
        (("--full", "--install-path=/opt"), "0x0003", "only install path"),
        (("--debug", "--quiet"), "", "quiet parameter is not supported"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_with_their_number(
    bare: Machine, words: tuple[str, ...], number: str, says: str
) -> None:
    before = sorted(bare.node.root.rglob("*"))
    code, told = bare.driver(*words)
    assert code == 1, told
    assert says in told
    assert not number or f"ERR_NO:{number}" in told
    new = [path for path in sorted(bare.node.root.rglob("*")) if path not in before]
    assert all("log" in str(path) or path.name == "install.lock" for path in new)


def test_another_user_than_last_time_is_refused(machine: Machine) -> None:
    code, told = machine.driver("--full", "--quiet", "--install-username=ops", "--install-usergroup=other")
    assert (code, "ERR_NO:0x0095" in told) == (1, True)


def test_machines_that_a_package_is_not_for_are_refused(bare: Machine) -> None:
    bare.environment["NPUSIM_UID"] = "1001"
    assert "ERR_NO:0x0093" in bare.driver("--full", "--quiet")[1]
    bare.environment["NPUSIM_UID"] = "0"
    other = {"x86_64": "aarch64"}.get(platform.machine(), "x86_64")
    for release, says in (({"arch": other}, "Arch mismatch"), ({"product": "a3"}, "is not match")):
        code, told = bare.run(bare.package("driver", "25.5.2", **release), "--full", "--quiet")
        assert (code, says in told) == (1, True), told
    (bare.node.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    assert "HwHiAiUser not exists! Please add HwHiAiUser" in bare.driver("--full", "--quiet")[1]


def test_a_package_that_needs_more_space_than_there_is_installs_nothing(
    bare: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packages._MEGABYTES, "driver", 10**9)
    code, told = bare.driver("--full", "--quiet")
    assert (code, "free space only" in told) == (1, True)
    assert not bare.has("etc/ascend_install.info")


def test_without_kernel_headers_it_asks_for_a_path_and_fails(bare: Machine) -> None:
    bare.node.npusim("fault", "no-kernel-headers")
    code, told = bare.driver("--full", "--quiet", say="n\n")
    assert (code, "try build driver after input kernel absolute path" in told) == (1, True)
    assert parse_install_info(bare.node.text("etc/ascend_install.info")).driver_status is None
    bare.node.npusim("clear", "no-kernel-headers")
    assert bare.driver("--full", "--quiet")[0] == 0


def test_without_quiet_it_asks_before_it_overwrites(machine: Machine) -> None:
    code, told = machine.driver("--full", say="maybe\nn\n")
    assert (code, "installation Stoped!" in told, "0x0002" in told) == (0, True, True)
    assert machine.board().software_version == "25.2.0"
    assert machine.driver("--full")[0] == 1  # nobody answers
    assert machine.driver("--full", say="y\n")[0] == 0
    assert machine.board().software_version == "25.5.2"


def test_check_and_version_touch_nothing(bare: Machine) -> None:
    assert bare.driver("--check")[1].endswith("SHA256 checksums are OK. All good.\n")
    assert bare.driver("--version")[1].endswith("driver version :25.5.2\n")
    assert not bare.has("etc/ascend_install.info")


def test_a_flipped_byte_anywhere_makes_the_check_fail(bare: Machine) -> None:
    path = bare.package("driver", "25.5.2")
    whole = path.read_bytes()
    path.chmod(0o755)
    environment = bare.node.environment | {"NPUSIM": str(BIN / "npusim"), "NPUSIM_UID": "0"}

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(path), "--check"], env=environment, capture_output=True, text=True, check=False
        )

    assert check().returncode == 0
    chosen = random.Random(4)  # noqa: S311
    for position in sorted(chosen.sample(range(len(whole)), 25)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << chosen.randrange(8)
        path.write_bytes(flipped)
        done = check()
        assert done.returncode != 0, (position, done.stdout)
        assert "All good" not in done.stdout


def test_a_damaged_package_installs_nothing_and_ends_as_makeself_does(bare: Machine) -> None:
    path = bare.package("driver", "25.5.2")
    path.write_bytes(path.read_bytes().replace(b"25.5.2", b"25.5.3"))
    code, told = bare.run(path, "--full", "--quiet")
    assert (code, "Error in SHA256 checksums" in told) == (2, True)
    assert not bare.has("etc/ascend_install.info")


def test_a_second_installer_at_once_is_refused(machine: Machine) -> None:
    machine.node.npusim("fault", "install-hangs")
    first = machine.start(machine.package("driver", "25.5.2"), "--full", "--quiet")
    try:
        while "upgradePercentage:10%" not in (line := first.stdout.readline() if first.stdout else ""):
            assert line, "it ended"
        code, told = machine.firmware("--full", "--quiet")
        assert (code, "ERR_NO:0x0094" in told) == (1, True)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    # Killed half-way: no version on disk, no tools, the record without its last line; the next one mends it.
    assert not any(machine.has(path) for path in (*TOOLS, "usr/local/Ascend/driver/version.info", DEVICES))
    assert parse_install_info(machine.node.text("etc/ascend_install.info")).driver_status is None
    machine.node.npusim("clear", "install-hangs")
    assert machine.driver("--full", "--quiet")[0] == 0
    assert machine.board().software_version == "25.5.2"


def test_an_installer_that_is_to_fail_fails_and_no_other(machine: Machine) -> None:
    for broken in PACKAGES:
        machine.node.npusim("fault", "install-fails", "--value", broken)
        ended = {
            "firmware": machine.firmware("--full", "--quiet")[0],
            "runtime": machine.run(machine.package("runtime", "7.3.0"), "--install")[0],
        }
        if broken == "driver":  # last: it leaves a machine without one
            ended["driver"] = machine.driver("--full", "--quiet")[0]
        assert {name for name, code in ended.items() if code} == {broken}


def test_an_uninstallation_takes_what_came_with_the_package(machine: Machine) -> None:
    machine.driver("--full", "--quiet")
    conf = machine.node.text("etc/hccn.conf")
    assert conf
    code, told = machine.driver("--uninstall")
    assert (code, "Uninstallation takes effect immediately." in told) == (0, True)
    assert not any(
        machine.has(path) for path in (*TOOLS, DEVICES, "usr/local/Ascend/driver", "usr/local/dcmi")
    )
    assert machine.node.text("etc/hccn.conf") == conf
    assert "ERR_NO:0x0080" in machine.driver("--uninstall")[1]


def test_the_last_uninstallation_takes_the_record(machine: Machine) -> None:
    machine.firmware("--full", "--quiet")
    machine.node.npusim("uninstall", "driver", "--quiet")
    assert "Firmware_Install_Path_Param" in machine.node.text("etc/ascend_install.info")
    machine.node.npusim("uninstall", "firmware")
    assert not machine.has("etc/ascend_install.info")
    assert not machine.has("usr/local/Ascend/firmware")


def test_an_installation_may_lose_the_addresses(machine: Machine) -> None:
    assert "address_0=10.20.3.11" in machine.node.text("etc/hccn.conf")
    machine.node.npusim("fault", "hccn-conf-lost")
    assert machine.driver("--upgrade", "--quiet")[0] == 0
    assert machine.node.text("etc/hccn.conf") == ""
    assert "no ip was preset" in machine.node.run("hccn_tool", "-i", "0", "-ip", "-g").stderr


def test_chips_come_up_one_state_after_the_other(machine: Machine) -> None:
    def seen() -> dict[int, int]:
        return parse_boot_status(
            machine.node.run("upgrade-tool", "--device_index", "-1", "--boot_status").stdout
        )

    assert seen() == dict.fromkeys(range(8), 16)
    machine.node.npusim("fault", "slow-boot", "--value", "1000")
    machine.node.npusim("boot")
    assert seen() == dict.fromkeys(range(8), 0)
    for passed, status in ((300, 1), (600, 2), (900, 3), (1001, 16)):
        machine.state(booted_seconds=time.monotonic() - passed)
        assert set(seen().values()) == {status}
    machine.node.npusim("clear", "slow-boot")
    machine.node.npusim("fault", "boot-status-stuck", "--chip", "5")
    assert seen() == {**dict.fromkeys(range(8), 16), 5: 2}


def test_an_installer_waits_for_the_chips_and_not_for_ever(machine: Machine) -> None:
    machine.node.npusim("fault", "boot-status-stuck", "--chip", "5")
    machine.environment["NPUSIM_READY_SECONDS"] = "0.3"
    code, told = machine.driver("--upgrade", "--quiet")
    assert (code, "There are some chips not ready, please check after reboot" in told) == (2, True)
    machine.node.npusim("clear")
    machine.state(boot_seconds=0.5)
    machine.environment["NPUSIM_READY_SECONDS"] = "20"
    assert machine.driver("--upgrade", "--quiet")[0] == 0


def test_what_was_done_stands_in_the_logs(machine: Machine) -> None:
    machine.driver("--full", "--quiet")
    machine.driver("--uninstall")
    machine.driver("--uninstall")
    operations = machine.node.text("var/log/ascend_seclog/operation.log").splitlines()
    assert [line.split()[:2] for line in operations] == [
        ["Install", "SUGGESTION"],
        ["Uninstall", "MAJOR"],
        ["Uninstall", "MAJOR"],
    ]
    assert [line.split()[7] for line in operations] == ["success", "success", "failed"]
    assert "successfully" in machine.node.text("var/log/ascend_seclog/ascend_install.log")


class TestRuntime:
    """Ascend Docker Runtime."""

    def test_it_puts_itself_into_daemon_json_and_out_again(self, machine: Machine) -> None:
        config = machine.node.root / "etc/docker/daemon.json"
        config.parent.mkdir()
        before = {"data-root": "/data", "runtimes": {"other": {"path": "/bin/other"}}}
        config.write_text(json.dumps(before))
        path = machine.package("runtime", "7.3.0")
        code, told = machine.run(path, "--install")
        assert (code, told.endswith("ascend-docker-runtime install success\n")) == (0, True)
        after = json.loads(config.read_text())
        home = "/usr/local/Ascend/Ascend-Docker-Runtime"
        assert after["default-runtime"] == "ascend"
        assert after["runtimes"]["ascend"]["path"] == f"{home}/ascend-docker-runtime"
        assert os.access(machine.node.root / home.lstrip("/") / "ascend-docker-runtime", os.X_OK)
        assert machine.run(path, "--upgrade")[0] == 0
        assert machine.run(path, "--uninstall")[0] == 0
        assert json.loads(config.read_text()) == before
        assert not machine.has(home.lstrip("/"))

    def test_a_new_one_asks_about_its_licence(self, machine: Machine) -> None:
        path = machine.package("runtime", "26.0.0")
        assert "declined EULA" in machine.run(path, "--install", say="N\n")[1]
        assert not machine.has("etc/docker/daemon.json")
        assert machine.run(path, "--install", say="Y\n")[0] == 0

    @pytest.mark.parametrize(
        "words", [("--full",), ("--install", "--quiet"), (), ("--install", "--uninstall")]
    )
    def test_flags_that_it_does_not_know_are_refused(self, machine: Machine, words: tuple[str, ...]) -> None:
        code, told = machine.run(machine.package("runtime", "7.3.0"), *words)
        assert (code, "unsupported parameters" in told) == (1, True)


def test_kernel_values_are_set_at_a_boot_as_the_files_say(machine: Machine) -> None:
    root = machine.node.root
    shutil.copytree(BIN.parents[1] / "rootfs/usr/local/share/npusim-host", root / "run/npusim-host")
    (root / "etc/sysctl.d").mkdir()
    (root / "etc/sysctl.d/10-a.conf").write_text("vm.swappiness = 60\n# vm.swappiness=1\n")
    (root / "etc/sysctl.d/90-b.conf").write_text("-vm/swappiness=7\nnet.core.somaxconn=5\n")
    (root / "etc/tmpfiles.d").mkdir()
    (root / "etc/tmpfiles.d/c.conf").write_text(
        "w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise\n"
        "w! /sys/devices/system/cpu/cpufreq/policy0/scaling_governor - - - - ondemand\nd /run/x 0755\n"
    )
    machine.node.npusim("boot")
    assert machine.node.text("run/npusim-host/swappiness") == "7\n"
    assert machine.node.text("run/npusim-host/transparent_hugepages") == "always [madvise] never\n"
    assert machine.node.text("run/npusim-host/cpufreq/policy0/scaling_governor") == "ondemand\n"
    assert machine.node.text("run/npusim-host/numa_balancing") == "0\n"
