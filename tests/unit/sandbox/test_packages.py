"""Simulated .run packages: named as the vendor names them, and good for a node of a sandbox only."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from npuctl.errors import PlayFailedError, UsageError
from npuctl.hardware.run_packages import parse_package_name
from npuctl.sandbox import inventory, packages, provisioning
from npuctl.sandbox.inventory import Inventory
from npuctl.sandbox.model import PRODUCTS, Sandbox
from npuctl.sandbox.packages import Release
from npuctl.spec.parse import parse_cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize(
    ("product", "driver", "firmware"),
    [
        (
            "a2",
            "Ascend-hdk-910b-npu-driver_25.5.2_linux-x86-64.run",
            "Ascend-hdk-910b-npu-firmware_7.8.0.7.220.run",
        ),
        (
            "a3",
            "Atlas-A3-hdk-npu-driver_25.5.2_linux-x86-64.run",
            "Atlas-A3-hdk-npu-firmware_7.8.0.7.220.run",
        ),
        (
            "310p",
            "Ascend-hdk-310p-npu-driver_25.5.2_linux-x86-64.run",
            "Ascend-hdk-310p-npu-firmware_7.8.0.7.220.run",
        ),
    ],
)
def test_packages_are_called_as_the_vendor_calls_them(
    product: str, driver: str, firmware: str, tmp_path: Path
) -> None:
    written = packages.write(tmp_path / "new" / "folder", Release(product=product, arch="x86_64"))
    assert [path.name for path in written] == [
        driver,
        firmware,
        "Ascend-docker-runtime_7.3.0_linux-x86_64.run",
    ]
    assert [parse_package_name(path.name).kind for path in written] == ["driver", "firmware", "runtime"]
    assert all(path.stat().st_mode & 0o111 for path in written)
    assert all(b"SIMULATED" in path.read_bytes() for path in written)


@pytest.mark.parametrize(
    ("driver", "firmware"),
    [
        ("23.0.7", "7.1.0.11.220"),
        ("24.1.rc3", "7.5.0.1.129"),
        ("25.5.2", "7.8.0.7.220"),
        ("26.0.rc1", "9.0.0.0.205"),
    ],
)
def test_a_driver_comes_with_the_firmware_that_was_published_with_it(driver: str, firmware: str) -> None:
    assert Release(driver=driver).usual_firmware == firmware
    assert Release(driver=driver, firmware="7.7.0.6.236").usual_firmware == "7.7.0.6.236"


def test_a_package_is_the_same_each_time_it_is_made(tmp_path: Path) -> None:
    first, second = (packages.write(tmp_path / name, Release()) for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_package_refuses_a_machine_that_is_no_node(tmp_path: Path) -> None:
    for path in packages.write(tmp_path / "packages", Release()):
        done = subprocess.run(
            [str(path), "--full", "--quiet"],
            env={"NPUSIM_ROOT": str(tmp_path), "NPUSIM": "/bin/true", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "nowhere else" in done.stderr


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--firmware"):
        packages.write(tmp_path, Release(firmware="new"))
    (tmp_path / "file").touch()
    with pytest.raises(PlayFailedError, match="cannot write packages"):
        packages.write(tmp_path / "file", Release())


def test_generator_and_simulator_agree(tmp_path: Path, npusim_module: Callable[[str], ModuleType]) -> None:
    """They run on different machines and import nothing of each other."""
    for path in packages.write(tmp_path, Release(product="a3", arch="aarch64")):
        read = npusim_module("package").read(str(path))
        named = parse_package_name(path.name)
        assert (read.kind, read.version, read.arch) == (named.kind, named.version, "aarch64")
        assert read.pci_device == npusim_module("products").product("a3").pci_device
    releases = npusim_module("releases")
    for driver in ("23.0.7", "24.1.0", "25.5.2", "26.0.rc1"):
        assert releases.usual_firmware(driver) == Release(driver=driver).usual_firmware
        assert releases.fit(driver, releases.usual_firmware(driver))


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_bare_sandbox_has_a_spec_that_provision_reads(product: str, tmp_path: Path) -> None:
    sandbox = Sandbox("lab", 2, product, "10.77.3.0/24", driver="")
    supply = provisioning.prepare(Inventory(tmp_path), sandbox, "26.0.rc1")
    text = inventory.cluster_yaml(sandbox, engine="sim", image="sim:1", version="v0.18.0", supply=supply)
    spec = parse_cluster(text, file="cluster.yml")
    assert spec.driver is not None
    assert (spec.driver.version, spec.driver.firmware, spec.driver.reboot) == (
        "26.0.rc1",
        "9.0.0.0.205",
        "rolling",
    )
    assert {path.name for path in (tmp_path / spec.driver.packages).iterdir()} >= set(spec.driver.sha256)
    assert (spec.npu_addresses is None) is (product == "310p")
    assert spec.container_engine is not None
    runtime = spec.container_engine.ascend_runtime
    assert runtime is not None
    assert (tmp_path / runtime.package).is_file()


def test_ansible_takes_nothing_of_it_for_an_inventory(tmp_path: Path) -> None:
    """It reads every file below an inventory's folder that is not hidden."""
    provisioning.prepare(Inventory(tmp_path), Sandbox("lab", 1, "a2", "10.77.3.0/24", driver=""), "25.5.2")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
