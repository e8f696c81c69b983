"""Numbers, sizes and lists as findings and tables say them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from npuctl.spec.secrets import masked

__all__ = [
    "masked",
    "process",
    "ranges",
    "several",
    "size",
    "size_for_table",
    "size_on_chip",
]

_STEP = 1024
_MIB, _GIB = 2**20, 2**30
_EXACT_BELOW = 10
_COMMAND_LENGTH = 80


def ranges(numbers: Iterable[int]) -> str:
    """0, 1, 2, 5 → "0-2,5": as the kernel writes lists of ports and processors too."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def several(words: Sequence[str], most: int) -> str:
    """The first `most` of them, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def size(count: float) -> str:
    """Bytes with four figures, "512 MiB", "1.536 TiB": two sizes that a finding compares seldom read the same."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < _STEP:
            return f"{count:.4g} {unit}"
        count /= _STEP
    return f"{count:.4g} TiB"


def size_for_table(count: int) -> str:
    """Bytes as short as they tell something, from MiB on: "9.5 GiB", "412 GiB"."""
    amount = count / _MIB
    for unit in ("MiB", "GiB", "TiB"):
        if amount < _STEP:
            return f"{amount:.0f} {unit}" if amount >= _EXACT_BELOW else f"{amount:.1f} {unit}"
        amount /= _STEP
    return f"{amount:.0f} PiB"


def size_on_chip(count: int) -> str:
    """Bytes of a chip's memory in GiB, to a tenth: what is reckoned is no more exact. Below 0 something is missing."""
    return f"{count / _GIB:.1f} GiB" if count >= _GIB / 10 or count <= 0 else f"{count / _MIB:.1f} MiB"


def process(pid: int | None, container: str, command: str) -> str:
    """Who holds a chip or a port."""
    who = f"pid {pid}" if pid else "an unknown process"
    where = f" in container {container}" if container else ""
    return f"{who}{where}" + (f": {command[:_COMMAND_LENGTH]}" if command else "")
