"""Simulated .run packages of driver, firmware and Ascend Docker Runtime, under the vendor's names.

A package is a few lines of shell that hand it to the simulator of the node it runs on (sandbox/node/npusim); any
other machine is refused. Names: npuctl/hardware/run_packages.py says where they were published.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from npuctl.errors import PlayFailedError
from npuctl.hardware.run_packages import package_name
from npuctl.sandbox import model

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_RUNTIME = "7.3.0"
Kind = Literal["driver", "firmware", "runtime"]

_MARK = b"\n__NPUCTL_SIMULATED_PACKAGE__\n"
_SCRIPT = """#!/bin/sh
# SIMULATED. Made by `npuctl sandbox packages` for the nodes of a sandbox, with nothing of the vendor's in it.
if [ ! -e "${NPUSIM_ROOT:-}/etc/npuctl-sandbox" ]; then
  echo "This package is simulated: it installs on a node of an npuctl sandbox and nowhere else." >&2
  exit 1
fi
exec "${NPUSIM:-/usr/local/sbin/npusim}" package "$0" "$@"
exit 1
"""
# Of the product: what packages call its chip, and its number on the PCI bus.
_CHIPS = {"a2": ("910b", "d802"), "a3": ("a3", "d803"), "310p": ("310p", "d500")}
_FIRMWARE_WITH = (
    ("23.", "7.1.0.11.220"),
    ("24.", "7.5.0.1.129"),
    ("25.", "7.8.0.7.220"),
    ("", "9.0.0.0.205"),
)
_MEGABYTES = {"driver": 300, "firmware": 32, "runtime": 0}  # that must be free (hicann/driver, env_check.sh)


@dataclass(frozen=True, slots=True)
class Release:
    """Versions that packages are made of; `firmware` "" stands for the one published with the driver."""

    product: str = model.DEFAULT_PRODUCT
    driver: str = model.DEFAULT_DRIVER
    firmware: str = ""
    runtime: str = DEFAULT_RUNTIME
    arch: str = ""

    @property
    def machine(self) -> str:
        """The architecture of the nodes, as `uname -m` says it; a sandbox's is this machine's."""
        return self.arch or platform.machine()

    @property
    def usual_firmware(self) -> str:
        """The firmware asked for, or the one published with the driver."""
        usual = next(firmware for start, firmware in _FIRMWARE_WITH if self.driver.startswith(start))
        return self.firmware or usual


def write(folder: Path, release: Release) -> list[Path]:
    """Write the three packages into the folder (made if need be); returns them.

    Raises:
        UsageError: a version is none.
        PlayFailedError: the folder cannot be written.
    """
    versions: dict[Kind, str] = {
        "driver": model.check_version(release.driver, "--driver"),
        "firmware": model.check_version(release.usual_firmware, "--firmware"),
        "runtime": model.check_version(release.runtime, "--runtime"),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, version in versions.items():
            path = folder / name(kind, version, release)
            path.write_bytes(content(kind, version, release))
            path.chmod(0o755)
            written.append(path)
    except OSError as error:
        raise PlayFailedError(f"cannot write packages into {folder}: {error.strerror}") from error
    return written


def name(kind: Kind, version: str, release: Release) -> str:
    """The vendor's name of such a package."""
    if kind == "runtime":
        return f"Ascend-docker-runtime_{version}_linux-{release.machine}.run"
    return package_name(kind, _CHIPS[release.product][0], version, release.machine)


def content(kind: Kind, version: str, release: Release) -> bytes:
    """The bytes of a package: script, mark, checksum of all but itself, what it installs."""
    about = {
        "simulated": True,
        "kind": kind,
        "version": version,
        "pci_device": _CHIPS[release.product][1],
        "arch": release.machine,
        "megabytes": _MEGABYTES[kind],
    }
    script, payload = _SCRIPT.encode(), json.dumps(about, indent=1).encode()
    digest = hashlib.sha256(script + _MARK + payload).hexdigest().encode()
    return script + _MARK + digest + b"\n" + payload
