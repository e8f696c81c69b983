"""The order of an engine's releases."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"[0-9]+")


def release_numbers(release: str) -> tuple[int, ...]:
    """The first three numbers of a release, to order releases by; a candidate counts as its release."""
    return tuple(int(number) for number in _NUMBERS.findall(release.partition("rc")[0])[:3])
