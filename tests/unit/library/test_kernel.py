"""library/npuctl_kernel.py on files of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def kernel(library_module: Callable[[str], ModuleType]) -> Any:
    return library_module("npuctl_kernel")


def test_what_differs_is_set_and_told(kernel: Any, tmp_path: Path) -> None:
    thp, swap, same = tmp_path / "thp", tmp_path / "swap", tmp_path / "same"
    thp.write_text("always [madvise] never\n")
    swap.write_text("60\n")
    same.write_text("0\n")
    done, unset = kernel.apply({str(thp): "always", str(swap): 1, str(same): "0"}, True)
    assert unset == {}
    assert done == [f"{swap} 60 → 1", f"{thp} madvise → always"]
    assert (thp.read_text(), swap.read_text()) == ("always\n", "1\n")


def test_check_mode_writes_nothing(kernel: Any, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("1\n")
    assert kernel.apply({str(file): "2"}, False) == ([f"{file} 1 → 2"], {})
    assert file.read_text() == "1\n"


def test_what_cannot_be_set_is_said_and_the_rest_is_set(
    kernel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, stubborn, folder = tmp_path / "x", tmp_path / "stubborn", tmp_path / "folder"
    file.write_text("1\n")
    stubborn.write_text("1\n")
    folder.mkdir()
    put = kernel.put
    monkeypatch.setattr(kernel, "put", lambda path, text: None if path == str(stubborn) else put(path, text))
    values = {str(file): "2", str(stubborn): "2", str(tmp_path / "none"): "2", str(folder): "2"}
    done, unset = kernel.apply(values, True)
    assert done == [f"{file} 1 → 2"]
    assert unset[str(stubborn)] == "the kernel keeps 1"
    assert unset[str(tmp_path / "none")] == "the kernel has no such value"
    assert "directory" in unset[str(folder)]


def test_an_empty_value_can_be_set(kernel: Any, tmp_path: Path) -> None:
    file = tmp_path / "ports"
    file.write_text("8000\n")
    assert kernel.apply({str(file): ""}, True) == ([f"{file} 8000 → empty"], {})
    assert kernel.apply({str(file): ""}, True) == ([], {})
