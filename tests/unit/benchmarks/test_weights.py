"""The section about weights: a table in both languages, and goals that are missed when they are."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.weights import report


def measured(**rows: float) -> dict[str, Any]:
    seconds = {
        "one": 4.2, "chain-8": 4.4, "star-8": 34.0, "ansible-8": 9.0,
        "chain-16": 4.6, "star-16": 68.0, "ansible-16": 40.0, "killed": 5.0,
    }  # fmt: skip
    return {
        "date": "2026-01-01",
        "machine": {"cores": 2, "load_before": 0.1},
        "mb": 200.0,
        "mbit": 400,
        "ideal": 4.0,
        "counts": [8, 16],
        "rows": {name: [value] for name, value in (seconds | rows).items()},
    }


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_section_has_every_row_and_no_gap(language: str) -> None:
    text = report.markdown(measured(), language)
    assert "| 1 | 68.0 | 17.00 |" in text
    assert "{" not in text
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 9


@pytest.mark.parametrize(
    ("rows", "missed"),
    [
        ({}, []),
        ({"chain-16": 5.1, "chain-8": 5.0}, ["goal-ideal"]),
        ({"chain-8": 4.0}, ["goal-growth"]),
        ({"killed": 7.0}, ["goal-death"]),
    ],
)
def test_a_goal_that_is_missed_is_said(rows: dict[str, float], missed: list[str]) -> None:
    assert [goal["key"] for goal in report.goals(measured(**rows)) if not goal["met"]] == missed
