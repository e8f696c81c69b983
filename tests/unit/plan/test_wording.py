"""How findings and tables say numbers, sizes, lists and processes."""

from __future__ import annotations

import pytest

from npuctl.plan.wording import process, ranges, several, size, size_for_table, size_on_chip

GIB = 2**30


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1], "0-1"), ([5, 2, 1, 0], "0-2,5"), ([7, 7, 9], "7,9")],
)
def test_ranges(numbers: list[int], text: str) -> None:
    assert ranges(numbers) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a, b"), (["a", "b", "c", "d"], "a, b and 2 more")],
)
def test_of_several_the_first_are_named(words: list[str], text: str) -> None:
    assert several(words, 2) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (18, "18 bytes"), (2048, "2 KiB"), (1.5 * 2**30, "1.5 GiB"), (1.5 * 2**40, "1.5 TiB")],
)
def test_sizes_that_are_compared(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0.0 MiB"),
        (2**20, "1.0 MiB"),
        (2**30 - 1, "1024 MiB"),
        (15 * GIB, "15 GiB"),
        (2**40, "1.0 TiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_sizes_of_a_table(count: int, text: str) -> None:
    assert size_for_table(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(29.56 * GIB, "29.6 GiB"), (0.05 * GIB, "51.2 MiB"), (0, "0.0 GiB"), (-2 * GIB, "-2.0 GiB")],
)
def test_sizes_on_a_chip(count: float, text: str) -> None:
    assert size_on_chip(int(count)) == text


@pytest.mark.parametrize(
    ("pid", "container", "command", "text"),
    [
        (7, "", "python", "pid 7: python"),
        (7, "box", "python", "pid 7 in container box: python"),
        (None, "", "", "an unknown process"),
        (7, "", "x" * 200, f"pid 7: {'x' * 80}"),
    ],
)
def test_a_process(pid: int | None, container: str, command: str, text: str) -> None:
    assert process(pid, container, command) == text
