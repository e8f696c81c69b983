"""What most have, where all should have the same. How a draw is settled is each check's own rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def most_frequent(values: Iterable[T]) -> tuple[T, ...]:
    """The values that occur most often, in their order; more than one is a draw, none means that there are none."""
    counts = Counter(values)
    most = max(counts.values(), default=0)
    return tuple(value for value, count in counts.items() if count == most)
