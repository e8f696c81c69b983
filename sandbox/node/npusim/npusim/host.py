"""Kernel values at a boot: what sysctl.d and tmpfiles.d say of those that the sandbox lays over the kernel's own.

systemd's own services do not do it here: one is skipped, for /proc/sys is read-only in a container; the other writes
without truncating, which a kernel does not mind and a plain file does.
"""

from __future__ import annotations

import glob
import os

from npusim.state import rooted

_NOW = "/run/npusim-host"
# Where sandbox/node/init lays which of the files below that folder.
_COVERED = {
    "/proc/sys/vm/swappiness": "swappiness",
    "/proc/sys/kernel/numa_balancing": "numa_balancing",
    "/proc/sys/net/ipv4/ip_local_reserved_ports": "reserved_ports",
    "/sys/kernel/mm/transparent_hugepage/enabled": "transparent_hugepages",
}
_CPUS = "/sys/devices/system/cpu/cpufreq/"
_CHOICES = {"transparent_hugepages": ("always", "madvise", "never")}
_TMPFILES_FIELDS = 7  # type, path, mode, user, group, age, argument


def apply_settings() -> None:
    """Set what the files of sysctl.d and tmpfiles.d set."""
    for path, value in {**_sysctls(), **_writes()}.items():
        name = _COVERED.get(path) or (f"cpufreq/{path.removeprefix(_CPUS)}" if path.startswith(_CPUS) else "")
        file = rooted(f"{_NOW}/{name}")
        if name and os.path.isfile(file):  # noqa: PTH113
            with open(file, "w", encoding="utf-8") as stream:  # noqa: PTH123  in place: the mount is of this file
                stream.write(_as_shown(name, value) + "\n")


def _as_shown(name: str, value: str) -> str:
    choices = _CHOICES.get(name, ())
    if value not in choices:
        return value
    return " ".join(f"[{choice}]" if choice == value else choice for choice in choices)


def _sysctls() -> dict[str, str]:
    found = {}
    for line in _lines("sysctl.d"):
        key, equals, value = line.lstrip("-").partition("=")
        if equals:
            found["/proc/sys/" + key.strip().replace(".", "/")] = value.strip()
    return found


def _writes() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines("tmpfiles.d"):
        fields = line.split(None, _TMPFILES_FIELDS - 1)
        if len(fields) == _TMPFILES_FIELDS and fields[0].rstrip("!+-") == "w":
            paths = glob.glob(rooted(fields[1])) or [rooted(fields[1])]  # noqa: PTH207
            found |= {path.removeprefix(rooted("")): fields[6] for path in paths}
    return found


def _lines(folder: str) -> list[str]:
    """The lines of the folder's files, in the order of their names; one of /etc hides one of the system's."""
    files: dict[str, str] = {}
    for parent in ("/usr/lib", "/run", "/etc"):
        for path in glob.glob(rooted(f"{parent}/{folder}/*.conf")):  # noqa: PTH207
            files[os.path.basename(path)] = path  # noqa: PTH119
    found = []
    for _, path in sorted(files.items()):
        with open(path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            found += [line.strip() for line in stream if line.strip() and line.strip()[0] not in "#;"]
    return found
