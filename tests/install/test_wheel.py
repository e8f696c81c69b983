"""The wheel in a clean environment, used from another folder: playbooks, roles and data travel in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import skip_without_engine

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command `npuctl` of a virtual environment that knows nothing of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    wheels, venv = folder / "dist", folder / "venv"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(wheels), str(REPOSITORY)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip[0] = str(venv / "bin" / "python")
    subprocess.run([*pip, "install", str(next(wheels.glob("*.whl")))], check=True)
    return venv / "bin" / "npuctl"


def call(npuctl: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL"))
    }
    return subprocess.run(
        [str(npuctl), *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_it_plans_from_recorded_facts_in_another_folder(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "inventories" / "example-a2", tmp_path / "prod")
    shutil.copy(REPOSITORY / "inventories" / "facts" / "example-a2.json", tmp_path / "facts.json")
    done = call(installed, tmp_path, "plan", "prod", "--facts", "facts.json", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["steps"]) == 4


def test_it_explains_checks_and_reads_outputs_in_another_folder(installed: Path, tmp_path: Path) -> None:
    done = call(installed, tmp_path, "check", "--explain", "network.tls")
    assert "hccn_tool -i N -tls -g" in done.stdout, done.stderr
    sample = REPOSITORY / "tests" / "unit" / "hardware" / "samples" / "a2_idle.txt"
    done = call(installed, tmp_path, "parse", "npu-smi", str(sample))
    assert len(json.loads(done.stdout)["chips"]) == 8, done.stderr


@pytest.fixture
def sandbox(installed: Path, tmp_path: Path) -> Iterator[Path]:
    """The inventory of a sandbox of one node that the installed npuctl made."""
    skip_without_engine()
    name = f"wheel-{uuid.uuid4().hex[:6]}"
    up = call(installed, tmp_path, "sandbox", "up", "--nodes", "1", "--name", name, "--inventory", "inv")
    try:
        assert up.returncode == 0, up.stderr
        yield tmp_path / "inv"
    finally:
        call(installed, tmp_path, "sandbox", "down", "--name", name)


@pytest.mark.cluster
def test_it_deploys_and_tears_down_in_another_folder(installed: Path, sandbox: Path) -> None:
    for verb in (["inspect"], ["check"], ["deploy"], ["health"], ["stop"], ["teardown", "--yes"]):
        done = call(installed, sandbox.parent, verb[0], str(sandbox), *verb[1:])
        assert done.returncode == 0, f"{verb}: {done.stdout}{done.stderr}"
