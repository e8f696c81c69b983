"""/etc/environment, as pam_env(8) reads it: NAME=VALUE, a line each.

A key is the name. Where a name stands twice the last line counts, and is the one that is changed. Lines that
set nothing stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from npuctl.plan.provision.formats._contract import Absent
from npuctl.plan.provision.formats._lines import ended, ended_like, lines_of, newline_of

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


@dataclass(frozen=True, slots=True)
class _EnvFile:
    empty: ClassVar[str] = ""

    def read(self, text: str) -> Mapping[str, JsonValue]:
        found = (_LINE.match(line) for line in lines_of(text))
        return {entry[1]: _unquoted(entry[2].strip()) for entry in found if entry}

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        lines = lines_of(ended(text))
        for name, value in values.items():
            there = [at for at, line in enumerate(lines) if (found := _LINE.match(line)) and found[1] == name]
            if isinstance(value, Absent):
                lines = [line for at, line in enumerate(lines) if at not in there]
            else:
                at = there[-1] if there else len(lines)
                lines[at : at + 1] = [f"{name}={value}{newline_of(text)}"]
        return ended_like(text, "".join(lines)) if "".join(lines).strip() else ""


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


ENV_FILE = _EnvFile()
