"""A node whose Python is missing or too old for npuctl and Ansible: seen without one, and told with the remedy.

Ansible's modules want the same Python as npuctl's program (ansible-core 2.19: 3.8 on nodes). Some Kylin V10 come with
3.7, and a minimal system with none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from npuctl.remote.program import OLDEST_PYTHON, TOO_OLD

# Shell, for there may be no Python: every interpreter of the usual places with its version, and the package managers.
LIST_PYTHONS = """
for file in /usr/bin/python3 /usr/bin/python3.[0-9] /usr/bin/python3.[0-9][0-9] /usr/local/bin/python3 \
    /usr/local/bin/python3.[0-9] /usr/local/bin/python3.[0-9][0-9] /opt/*/bin/python3 /usr/libexec/platform-python \
    /root/*conda3/bin/python3 "$HOME"/*conda3/bin/python3; do
  [ -x "$file" ] || continue
  version=$("$file" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue
  echo "python $version $file"
done
for name in apt-get dnf yum; do
  ! command -v "$name" >/dev/null 2>&1 || echo "manager $name"
done
"""
_OLD = re.compile(re.escape(TOO_OLD).replace("VERSION", r"([0-9.]+)"))


@dataclass(frozen=True, slots=True)
class _Python:
    version: tuple[int, ...]
    path: str

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version))})"


def trouble(python: str, text: str) -> str:
    """What is wrong with a node's Python, from how the program's start ended; "" where it is something else."""
    old = _OLD.search(text)
    if old:
        return f"its {python} is Python {old[1]}, too old for npuctl and Ansible"
    if "Unknown option: -I" in text:
        return f"its {python} is Python 2, too old for npuctl and Ansible"
    # bash, dash and sudo name it first, zsh and fish last.
    name = re.escape(python)
    if re.search(rf"{name}: (command )?not found|{name}: No such file|[Cc]ommand( not found)?: {name}", text):
        return f"Python was not found on the node as {python}"
    return ""


def remedy(listing: str, node: str) -> str:
    """What to do about it, from what LIST_PYTHONS printed on the node."""
    words = [line.split(None, 2) for line in listing.splitlines()]
    found = [
        _Python(tuple(int(part) for part in line[1].split(".")), line[2])
        for line in words
        if line[:1] == ["python"] and line[2:] and re.fullmatch(r"[0-9]+(\.[0-9]+)+", line[1])
    ]
    found = list({python.path: python for python in found}.values())
    oldest = ".".join(map(str, OLDEST_PYTHON))
    usable = sorted((one for one in found if one.version >= OLDEST_PYTHON), key=lambda one: one.version)
    if usable:
        best = usable[-1]
        return (
            f"it has {', '.join(map(str, found))}: write ansible_python_interpreter: {best.path} for {node} into"
            " hosts.yml"
        )
    managers = [line[1] for line in words if line[:1] == ["manager"] and line[1:]]
    has = f"it has only {', '.join(map(str, found))}: " if found else ""
    if managers[:1] == ["apt-get"]:
        how = "apt-get install -y python3"
    elif managers:
        how = f"{managers[0]} install -y python3, or a newer one beside it ({managers[0]} list 'python3*' shows which)"
    else:
        how = "with its system's package manager"
    return (
        f"{has}install Python {oldest} or newer on it: {how}; where it is not python3, name it by"
        f" ansible_python_interpreter for {node} in hosts.yml"
    )
