"""A sandbox's nodes as machines: with nothing but an operating system, installed, rebooted, broken on the way."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.harness import NPUCTL, PREFIX, Node, eventually, run_sandbox
from tests.engine import skip_without_engine

pytestmark = pytest.mark.cluster

_DRIVER = "/root/packages/Ascend-hdk-910b-npu-driver_25.5.2_linux-*.run"
_FIRMWARE = "/root/packages/Ascend-hdk-910b-npu-firmware_7.8.0.7.220.run"


class Machine(Node):
    """A node of a sandbox of its own."""

    @property
    def boot_id(self) -> str:
        """The node's, "" while it is down."""
        return self.sh("cat /proc/sys/kernel/random/boot_id", check=False).strip()

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return _engine("container", "inspect", "--format", "{{.State.Status}}", self.container) == "running"

    def greets(self) -> bool:
        """Whether its sshd does."""
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def reboot(self, how: str = "systemctl reboot") -> None:
        """From within; returns when it is back."""
        before = self.boot_id
        self.sh(how, check=False)
        eventually(lambda: self.boot_id not in {"", before} and self.greets())

    def runs(self) -> tuple[str, str, str]:
        """Driver, firmware and compatibility of the first card, as npu-smi says."""
        told = self.sh("npu-smi info -t board -i 0")
        found = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in told.splitlines())
        }
        return found["Software Version"], found["Firmware Version"], found["Compatibility"]

    def code(self, script: str) -> int:
        """Exit code of a script on the node."""
        return int(self.sh(f"({script}) >/tmp/said 2>&1; echo $?"))


@contextmanager
def _up(folder: Path, *words: str) -> Iterator[tuple[str, Machine, Path]]:
    skip_without_engine()
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(2)}"
    try:
        inventory = folder / "inventory"
        up = run_sandbox(
            *("up", "--name", name, "--nodes", "1", "--engine", "none", *words),
            *("--inventory", str(inventory), "--output", "json"),
        )
        (entry,) = json.loads(up)["nodes"]
        yield name, Machine(entry["node"], entry["container"], entry["address"]), inventory
    finally:
        run_sandbox("down", "--name", name)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[tuple[str, Machine, Path]]:
    """The sandbox's name, its node, its inventory."""
    with _up(tmp_path, "--bare") as found:
        yield found


