"""Engines are found by their modules."""

from __future__ import annotations

import pytest

from npuctl import engines
from tests.making import REPOSITORY


def test_an_engine_is_a_module_without_underscore() -> None:
    files = {
        path.stem for path in (REPOSITORY / "npuctl/engines").glob("*.py") if not path.stem.startswith("_")
    }
    assert set(engines.names()) == files
    assert engines.names() == sorted(engines.names())


@pytest.mark.parametrize("name", engines.names())
def test_every_engine_has_a_title_and_all_functions(name: str) -> None:
    engine = engines.load(name)
    assert engine.title
    for function in ("problems", "seat_problems", "launch", "token_probe"):
        assert callable(getattr(engine, function))


@pytest.mark.parametrize("name", ["", "_contract", "nothing", "os", "../spec"])
def test_what_is_no_engine_is_not_loaded(name: str) -> None:
    with pytest.raises(KeyError):
        engines.load(name)
