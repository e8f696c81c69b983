"""What each release of vllm-ascend stands for, and which flags `vllm serve` has in each version of vLLM.

Both are data: npuctl/data/vllm/releases.json and npuctl/data/vllm/flags.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from npuctl.engines._release_numbers import release_numbers


@dataclass(frozen=True, slots=True)
class FlagAnswer:
    """What the flag table says of one flag at one version.

    `known` is None when the table cannot tell: the two sampled versions around this one disagree.
    """

    known: bool | None
    first: str = ""
    last: str = ""


def vllm_versions(release: str) -> list[str] | None:
    """VLLM versions that a vllm-ascend release stands for; None when the release is unknown."""
    return releases().get(release)


def flag_answer(flag: str, version: str) -> FlagAnswer:
    """Whether `vllm serve` of that vLLM version has the flag, from the versions that were sampled."""
    table = _table()
    sampled = table.versions
    spans = table.spans.get(flag)
    if spans is None:
        return FlagAnswer(known=False)
    first, last = spans[0][0], spans[-1][1]
    wanted = release_numbers(version)
    below = max((v for v in sampled if release_numbers(v) <= wanted), key=release_numbers, default=sampled[0])
    above = min(
        (v for v in sampled if release_numbers(v) >= wanted), key=release_numbers, default=sampled[-1]
    )
    has = {_within(below, spans), _within(above, spans)}
    return FlagAnswer(known=has.pop() if len(has) == 1 else None, first=first, last=last)


def _within(version: str, spans: list[tuple[str, str]]) -> bool:
    return any(
        release_numbers(first) <= release_numbers(version) <= release_numbers(last) for first, last in spans
    )


def releases() -> dict[str, list[str]]:
    """vllm-ascend release → the vLLM versions that it stands for."""
    return {release: row["vllm"] for release, row in release_table().items()}


@cache
def release_table() -> dict[str, dict[str, Any]]:
    text = files("npuctl").joinpath("data/vllm/releases.json").read_text(encoding="utf-8")
    return {entry["release"]: entry for entry in json.loads(text)["releases"]}


@dataclass(frozen=True, slots=True)
class _FlagTable:
    """`spans`: flag → ranges of sampled versions, first and last included, in which it is there."""

    versions: list[str]
    spans: dict[str, list[tuple[str, str]]]


@cache
def _table() -> _FlagTable:
    text = files("npuctl").joinpath("data/vllm/flags.json").read_text(encoding="utf-8")
    table = json.loads(text)
    spans = {flag: [(first, last) for first, last in ranges] for flag, ranges in table["flags"].items()}
    return _FlagTable(table["versions"], spans)


def name_in_table(flag: str) -> str:
    """The flag as the table has it: dotted JSON keys cut off, --no- taken from boolean pairs."""
    base = flag.split(".", 1)[0]
    positive = "--" + base.removeprefix("--no-")
    return positive if base.startswith("--no-") and positive in _table().spans else base


def flags_of_all() -> list[str]:
    """Every flag that some version has."""
    return list(_table().spans)
