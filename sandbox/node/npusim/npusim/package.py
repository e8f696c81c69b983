"""A simulated .run package: a few lines of shell, a mark, a checksum of all the rest, and what it installs as JSON."""

from __future__ import annotations

import hashlib
import os
import sys

from npusim.record import parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple

MARK = b"\n__NPUCTL_SIMULATED_PACKAGE__\n"
_DAMAGED = 2  # what makeself's own check ends with: the same number as "reboot owed"


class Package(NamedTuple):
    """What a package installs.

    Attributes:
        name: of its file.
        kind: driver, firmware or runtime.
        pci_device: of the chips that it is for.
    """

    name: str
    kind: str
    version: str
    pci_device: str
    arch: str
    megabytes: int


class DamagedError(Exception):
    """The file is not what its maker wrote; the text is makeself's word for it."""


def read(path: str) -> Package:
    """The package in that file.

    Raises:
        DamagedError: a byte of it is not as it was made.
        FileNotFoundError: there is none.
    """
    with open(path, "rb") as file:  # noqa: PTH123
        script, mark, rest = file.read().partition(MARK)
    expected, _, content = rest.partition(b"\n")
    found = hashlib.sha256(script + mark + content).hexdigest()
    if not mark or found.encode() != expected:
        raise DamagedError(
            f"Error in SHA256 checksums: {found} is different from {expected.decode('ascii', 'replace')}"
        )
    values = parse_json(content.decode())
    return Package(
        name=os.path.basename(path),  # noqa: PTH119
        kind=values["kind"],
        version=values["version"],
        pci_device=values["pci_device"],
        arch=values["arch"],
        megabytes=values["megabytes"],
    )


def main(path: str, arguments: list[str]) -> int:
    """What `./PACKAGE.run ARGUMENTS` does; returns the exit code."""
    try:
        package = read(path)
    except DamagedError as error:
        print(f"Verifying archive integrity... {error}", file=sys.stderr)
        return _DAMAGED
    given = [word for word in arguments if word != "--nox11"]
    print(f"simulated NPUs: {package.name} is a package of an npuctl sandbox")
    if package.kind == "runtime":
        from npusim import docker_runtime  # noqa: PLC0415  one of the two

        return docker_runtime.run(package, given)
    from npusim import install  # noqa: PLC0415  one of the two

    return install.run(package, given)


def say_good() -> None:
    """What a package's `--check` says of a good one."""
    print("Verifying archive integrity...  100%   SHA256 checksums are OK. All good.")
