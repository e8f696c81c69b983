"""Every check that the code can find has its entry, its pages, and a way to see it at work; and the reverse."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from npuctl.plan.checks.catalogue import LANGUAGES, Entry, catalogue
from npuctl.sandbox import faults

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = (REPOSITORY / "npuctl" / "plan" / "checks", REPOSITORY / "npuctl" / "plan" / "provision")


def modules() -> list[Path]:
    return [path for folder in FOLDERS for path in folder.rglob("*.py")]


def ids_in_code() -> dict[str, str]:
    """Every literal that stands as a finding's id → the module it stands in."""
    found: dict[str, str] = {}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg in {"id", "identity"}:
                        found |= dict.fromkeys(_texts(keyword.value), path.name)
    return found


def _texts(value: ast.expr) -> list[str]:
    match value:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one), *_texts(other)]
    return []


def test_every_finding_has_its_entry_and_every_entry_its_finding() -> None:
    code, known = ids_in_code(), catalogue()
    assert sorted(set(code) - set(known)) == []
    source = "".join(path.read_text(encoding="utf-8") for path in modules())
    assert [name for name in known if f'"{name}"' not in source] == []


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.id)
def test_an_entry_is_whole(entry: Entry) -> None:
    assert entry.severity in {"error", "warning", "error or warning"}
    assert set(entry.pages) == set(LANGUAGES)
    for page in entry.pages.values():
        assert page.title
        assert page.what
        assert page.why
        assert all(page.mend)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in entry.pages["zh"].what)
    assert len(entry.pages["en"].mend) == len(entry.pages["zh"].mend)


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.id)
def test_an_entry_names_a_fault_that_shows_it(entry: Entry) -> None:
    if entry.fault.startswith("none: ") or entry.fault == "spec":
        return
    known = {name for name, _text in faults.explained()}
    assert entry.fault.split()[0] in known
