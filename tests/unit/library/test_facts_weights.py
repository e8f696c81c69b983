"""library/module_utils/npuctl_weights.py on small safetensors made by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.survey import WeightsFacts


@pytest.fixture
def weights(library_module: Callable[[str], Any]) -> Any:
    return library_module("npuctl_weights")


def tensor(dtype: str, first: int, last: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [last - first], "data_offsets": [first, last]}


def shard(header: object, data: int = 0, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + b"\0" * data


GOOD = {"__metadata__": {"format": "pt"}, "a": tensor("BF16", 0, 8), "b": tensor("F32", 8, 12)}


def write(folder: Path, **files: object) -> str:
    for name, content in files.items():
        path = folder / name.replace("__", ".").replace("_of_", "-of-")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(folder)


def test_a_model_in_two_shards(weights: Any, tmp_path: Path) -> None:
    (tmp_path / "model-1.safetensors").write_bytes(shard(GOOD, 12))
    (tmp_path / "model-2.safetensors").write_bytes(shard({"c": tensor("BF16", 0, 4)}, 4))
    index = {
        "metadata": {"total_size": 16},
        "weight_map": {"a": "model-1.safetensors", "c": "model-2.safetensors"},
    }
    folder = write(
        tmp_path,
        model__safetensors__index__json=index,
        config__json={"architectures": ["Qwen3ForCausalLM"]},
        generation_config__json={"top_k": 1},
        tokenizer__json={},
    )
    found = WeightsFacts.model_validate(weights.read_folder(folder))
    assert (found.index_shards, found.index_bytes, found.index_error) == (
        ["model-1.safetensors", "model-2.safetensors"],
        16,
        "",
    )
    first = found.shards["model-1.safetensors"]
    assert first.dtypes == {"BF16": 8, "F32": 4}
    assert (first.tensor_bytes, first.data_bytes, first.error) == (12, first.size_bytes, "")
    assert first.header_sha256 == hashlib.sha256(json.dumps(GOOD).encode()).hexdigest()
    assert found.bytes == 16
    assert found.config == {"architectures": ["Qwen3ForCausalLM"]}
    text = json.dumps({"top_k": 1}).encode()
    assert found.generation_config_sha256 == hashlib.sha256(text).hexdigest()
    assert found.other_files["tokenizer.json"] == 2
    assert "model-1.safetensors" not in found.other_files


def test_a_shard_that_was_cut_promises_more_than_it_has(weights: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(shard(GOOD, 5))
    found = weights.read_shard(str(path), path.stat().st_size)
    assert found["error"] == ""
    assert found["data_bytes"] == found["size_bytes"] + 7


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "a header of 0 bytes in a file of 0"),
        (b"abc", "in a file of 3"),
        (shard(GOOD, length=10**12), "a header of 1000000000000 bytes"),
        (shard(b"{"), "not JSON"),
        (shard(b"[1]"), "not a JSON object"),
        (shard(b"\xff\xff"), "not JSON"),
        (shard(b"[" * 20000), "not JSON"),
        (shard({"a": 3}), "without data_offsets"),
        (shard({"a": {"dtype": "F32"}}), "without data_offsets"),
        (shard({"a": {"dtype": "F32", "data_offsets": [1]}}), "without data_offsets"),
        (shard({"a": {"dtype": "F32", "data_offsets": ["x", "y"]}}), "without data_offsets"),
        (shard({"a": tensor("F32", 0, 4), "b": tensor("F32", 8, 12)}, 12), "leave holes"),
        (shard({"a": tensor("F32", 0, 8), "b": tensor("F32", 4, 8)}, 8), "overlap"),
    ],
)
def test_a_header_that_is_none(weights: Any, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert words in weights.read_shard(str(path), len(content))["error"]
    assert WeightsFacts.model_validate(weights.read_folder(str(tmp_path))).shards["x.safetensors"].error


def test_no_tensor_is_read(weights: Any, tmp_path: Path) -> None:
    """A terabyte that is not there: only its header could be read in any time."""
    path = tmp_path / "x.safetensors"
    data = 2**40
    header = shard({"a": tensor("BF16", 0, data)})
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + data)
    found = weights.read_folder(str(tmp_path))["shards"]["x.safetensors"]
    assert (found["tensor_bytes"], found["error"]) == (data, "")
    assert found["data_bytes"] == found["size_bytes"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("quant_model_description.json", {"model_quant_type": "W8A8_DYNAMIC", "x": "FLOAT"}, "W8A8_DYNAMIC"),
        ("quant_model_description_w8a8.json", {"a": "W8A8", "b": "W8A8", "c": "FLOAT", "d": "W4A8"}, "W8A8"),
        ("quant_model_description.json", {"a": 1}, "unknown"),
        ("quant_model_description.json", b"{", "unknown"),
        ("other.json", {"model_quant_type": "W8A8"}, ""),
    ],
)
def test_the_kind_of_a_quantised_model(
    weights: Any, tmp_path: Path, name: str, content: object, kind: str
) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert weights.read_folder(str(tmp_path))["quantization"] == kind


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (b"{", "not JSON"),
        ({"metadata": {}}, "model.safetensors.index.json has no weight_map"),
        ({"weight_map": {"a": 1}}, "model.safetensors.index.json has no weight_map"),
    ],
)
def test_an_index_that_is_none(weights: Any, tmp_path: Path, index: object, words: str) -> None:
    found = weights.read_folder(write(tmp_path, model__safetensors__index__json=index))
    assert words in found["index_error"]
    assert found["index_shards"] is None


def test_a_model_without_index_or_config(weights: Any, tmp_path: Path) -> None:
    found = WeightsFacts.model_validate(weights.read_folder(str(tmp_path)))
    assert found.config_error == "config.json is not there"
    assert (found.index_shards, found.index_error, found.shards) == (None, "", {})


def test_a_configuration_that_cannot_be_sent_on(weights: Any, tmp_path: Path) -> None:
    found = weights.read_folder(write(tmp_path, config__json=b'{"a": "\\ud800"}'))
    assert (found["config"], found["config_error"]) == (None, "its text is no Unicode")


def test_a_folder_that_is_not_there(weights: Any, tmp_path: Path) -> None:
    found = WeightsFacts.model_validate(weights.read_folder(str(tmp_path / "no")))
    assert not found.exists


def test_links_are_followed_as_hubs_make_them_and_broken_ones_are_empty(weights: Any, tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/1").write_bytes(shard(GOOD, 12))
    (tmp_path / "a.safetensors").symlink_to("blobs/1")
    (tmp_path / "b.safetensors").symlink_to("blobs/2")
    shards = weights.read_folder(str(tmp_path))["shards"]
    assert (shards["a.safetensors"]["error"], shards["a.safetensors"]["tensor_bytes"]) == ("", 12)
    assert shards["b.safetensors"]["error"]


def test_a_name_that_is_no_text_is_left_out(weights: Any, tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    with open(bytes(tmp_path) + b"/\xff.safetensors", "wb"):  # noqa: PTH123  a Path has no such name
        pass
    found = weights.read_folder(str(tmp_path))
    assert (list(found["other_files"]), found["shards"]) == (["good"], {})


def test_seven_hundred_shards_are_read_at_once(weights: Any, tmp_path: Path) -> None:
    for number in range(700):
        (tmp_path / f"model-{number}.safetensors").write_bytes(shard(GOOD, 12))
    found = WeightsFacts.model_validate(weights.read_folder(str(tmp_path)))
    assert len(found.shards) == 700
    assert found.bytes == 700 * 12
