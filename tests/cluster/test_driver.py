"""Driver and firmware by `npuctl provision`, judged by the installers' own logs, files, boots and services."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.harness import Node, run_sandbox

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster, Ran

pytestmark = pytest.mark.cluster

NEW, FIRMWARE = "25.5.3", "7.8.0.8.100"
OLD = "25.5.2"
_PATIENCE = 900.0
_LOG = "/var/log/ascend_seclog/operation.log"
_FRESH = f"""
umount /usr/local/Ascend/driver 2>/dev/null
rm -rf /var/lib/npuctl {_LOG}
index=$(npusim show | python3 -c 'import json, sys; print(json.load(sys.stdin)["node_index"])')
npusim init --product a2 --node-index "$index" --driver {OLD} --install-seconds 1 --boot-seconds 1
npusim boot
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The vendor's packages, simulated."""
    folder = tmp_path_factory.mktemp("packages")
    run_sandbox("packages", str(folder), "--driver", NEW, "--firmware", FIRMWARE)
    run_sandbox("packages", str(folder), "--driver", "25.2.0", "--firmware", "7.7.0.9.220")
    return folder


@pytest.fixture
def driven(cluster: Cluster, packages: Path) -> Iterator[Cluster]:
    """Nodes 1 and 2 with the old driver, before the test and after it."""
    for node in cluster.nodes[:2]:
        node.sh(_FRESH)
    try:
        want(cluster, packages)
        yield cluster
    finally:
        for node in cluster.nodes[:2]:
            node.sh(_FRESH, check=False)  # one that is off comes back with the end of its fault


def want(cluster: Cluster, packages: Path, *services: dict[str, Any], **changes: Any) -> None:
    driver = {
        "version": NEW,
        "firmware": FIRMWARE,
        "packages": str(packages),
        "reboot": "rolling",
        "build_packages": False,
    }
    cluster.write(*services, driver={**driver, **changes})


def provision(cluster: Cluster, *words: str, expect: int = 0, nodes: str = "node-1") -> Ran:
    going = cluster.begin("provision", "--only", "driver", "--limit", nodes, *words)
    # A dozen looks and plays a node: on a busy machine that takes minutes.
    cluster.wait(lambda: going.process.poll() is not None, seconds=_PATIENCE)
    ran = going.finish()
    assert ran.code == expect, f"expected {expect}: {ran}"
    return ran


def operations(node: Node) -> list[str]:
    """What installers were run, by their own log: driver or firmware, in order."""
    lines = node.sh(f"cat {_LOG}", check=False).splitlines()
    return ["firmware" if "npu-firmware" in line else "driver" for line in lines if "--check" not in line]


def running(node: Node) -> tuple[str, str]:
    """Driver and firmware that npu-smi shows."""
    words = [line.partition(":")[2].strip() for line in node.sh("npu-smi info -t board -i 0").splitlines()]
    return words[5], words[6]


def boot_id(node: Node) -> str:
    return node.sh("cat /proc/sys/kernel/random/boot_id").strip()


def untouched(node: Node) -> bool:
    return operations(node) == [] and node.sh("ls /var/lib/npuctl", check=False) == ""


def test_a_first_installation_and_a_second_run_that_runs_nothing(driven: Cluster) -> None:
    node = driven.node("node-1")
    node.sh(f"npusim uninstall firmware; npusim uninstall driver; rm -f {_LOG}")
    provision(driven)
    assert operations(node) == ["driver", "firmware"]
    assert running(node) == (NEW, FIRMWARE)
    boot, written = boot_id(node), node.sh("stat -c %Y /var/lib/npuctl/*")
    again = provision(driven)
    assert "changed (" not in again.text
    assert (boot_id(node), operations(node)) == (boot, ["driver", "firmware"])
    assert node.sh("stat -c %Y /var/lib/npuctl/*") == written


def test_an_upgrade_with_a_service_a_reboot_and_a_lost_hccn_conf(driven: Cluster, packages: Path) -> None:
    node = driven.node("node-1")
    want(driven, packages, driven.service())
    driven.run("deploy")
    before, conf = boot_id(node), node.sh("cat /etc/hccn.conf")
    driven.fault("node-1", "reboot-owed")
    driven.fault("node-1", "hccn-conf-lost")
    ran = provision(driven)
    assert operations(node) == ["firmware", "driver"]
    assert running(node) == (NEW, FIRMWARE)
    assert boot_id(node) != before
    assert ran.text.count("began to reboot") == 1
    assert node.sh("cat /etc/hccn.conf") == conf
    assert node.sh("stat -c %a /var/lib/npuctl/driver-hccn.conf /etc/hccn.conf").split() == ["600", "640"]
    assert node.complete(8000)[0] == 200
    assert untouched(driven.node("node-2"))


def test_a_reboot_that_is_not_allowed_stays_owed_until_somebody_reboots(
    driven: Cluster, packages: Path
) -> None:
    node = driven.node("node-1")
    want(driven, packages, driven.service(), reboot="never")
    driven.run("deploy")
    driven.fault("node-1", "reboot-owed")
    before = boot_id(node)
    owed = provision(driven, expect=4, nodes="node-1,node-2")
    assert "asked for a reboot" in owed.text
    assert boot_id(node) == before
    assert set(node.containers().values()) == {"exited"}
    assert untouched(driven.node("node-2"))
    provision(driven, expect=4)
    driven.fault("node-1", "reboot")
    driven.close_connections()
    provision(driven)
    assert operations(node) == ["firmware", "driver"]
    assert node.complete(8000)[0] == 200


