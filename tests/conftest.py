"""Fixtures of every test: the corpus of collected outputs, and the simulated NPU tools."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

REPOSITORY = Path(__file__).resolve().parent.parent
NPUSIM = REPOSITORY / "sandbox" / "node" / "npusim"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of outputs collected from real tools: npu/, mindie/ and vllm/.

    It is not part of this repository; NPUCTL_CORPUS says where it lies.
    """
    folder = os.environ.get("NPUCTL_CORPUS")
    if not folder:
        pytest.skip("not run: NPUCTL_CORPUS is not set (the folder of outputs of real tools)")
    path = Path(folder)
    if not (path / "npu").is_dir():
        pytest.fail(f"NPUCTL_CORPUS={folder} has no folder npu")
    return path


@pytest.fixture(scope="session")
def npusim_module() -> Callable[[str], ModuleType]:
    """Import a module of the simulator, which is not on the path: it runs on nodes."""

    def load(name: str) -> ModuleType:
        sys.path.insert(0, str(NPUSIM))
        try:
            return importlib.import_module(f"npusim.{name}")
        finally:
            sys.path.remove(str(NPUSIM))

    return load
