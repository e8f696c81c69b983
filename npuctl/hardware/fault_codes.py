"""What the error codes of a chip mean and what they ask for: npuctl/data/fault_codes.yaml, as types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

_DIGITS = 8
_MOST_WORDS = 160


@dataclass(frozen=True, slots=True)
class Level:
    """What a code asks for.

    Attributes:
        rank: how grave; 0 needs nothing.
        do: what an operator does.
        mind_cluster: its name in mind-cluster, where the codes of each level are listed.
    """

    name: str
    rank: int
    do: str
    mind_cluster: str


@dataclass(frozen=True, slots=True)
class FaultCode:
    """One code: `meaning` is "" and `level` None where nothing is published."""

    code: str
    meaning: str = ""
    level: Level | None = None

    def in_words(self, said: str = "") -> str:
        """The code with its meaning; where there is none, with what npu-smi itself said of it."""
        if self.meaning:
            return f"{self.code}: {self.meaning}"
        unknown = "" if self.level else "unknown code; "
        own = f"npu-smi's own text: {said[:_MOST_WORDS]}" if said else "npu-smi says no more of it"
        return f"{self.code}: {unknown}{own}"


def fault_code(text: str) -> FaultCode:
    """What is known of a code, as a tool writes it: with or without 0x and leading zeros."""
    code = text.lower().removeprefix("0x").upper().zfill(_DIGITS)
    return _known().get(code, FaultCode(code))


def gravest(codes: Iterable[FaultCode]) -> Level | None:
    """The level that decides what is done; None where no code has one."""
    levels = [code.level for code in codes if code.level is not None]
    return max(levels, key=lambda level: level.rank, default=None)


@cache
def _known() -> dict[str, FaultCode]:
    data = yaml.safe_load(files("npuctl").joinpath("data/fault_codes.yaml").read_text(encoding="utf-8"))
    found: dict[str, FaultCode] = {}
    for rank, (name, entry) in enumerate(data["levels"].items()):
        level = Level(name, rank, entry["do"], entry["mind_cluster"])
        for code in entry["codes"].split():
            found[code] = FaultCode(code, data["meanings"].get(code, ""), level)
    return found
