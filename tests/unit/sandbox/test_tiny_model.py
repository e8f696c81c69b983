"""The model on a sandbox's nodes is a whole one, and each of its faults damages one thing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from npuctl.facts.survey import WeightsFacts
from npuctl.plan.model_shape import read_shape
from npuctl.sandbox import weights_faults
from npuctl.sandbox.model import MODEL_PATH
from npuctl.sandbox.tiny_model import tiny_model
from tests.making import REPOSITORY


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    """What reads a model's folder on a node."""
    file = REPOSITORY / "library" / "module_utils" / "npuctl_weights.py"
    spec = importlib.util.spec_from_file_location("npuctl_weights_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "tiny"
    own.mkdir()
    for name, file in tiny_model().items():
        (own / name).write_bytes(file.content)
    return own


def read(reader: ModuleType, folder: Path) -> WeightsFacts:
    return WeightsFacts.model_validate(reader.read_folder(str(folder)))


def run(text: str, folder: Path) -> None:
    """A fault's script, on another folder than a node's."""
    kept = folder.parent / "kept"
    moved = text.replace(MODEL_PATH, str(folder)).replace("/var/lib/npuctl-sandbox/kept", str(kept))
    subprocess.run(["sh", "-ec", moved, "fault", ""], check=True)


def test_the_model_is_the_same_at_every_making() -> None:
    assert tiny_model() == tiny_model()


def test_the_model_is_whole(reader: ModuleType, folder: Path) -> None:
    found = read(reader, folder)
    assert found.index_shards == sorted(found.shards)
    assert len(found.shards) == 2
    assert found.index_bytes == found.bytes
    assert all(shard.error == "" and shard.size_bytes == shard.data_bytes for shard in found.shards.values())
    assert {kind for shard in found.shards.values() for kind in shard.dtypes} == {"BF16"}
    assert found.config is not None
    parts = read_shape(found.config).parts
    assert parts is not None
    assert found.bytes == pytest.approx(parts.total * 2, rel=0.01)


def test_the_tokenizer_knows_every_byte() -> None:
    tokenizer = json.loads(tiny_model()["tokenizer.json"].content)
    vocabulary = tokenizer["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(256 + 3))
    assert {"a", "Ġ", "Ċ", "ÿ"} <= set(vocabulary)


def damage(found: WeightsFacts) -> dict[str, Any]:
    """What is not as it should be."""
    return {
        "missing": sorted(set(found.index_shards or []) - set(found.shards)),
        "short": [name for name, shard in found.shards.items() if shard.data_bytes != shard.size_bytes],
        "unreadable": [name for name, shard in found.shards.items() if shard.error],
        "config": found.config_error,
        "left": [name for name in found.other_files if name.endswith(".incomplete")],
    }


@pytest.mark.parametrize("fault", sorted(weights_faults.SCRIPTS))
def test_a_fault_damages_and_its_clearing_mends(fault: str, reader: ModuleType, folder: Path) -> None:
    whole = {file.name: file.read_bytes() for file in folder.iterdir()}
    script = weights_faults.SCRIPTS[fault]
    run(script.clear, folder)
    run(script.put, folder)
    once = {file.name: file.read_bytes() for file in folder.iterdir()}
    run(script.put, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == once
    assert len(set(whole.items()) ^ set(once.items())) in {1, 2}
    run(script.clear, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == whole
    assert damage(read(reader, folder)) == {
        "missing": [], "short": [], "unreadable": [], "config": "", "left": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("weights-missing-shard", "missing"),
        ("weights-truncated", "short"),
        ("weights-config", "config"),
        ("weights-partial", "left"),
    ],
)
def test_a_fault_damages_one_thing(fault: str, kind: str, reader: ModuleType, folder: Path) -> None:
    run(weights_faults.SCRIPTS[fault].put, folder)
    assert [name for name, found in damage(read(reader, folder)).items() if found] == [kind]


def test_a_zeroed_header_keeps_the_size(reader: ModuleType, folder: Path) -> None:
    before = read(reader, folder).shards
    run(weights_faults.SCRIPTS["weights-zeroed"].put, folder)
    after = read(reader, folder).shards
    [bad] = [name for name, shard in after.items() if shard.error]
    assert after[bad].size_bytes == before[bad].size_bytes


def test_another_revision_is_whole_too(reader: ModuleType, folder: Path) -> None:
    before = read(reader, folder)
    run(weights_faults.SCRIPTS["weights-differ"].put, folder)
    after = read(reader, folder)
    assert not any(damage(after).values())
    assert after.shards != before.shards
