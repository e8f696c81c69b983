"""The arguments of a service: how flags are spelled, what stands inside JSON, numbers as people write them. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from npuctl.spec.models import Service

ABSENT = object()
_HUMAN = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")
# vLLM, utils/argparse_utils.py: small letters are powers of ten, capitals of two.
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def spelled(name: str) -> str:
    """A flag as the command line has it; the spec may leave the dashes out and write underscores."""
    return "--" + name.removeprefix("--").replace("_", "-")


def argument(service: Service, path: str) -> Any:
    """The value of an argument, also one inside a JSON argument (`name.key.key`); None when it is absent.

    A flag without a value is True, as `--no-NAME` is NAME with False.
    """
    found = argument_or_absent(service, path)
    return None if found is ABSENT else found


def argument_or_absent(service: Service, path: str) -> Any:
    """The same, ABSENT where None may have been written."""
    wanted = path.split(".")
    for written, value in service.args.items():
        steps = written.removeprefix("--").replace("_", "-").split(".", 1)
        name = steps[0]
        inner = written.removeprefix("--").split(".")[1:]
        if name == "no-" + wanted[0] and len(wanted) == 1:
            return False
        if name == wanted[0] and inner == wanted[1 : 1 + len(inner)]:
            found = _inside(True if value is None else value, wanted[1 + len(inner) :])
            if found is not ABSENT:
                return found
    return ABSENT


def _inside(value: Any, path: Sequence[str]) -> Any:
    if path and isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return ABSENT
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return ABSENT
        value = value[step]
    return value


def readable_count(value: object) -> int | None:
    """A number as vLLM reads it from a command line: 4096, "4096", "4k", "1.5k", "8K"."""
    if isinstance(value, bool) or value is None:
        return None
    text = str(value).strip()
    if match := _HUMAN.fullmatch(text):
        number, unit = match.groups()
        return int(float(number) * (_DECIMAL | _BINARY)[unit])
    try:
        return int(text)
    except ValueError:
        return None
