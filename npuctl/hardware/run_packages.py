"""The names of the vendor's .run packages: what is in one, for which chip, version and machine.

Names as published: hiascend.com (mindsdk 730 mxindexfrug_0009, mind-sdk 60rc2 mxindexfrug_0010), the
quick-start guides of CANN's operator repositories (Atlas-A3-hdk-…, …linux-x86-64), hicann/driver's QUICKSTART
(the open-source build), mind-cluster's manual installation guide (the runtime).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from npuctl.hardware.unreadable import UnreadableError

PackageKind = Literal["driver", "firmware", "toolkit", "ops", "nnal", "runtime"]

_VERSION = r"[0-9][0-9A-Za-z]*(?:[.-][0-9A-Za-z]+)*"
_ARCH = r"aarch64|arm64|x86[-_]64"
_MACHINE = rf"(?P<os>[A-Za-z][A-Za-z0-9.]*)[-_](?P<arch>{_ARCH})"
_CHIP = r"[A-Za-z0-9]+"
_NAMES: tuple[tuple[PackageKind, str], ...] = (
    # Ascend-hdk-910b-npu-driver_…, Atlas-A3-hdk-npu-driver_…, Ascend310-hdk-npu-driver_…, A300-3010-npu-driver_…
    ("driver", rf"Ascend-hdk-(?P<chip>{_CHIP})-npu-driver_(?P<version>{_VERSION})_{_MACHINE}"),
    ("driver", rf"(?:Ascend|Atlas-)(?P<chip>{_CHIP})-hdk-npu-driver_(?P<version>{_VERSION})_{_MACHINE}"),
    ("driver", rf"(?P<chip>A[0-9]{{3}}-[0-9]{{4}})-npu-driver_(?P<version>{_VERSION})_{_MACHINE}"),
    ("driver", rf"Ascend-hdk-(?P<chip>{_CHIP})-driver-(?P<version>{_VERSION})_{_MACHINE}"),
    ("firmware", rf"Ascend-hdk-(?P<chip>{_CHIP})-npu-firmware_(?P<version>{_VERSION})"),
    ("firmware", rf"(?:Ascend|Atlas-)(?P<chip>{_CHIP})-hdk-npu-firmware_(?P<version>{_VERSION})"),
    ("firmware", rf"(?P<chip>A[0-9]{{3}}-[0-9]{{4}})-npu-firmware_(?P<version>{_VERSION})"),
    ("toolkit", rf"Ascend-cann-toolkit_(?P<version>{_VERSION})_{_MACHINE}"),
    ("ops", rf"Ascend-cann-(?P<chip>{_CHIP})-ops_(?P<version>{_VERSION})_{_MACHINE}"),
    ("ops", rf"Ascend-cann-ops-(?P<chip>{_CHIP})_(?P<version>{_VERSION})_{_MACHINE}"),
    ("ops", rf"Ascend-cann-kernels-(?P<chip>{_CHIP})_(?P<version>{_VERSION})_{_MACHINE}"),
    ("nnal", rf"Ascend-cann-nnal_(?P<version>{_VERSION})_{_MACHINE}"),
    ("runtime", rf"Ascend-docker-runtime_(?P<version>{_VERSION})_{_MACHINE}"),
)
_PATTERNS = tuple((kind, re.compile(rf"{pattern}\.run", re.IGNORECASE)) for kind, pattern in _NAMES)
_ARCHITECTURES = {"aarch64": "aarch64", "arm64": "aarch64", "x86_64": "x86_64", "x86-64": "x86_64"}
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class RunPackage:
    """What the name of a package says.

    Attributes:
        chip: in lower case, as 910b or a3; "" where it is for all.
        version: as it is written; its case says nothing.
        os: linux, or a distribution in old names; "" for firmware.
        arch: aarch64 or x86_64, as `uname -m` says; "" for firmware, which runs on the chip.
    """

    name: str
    kind: PackageKind
    chip: str
    version: str
    os: str = ""
    arch: str = ""

    def suits(self, kind: PackageKind, chips: tuple[str, ...], version: str, arch: str) -> bool:
        """Whether it is that version of that kind, for one of these chips and that machine."""
        return (
            self.kind == kind
            and self.version.casefold() == version.casefold()
            and (not self.chip or self.chip in chips)
            and self.arch in {"", arch}
        )


def parse_package_name(name: str) -> RunPackage:
    """Read the name of a .run package, without its folder.

    Raises:
        UnreadableError: it is none of the published names.
    """
    if len(name) <= _LONGEST:
        for kind, pattern in _PATTERNS:
            found = pattern.fullmatch(name)
            if found:
                parts = found.groupdict()
                return RunPackage(
                    name=name,
                    kind=kind,
                    chip=(parts.get("chip") or "").lower(),
                    version=parts["version"],
                    os=(parts.get("os") or "").lower(),
                    arch=_ARCHITECTURES.get((parts.get("arch") or "").lower(), ""),
                )
    raise UnreadableError(f"not the name of a .run package: {name[:_LONGEST]!r}")


def package_name(kind: Literal["driver", "firmware"], chip: str, version: str, arch: str) -> str:
    """How the vendor calls that package of driver or firmware today."""
    family = "Atlas-A3-hdk" if chip == "a3" else f"Ascend-hdk-{chip}"
    machine = f"_linux-{arch.replace('_', '-')}" if kind == "driver" else ""
    return f"{family}-npu-{kind}_{version}{machine}.run"
