"""A file that is ours from its first line to its last: one value, under the key ""."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import JsonValue

from npuctl.plan.provision.formats._contract import Absent


@dataclass(frozen=True, slots=True)
class _Whole:
    empty: ClassVar[str] = ""

    def read(self, text: str) -> Mapping[str, JsonValue]:
        return {"": text} if text else {}

    def write(self, text: str, values: Mapping[str, JsonValue | Absent]) -> str:
        value = values.get("", text)
        return "" if isinstance(value, Absent) else str(value)


WHOLE = _Whole()
