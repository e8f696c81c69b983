"""Fixtures of every test: a guard, the corpus of collected outputs, modules that run on nodes."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

REPOSITORY = Path(__file__).resolve().parent.parent
# What library/module_utils holds, each after those that it imports.
UTILITIES = (
    "npuctl_docker",
    "npuctl_pull",
    "npuctl_probe",
    "npuctl_command",
    "npuctl_files",
    "npuctl_npus",
    "npuctl_host",
    "npuctl_images",
    "npuctl_weights",
    "npuctl_store",
    "npuctl_hub",
    "npuctl_relay",
    "npuctl_second_opinion",
    "npuctl_survey",
    "npuctl_hccn_tool",
    "npuctl_run_package",
    "npuctl_engine_setup",
    "npuctl_setup",
)
NPUSIM = REPOSITORY / "sandbox" / "node" / "npusim"

if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))  # tests import tests.making; also where npuctl itself is installed


@pytest.fixture(autouse=True)
def leave_no_trace() -> Iterator[None]:
    """A test that changes the environment, the working folder or the log's handlers for good fails."""
    before = _surroundings()
    yield
    assert _surroundings() == before, "the test left environment, folder or log handlers changed"


def _surroundings() -> tuple[dict[str, str], str, list[logging.Handler]]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    plugins = [
        handler for handler in logging.root.handlers if type(handler).__module__.startswith("_pytest.")
    ]
    return own, str(Path.cwd()), [handler for handler in logging.root.handlers if handler not in plugins]


@pytest.fixture
def library_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of library/ as Ansible would: with library/module_utils below ansible.module_utils."""
    utilities = importlib.import_module("ansible.module_utils")

    def load(name: str) -> ModuleType:
        loaded = {}
        for used in UTILITIES:
            loaded[used] = _load(used, REPOSITORY / f"library/module_utils/{used}.py")
            monkeypatch.setitem(sys.modules, f"ansible.module_utils.{used}", loaded[used])
            monkeypatch.setattr(utilities, used, loaded[used], raising=False)
        return loaded[name] if name in loaded else _load(name, REPOSITORY / f"library/{name}.py")

    return load


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