def test_a_node_that_does_not_come_back_ends_it_and_is_gone_on_with_first(
    driven: Cluster, packages: Path
) -> None:
    want(driven, packages, reboot_within_seconds=20)
    driven.fault("node-1", "reboot-owed")
    driven.fault("node-1", "reboot-never-returns")
    failed = provision(driven, expect=4, nodes="node-1,node-2")
    assert "has not come back within 20 s" in failed.text
    assert untouched(driven.node("node-2"))
    assert any(line.get("step") == "failed: reboot" for line in driven.journal())
    still = provision(driven, expect=4, nodes="node-1,node-2")
    assert "no other node is touched" in still.text
    assert untouched(driven.node("node-2"))
    driven.mend("node-1", "reboot-never-returns")
    driven.close_connections()
    done = provision(driven, nodes="node-2,node-1")
    assert done.text.index("node-1 is as wanted") < done.text.index("node-2 is as wanted")
    for name in ("node-1", "node-2"):
        assert operations(driven.node(name)) == ["firmware", "driver"]
        assert running(driven.node(name)) == (NEW, FIRMWARE)


def test_somebody_elses_process_is_named_and_left_alone(driven: Cluster) -> None:
    pid = driven.hold_chip("node-1", 5)
    refused = provision(driven, expect=3, nodes="node-1,node-2")
    assert f"pid {pid}" in refused.text
    assert "NPU 5" in refused.text
    assert untouched(driven.node("node-1"))
    assert untouched(driven.node("node-2"))
    assert (pid, 5) in driven.node("node-1").holders()


def test_a_package_with_another_digest_never_leaves_this_machine(driven: Cluster, packages: Path) -> None:
    name = next(packages.glob(f"*npu-driver_{NEW}_*")).name
    want(driven, packages, sha256={name: "0" * 64})
    refused = provision(driven, expect=3)
    assert "provision.package_digest" in refused.text
    assert untouched(driven.node("node-1"))


def test_a_broken_package_is_found_before_a_service_is_stopped(
    driven: Cluster, packages: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in packages.glob("*.run"):
        (broken / path.name).write_bytes(path.read_bytes() + (b"x" if NEW in path.name else b""))
    want(driven, broken, driven.service())
    driven.run("deploy")
    started = driven.node("node-1").started()
    failed = provision(driven, expect=4, nodes="node-1,node-2")
    assert "--check ended with" in failed.text
    assert operations(driven.node("node-1")) == []
    assert driven.node("node-1").started() == started
    assert untouched(driven.node("node-2"))


def test_a_downgrade_only_with_its_flag(driven: Cluster, packages: Path) -> None:
    want(driven, packages, version="25.2.0", firmware="7.7.0.9.220")
    refused = provision(driven, expect=3)
    assert "provision.driver_downgrade" in refused.text
    assert untouched(driven.node("node-1"))
    provision(driven, "--downgrade")
    assert running(driven.node("node-1")) == ("25.2.0", "7.7.0.9.220")


def test_a_failed_installation_ends_it_and_the_next_run_goes_on_there(driven: Cluster) -> None:
    driven.fault("node-1", "install-fails", "--value", "driver")
    failed = provision(driven, expect=4, nodes="node-1,node-2")
    assert "ended with 1" in failed.text
    assert untouched(driven.node("node-2"))
    driven.mend("node-1", "install-fails")
    provision(driven, nodes="node-1,node-2")
    for name in ("node-1", "node-2"):
        assert running(driven.node(name)) == (NEW, FIRMWARE)
    assert operations(driven.node("node-1")).count("firmware") == 1


def test_a_killed_npuctl_does_not_kill_the_installation_and_nothing_is_installed_twice(
    driven: Cluster, packages: Path
) -> None:
    node = driven.node("node-1")
    want(driven, packages, driven.service())
    driven.run("deploy")
    driven.fault("node-1", "slow-install", "--value", "20")
    killed = driven.begin("provision", "--only", "driver", "--limit", "node-1")

    def installs() -> bool:
        text = node.sh("cat /var/lib/npuctl/driver_package.json", check=False)
        return bool(text) and json.loads(text)["state"] == "running"

    driven.wait(installs)
    killed.process.send_signal(signal.SIGKILL)
    killed.finish()
    again = provision(driven)
    assert "waits for the end of" in again.text
    assert operations(node) == ["firmware", "driver"]
    assert running(node) == (NEW, FIRMWARE)
    assert node.complete(8000)[0] == 200


def test_a_teardown_takes_the_driver_only_when_asked(driven: Cluster) -> None:
    node = driven.node("node-1")
    provision(driven)
    driven.run("teardown", "--yes", "--provision", "--limit", "node-1")
    assert running(node) == (NEW, FIRMWARE)
    driven.run("teardown", "--yes", "--provision", "--driver", "--limit", "node-1")
    assert node.sh("ls /usr/local/Ascend/driver/version.info /var/lib/npuctl/driver.json", check=False) == ""
