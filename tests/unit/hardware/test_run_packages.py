"""Names of .run packages: every published pattern, and nothing else."""

from __future__ import annotations

import pytest

from npuctl.hardware.boot_status import parse_boot_status
from npuctl.hardware.catalog import PRODUCTS
from npuctl.hardware.run_packages import PackageKind, package_name, parse_package_name
from npuctl.hardware.unreadable import UnreadableError

NAMES: list[tuple[str, PackageKind, str, str, str]] = [
    ("Ascend-hdk-910b-npu-driver_25.5.2_linux-aarch64.run", "driver", "910b", "25.5.2", "aarch64"),
    ("Ascend-hdk-910b-npu-driver_24.1.rc3.7_linux-x86-64.run", "driver", "910b", "24.1.rc3.7", "x86_64"),
    ("Ascend-hdk-910b-npu-driver_24.1.rc3_linux-x86_64.run", "driver", "910b", "24.1.rc3", "x86_64"),
    ("Ascend-hdk-310p-npu-driver_23.0.7_linux-arm64.run", "driver", "310p", "23.0.7", "aarch64"),
    ("Atlas-A3-hdk-npu-driver_25.5.0.b061_linux-aarch64.run", "driver", "a3", "25.5.0.b061", "aarch64"),
    ("Ascend310-hdk-npu-driver_6.0.rc1_linux-x86-64.run", "driver", "310", "6.0.rc1", "x86_64"),
    ("A800-9000-npu-driver_21.0.2_linux-aarch64.run", "driver", "a800-9000", "21.0.2", "aarch64"),
    ("A300-3010-npu-driver_21.0.2_ubuntu18.04-x86_64.run", "driver", "a300-3010", "21.0.2", "x86_64"),
    ("Ascend-hdk-A3-driver-25.0.0_openEuler22.03-aarch64.run", "driver", "a3", "25.0.0", "aarch64"),
    ("Ascend-hdk-910b-npu-firmware_7.8.0.7.220.run", "firmware", "910b", "7.8.0.7.220", ""),
    ("Atlas-A3-hdk-npu-firmware_9.0.0.0.205.run", "firmware", "a3", "9.0.0.0.205", ""),
    ("A300-3010-npu-firmware_1.79.22.5.220.run", "firmware", "a300-3010", "1.79.22.5.220", ""),
    ("Ascend-cann-toolkit_8.5.0_linux-aarch64.run", "toolkit", "", "8.5.0", "aarch64"),
    ("Ascend-cann-910b-ops_8.5.0_linux-aarch64.run", "ops", "910b", "8.5.0", "aarch64"),
    ("Ascend-cann-ops-910b_8.5.0_linux-aarch64.run", "ops", "910b", "8.5.0", "aarch64"),
    ("Ascend-cann-kernels-910b_8.1.RC1_linux-aarch64.run", "ops", "910b", "8.1.RC1", "aarch64"),
    ("Ascend-cann-nnal_8.5.0_linux-x86_64.run", "nnal", "", "8.5.0", "x86_64"),
    ("Ascend-docker-runtime_7.3.0_linux-aarch64.run", "runtime", "", "7.3.0", "aarch64"),
]


@pytest.mark.parametrize(
    ("name", "kind", "chip", "version", "arch"), NAMES, ids=[entry[0] for entry in NAMES]
)
def test_a_published_name_is_read(name: str, kind: str, chip: str, version: str, arch: str) -> None:
    found = parse_package_name(name)
    assert (found.name, found.kind, found.chip, found.version, found.arch) == (
        name,
        kind,
        chip,
        version,
        arch,
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Ascend-hdk-910b-npu-driver_25.5.2_linux-aarch64.run.cms",
        "Ascend-hdk-910b-npu-driver_25.5.2_linux-riscv64.run",
        "Ascend-hdk-910b-npu-driver_25.5.2_linux-aarch64.rpm",
        "Ascend-hdk-910b-npu-driver__linux-aarch64.run",
        "Ascend-hdk-910b-npu-firmware_7.8.0.7.220_linux-aarch64.run",
        "../Ascend-hdk-910b-npu-firmware_7.8.0.7.220.run",
        "Ascend-hdk-910b-npu-firmware_" + "1." * 200 + "1.run",
    ],
)
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(UnreadableError):
        parse_package_name(name)


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.key)
@pytest.mark.parametrize("arch", ["aarch64", "x86_64"])
def test_the_name_that_is_asked_for_suits_the_product(product: object, arch: str) -> None:
    chips = product.package_chips  # type: ignore[attr-defined]
    for kind, version in (("driver", "25.5.2"), ("firmware", "7.8.0.7.220")):
        name = package_name(kind, chips[0], version, arch)  # type: ignore[arg-type]
        package = parse_package_name(name)
        assert package.suits(kind, chips, version, arch)  # type: ignore[arg-type]
        assert not package.suits(kind, ("else",), version, arch)  # type: ignore[arg-type]
        assert not package.suits(kind, chips, "1.2.3", arch)  # type: ignore[arg-type]


def test_the_case_of_a_version_says_nothing() -> None:
    package = parse_package_name("Ascend-hdk-910b-npu-driver_26.0.RC1_linux-aarch64.run")
    assert package.suits("driver", ("910b",), "26.0.rc1", "aarch64")
    assert not package.suits("driver", ("910b",), "26.0.rc1", "x86_64")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("boot status:16\nboot status:16\n", {0: 16, 1: 16}),
        ("device 0 boot status:16\ndevice 3 boot status:1\n", {0: 16, 3: 1}),
        ("{device_id:0} boot status:16\nsome other line\n{device_id:1} boot status:0\n", {0: 16, 1: 0}),
    ],
)
def test_boot_statuses_are_read_chip_by_chip(text: str, found: dict[int, int]) -> None:
    assert parse_boot_status(text) == found


@pytest.mark.parametrize(
    "text", ["", "get boot status fail", "device 0 boot status:16\ndevice 0 boot status:1"]
)
def test_no_boot_status_is_no_chip_that_is_up(text: str) -> None:
    with pytest.raises(UnreadableError):
        parse_boot_status(text)
