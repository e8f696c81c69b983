"""An own Ansible module as a program that is piped to the node's Python: same file, no play.

The node runs `python3 -c BOOTSTRAP`; standard input carries one JSON object with the sources of the module
and of the module_utils it imports, and the request. The answer is one JSON object on standard output.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from npuctl.paths import content_root

# -I and -S: nothing of the node's site-packages or environment is read; starts in 10 ms.
PYTHON_OPTIONS = ("-I", "-S", "-c")
# What the module needs, and ansible-core's modules too.
OLDEST_PYTHON = (3, 8)
TOO_OLD = "npuctl: Python VERSION is too old"
# The last line of standard input: a password for a sudo that did not ask may stand before it.
# Runs on the node, so it is short and needs nothing: it makes modules of the sources, under the names by
# which they import each other, and calls the last one's collect().
# An older Python must be able to read it, so as to say what it is.
BOOTSTRAP = (
    f"import sys\nif sys.version_info<{OLDEST_PYTHON}:"
    f"sys.exit('{TOO_OLD}'.replace('VERSION','.'.join(map(str,sys.version_info[:3]))))\n"
    "import json,os,types;p=json.loads(sys.stdin.buffer.read().splitlines()[-1]);"
    "[sys.modules.setdefault(n,types.ModuleType(n)) for n in('ansible','ansible.module_utils')];"
    "m=None\n"
    "for n,s in p['modules']:\n"
    " m=types.ModuleType(n);sys.modules[n]=m;exec(compile(s,n,'exec'),m.__dict__)\n"
    " setattr(sys.modules['ansible.module_utils'],n.rpartition('.')[2],m)\n"
    # Without waiting for a thread that hangs, as on a file server that is dead: its question was given up.
    "sys.stdout.write(json.dumps(m.collect(p['request'])));sys.stdout.flush();os._exit(0)"
)
# The same for a program that goes on as long as its standard input is open: one line of sources and request, then
# what the program itself reads there.
LIVE_BOOTSTRAP = (
    "import json,sys,types\n"
    "for l in sys.stdin.buffer:\n"
    " if l.startswith(b'{\"modules\"'):break\n"
    "p=json.loads(l);"
    "[sys.modules.setdefault(n,types.ModuleType(n)) for n in('ansible','ansible.module_utils')]\n"
    "for n,s in p['modules']:\n"
    " m=types.ModuleType(n);sys.modules[n]=m;exec(compile(s,n,'exec'),m.__dict__)\n"
    " setattr(sys.modules['ansible.module_utils'],n.rpartition('.')[2],m)\n"
    "m.run(p['request'])"
)
_IMPORT = re.compile(r"^( *)from ansible\.module_utils import (npuctl_\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A module of library/ with the module_utils that it imports, as sources in the order of import."""

    name: str
    modules: tuple[tuple[str, str], ...]

    def standard_input(self, request: dict[str, Any]) -> bytes:
        """What the bootstrap reads."""
        return json.dumps({"modules": self.modules, "request": request}).encode()


@cache
def load_program(name: str, *, whole: bool = False) -> Program:
    """The module library/NAME.py as a program; it must have `collect(request) -> dict`.

    Args:
        name: of the module.
        whole: carry also what it imports inside functions, for requests that come there.
    """
    library = content_root() / "library"
    source = (library / f"{name}.py").read_text(encoding="utf-8")
    return Program(name, (*_imports(source, library / "module_utils", whole=whole), (name, source)))


@cache
def load_live_program(name: str) -> Program:
    """library/module_utils/NAME.py as a program for LIVE_BOOTSTRAP; it must have `run(request)`."""
    folder = content_root() / "library" / "module_utils"
    source = (folder / f"{name}.py").read_text(encoding="utf-8")
    return Program(name, (*_imports(source, folder, whole=True), (name, source)))


def _imports(source: str, folder: Path, *, whole: bool) -> list[tuple[str, str]]:
    """The module_utils that a source imports, each after those that it imports itself."""
    found: dict[str, str] = {}
    for inside, used in _IMPORT.findall(source):
        if inside and not whole:
            continue
        text = (folder / f"{used}.py").read_text(encoding="utf-8")
        found |= dict(_imports(text, folder, whole=whole))
        found[f"ansible.module_utils.{used}"] = text
    return list(found.items())
