"""library/module_utils/npuctl_setup.py: npuctl's own notes, whatever stands in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def setup(
    library_module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = library_module("npuctl_setup")
    monkeypatch.setattr(module, "RECORDS", str(tmp_path))
    return module


@pytest.mark.parametrize(
    ("text", "error"), [("{", "no JSON"), ("[1]", "no JSON object"), ("null", "no JSON object")]
)
def test_a_note_that_is_none_of_ours_is_told_and_ends_nothing(
    setup: ModuleType, tmp_path: Path, text: str, error: str
) -> None:
    (tmp_path / "settings.json").write_text(text, encoding="utf-8")
    found = setup.read_records(["settings", "driver"])
    assert list(found) == ["settings"]
    assert error in found["settings"]["error"]
    assert setup.noted_files(found) == []


def test_the_files_of_the_record_are_looked_at_as_far_as_it_names_any(setup: ModuleType) -> None:
    entries = [{"file": "/etc/b"}, {"file": "/etc/a"}, {"file": "/etc/a"}, {"key": "x"}, "odd"]
    assert setup.noted_files({"settings": {"entries": entries}}) == ["/etc/a", "/etc/b"]
    assert setup.noted_files({"settings": {"entries": 3}}) == []
    assert setup.noted_files({}) == []
