"""Nodes with simulated NPUs, whose tools run as on a node: their scripts as processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from npuctl.hardware.npu_smi import NpuSmiInfo, parse_info

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(__file__).resolve().parents[4] / "sandbox" / "node" / "npusim" / "bin"


@dataclass(frozen=True)
class Node:
    """A node's files below one folder."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "NPUSIM_ROOT": str(self.root),
            "NPUSIM_DEVICE_PREFIX": f"{self.root}/dev/davinci",
        }

    def run(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # As by its shebang, but with this interpreter: a checkout's machine may have another one.
        command = [sys.executable, "-ISE", str(BIN / tool), *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=30, check=False
        )

    def npusim(self, *arguments: str) -> str:
        done = self.run("npusim", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def smi(self, *arguments: str) -> str:
        done = self.run("npu-smi", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hccn(self, *arguments: str) -> str:
        done = self.run("hccn_tool", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def lspci(self) -> str:
        done = self.run("lspci", "-n", "-d", "19e5:")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def info(self) -> NpuSmiInfo:
        return parse_info(self.smi("info"))

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def show(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.npusim("show"))
        return answer


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Node]:
    """A booted node of each product, shared: for tests that only ask."""

    @cache
    def make(product: str) -> Node:
        node = Node(tmp_path_factory.mktemp(product))
        node.npusim("init", "--product", product, "--node-index", "3")
        node.npusim("boot")
        return node

    return make


@pytest.fixture
def own(pristine: Callable[[str], Node], tmp_path: Path) -> Callable[[str], Node]:
    """The same as a copy of the test's own: for tests that change something."""
    return lambda product: Node(shutil.copytree(pristine(product).root, tmp_path / product))


@pytest.fixture
def a2(own: Callable[[str], Node]) -> Node:
    return own("a2")


@pytest.fixture
def a3(own: Callable[[str], Node]) -> Node:
    return own("a3")


@pytest.fixture
def duo(own: Callable[[str], Node]) -> Node:
    return own("310p")
