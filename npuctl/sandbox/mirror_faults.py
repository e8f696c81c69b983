"""Faults of what a sandbox's mirror serves: `npuctl sandbox fault mirror FAULT`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import UsageError
from npuctl.sandbox import mirror
from npuctl.sandbox.model import MIRROR

if TYPE_CHECKING:
    from npuctl.sandbox.model import Sandbox

_FILE = "faults.json"
_EVERYTHING = "all"
_DIGITS = 15


@dataclass(frozen=True, slots=True)
class _Fault:
    """One entry of the mirror's own file of faults: its key, and the value when none is given."""

    key: str
    explanation: str
    value: int | None = None


FAULTS = {
    "download-cut": _Fault(
        "cut", "every download breaks off after --value BYTES (default 100000)", value=100_000
    ),
    "download-slow": _Fault(
        "slow", "downloads come at --value BYTES a second and connection (default 100000)", value=100_000
    ),
    "download-wrong": _Fault("wrong", "one byte of every downloaded file is not what it should be"),
    "download-refused": _Fault(
        "refused_until", "everything is answered with 503 for --value SECONDS (default 30)", value=30
    ),
}


def explained() -> list[tuple[str, str]]:
    """Return every fault of a mirror, with what it does."""
    return [(name, f"{MIRROR}: {fault.explanation}") for name, fault in FAULTS.items()]


def put(sandbox: Sandbox, name: str, value: str | None, *, clear: bool) -> str:
    """Put a fault on the mirror, or take it off; return what was done, in words.

    Raises:
        UsageError: no such fault, a value that does not fit, or no mirror.
    """
    if name == _EVERYTHING and clear:
        mirror.read_state(sandbox, _FILE)  # says where there is none
        mirror.write_state(sandbox, _FILE, {})
        return f"all faults cleared on the {MIRROR}"
    fault = FAULTS.get(name)
    if fault is None:
        raise UsageError(
            f"the {MIRROR} has no fault {name!r}", hint=f"those of the {MIRROR}: {', '.join(FAULTS)}"
        )
    wanted = None if clear else _value(name, fault, value)
    present = mirror.read_state(sandbox, _FILE)
    present.pop(fault.key, None)
    if not clear:
        present[fault.key] = wanted
    mirror.write_state(sandbox, _FILE, present)
    return f"{name} {'cleared on' if clear else 'put on'} the {MIRROR}"


def _value(name: str, fault: _Fault, value: str | None) -> float | bool:
    if fault.value is None:
        if value is not None:
            raise UsageError(f"{name} takes no value")
        return True
    text = str(fault.value) if value is None else value
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text) > 0):
        raise UsageError(f"{name}: --value {text!r} is not a whole number above 0")
    return time.time() + int(text) if fault.key == "refused_until" else int(text)