def _engine(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _npuctl(verb: str, inventory: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(NPUCTL), verb, str(inventory)], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    return done


def _bring_packages(machine: Machine, inventory: Path) -> None:
    _engine("cp", str(inventory / ".provision/packages"), f"{machine.container}:/root/packages")
    machine.sh("id HwHiAiUser >/dev/null 2>&1 || useradd --create-home --user-group HwHiAiUser")


def test_a_bare_machine_is_told_of_in_words(bare: tuple[str, Machine, Path]) -> None:
    _, machine, inventory = bare
    assert machine.sh("lspci -n -d 19e5: | grep -c d802").strip() == "8"
    assert machine.sh("ls -d /dev/davinci* /usr/local/Ascend /usr/bin/docker", check=False) == ""
    looked = _npuctl("inspect", inventory)
    assert looked.returncode == 0, looked
    assert "npu-smi is not installed, 8 NPUs on the PCI bus" in looked.stdout
    assert "driver        not installed" in looked.stdout
    checked = _npuctl("check", inventory)
    assert checked.returncode == 3
    for words in ("npu-smi is not installed", "install the NPU driver on", "Docker"):
        assert words in checked.stdout


def test_a_machine_is_installed_and_rebooted(bare: tuple[str, Machine, Path]) -> None:
    _, machine, inventory = bare
    _bring_packages(machine, inventory)
    assert machine.code(f"{_DRIVER} --check") == 0
    assert machine.code(f"{_DRIVER} --full --install-for-all --quiet") == 0, machine.sh("cat /tmp/said")
    assert machine.code(f"{_FIRMWARE} --full --quiet") == 0, machine.sh("cat /tmp/said")
    assert machine.runs()[:2] == ("25.5.2", "7.5.0.1.129")

    machine.sh("echo 'vm.swappiness = 3' > /etc/sysctl.d/99-test.conf; echo 9 > /proc/sys/vm/swappiness")
    machine.sh("touch /run/gone /tmp/gone /var/kept /etc/kept; echo 1 > /proc/sys/kernel/numa_balancing")
    machine.reboot()
    assert machine.runs() == ("25.5.2", "7.8.0.7.220", "OK")
    assert machine.sh("ls /run/gone /tmp/gone", check=False) == ""
    assert machine.sh("ls /etc/kept /var/kept").split() == ["/etc/kept", "/var/kept"]
    assert machine.sh("cat /proc/sys/vm/swappiness").split() == ["3"]
    assert machine.sh("systemctl is-system-running").strip() == "running"
    eventually(
        lambda: (
            machine.sh("/usr/local/Ascend/driver/tools/upgrade-tool --device_index -1 --boot_status").count(
                "status:16"
            )
            == 8
        )
    )

    assert machine.code("rm -rf /usr/local/Ascend/driver") != 0
    assert machine.runs()[0] == "25.5.2"
    assert machine.code(f"{_DRIVER} --uninstall") == 0
    assert (
        machine.sh("ls -d /dev/davinci* /usr/local/Ascend/driver /usr/local/bin/npu-smi", check=False) == ""
    )
    looked = _npuctl("inspect", inventory)
    assert "npu-smi is not installed" in looked.stdout


@pytest.mark.parametrize("how", ["reboot", "shutdown -r now"])
def test_a_reboot_by_any_name_has_a_boot_id_of_its_own(bare: tuple[str, Machine, Path], how: str) -> None:
    _, machine, _ = bare
    machine.reboot(how)


def test_ansibles_reboot_finds_the_machine_again(bare: tuple[str, Machine, Path], tmp_path: Path) -> None:
    _, machine, inventory = bare
    before = machine.boot_id
    play = tmp_path / "play.yml"
    task = {"name": "Reboot", "ansible.builtin.reboot": {"reboot_timeout": 90}}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    done = subprocess.run(
        [str(NPUCTL.with_name("ansible-playbook")), "-i", str(inventory / "hosts.yml"), str(play)],
        env=os.environ
        | {"ANSIBLE_SSH_ARGS": f"-o UserKnownHostsFile={inventory}/.ssh/known_hosts", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.boot_id not in {"", before}


def test_a_machine_may_not_come_back_until_the_fault_is_cleared(bare: tuple[str, Machine, Path]) -> None:
    name, machine, _ = bare
    before = machine.boot_id
    run_sandbox("fault", "node-1", "reboot-never-returns", "--name", name)
    assert machine.boot_id == before
    machine.sh("systemctl reboot", check=False)
    eventually(lambda: not machine.running)
    time.sleep(2)
    assert not machine.running
    run_sandbox("fault", "node-1", "reboot-never-returns", "--clear", "--name", name)
    assert machine.boot_id not in {"", before}
    machine.reboot()


def test_a_machine_that_is_switched_off_stays_off(bare: tuple[str, Machine, Path]) -> None:
    name, machine, _ = bare
    machine.sh("systemctl poweroff", check=False)
    eventually(lambda: not machine.running)
    time.sleep(3)
    assert not machine.running
    run_sandbox("fault", "node-1", "powered-off", "--clear", "--name", name)
    assert machine.greets()


def test_faults_of_installing_are_put_on_and_taken_off(bare: tuple[str, Machine, Path]) -> None:
    name, machine, inventory = bare
    _bring_packages(machine, inventory)
    run_sandbox("fault", "node-1", "install-fails", "--name", name)
    assert machine.code(f"{_DRIVER} --full --quiet") == 1
    run_sandbox("fault", "node-1", "install-fails", "--clear", "--name", name)
    run_sandbox("fault", "node-1", "reboot-owed", "--name", name)
    assert machine.code(f"{_DRIVER} --full --quiet") == 2
    assert "dcmi module initialize failed" in machine.sh("npu-smi info", check=False)
    run_sandbox("fault", "node-1", "slow-boot", "--value", "4", "--name", name)
    machine.reboot()
    status = "/usr/local/Ascend/driver/tools/upgrade-tool --device_index -1 --boot_status"
    assert "status:16" not in machine.sh(status)
    eventually(lambda: machine.sh(status).count("status:16") == 8, seconds=20)
    run_sandbox("fault", "node-1", "all", "--clear", "--name", name)
    assert json.loads(machine.sh("npusim show"))["faults"] == []


def test_ordinary_nodes_may_have_another_driver(tmp_path: Path) -> None:
    with _up(tmp_path, "--driver", "24.1.0") as (_, machine, inventory):
        assert machine.runs() == ("24.1.0", "7.5.0.1.129", "OK")
        assert machine.sh("docker version --format '{{.Server.Version}}'").strip()
        assert "24.1.0" in _npuctl("inspect", inventory).stdout
