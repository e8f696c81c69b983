"""Findings about the models' folders."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.survey import Survey, WeightsFacts
from npuctl.hardware.catalog import A2
from npuctl.plan.checks import Checked, CheckedNode
from npuctl.plan.checks.weights import findings
from npuctl.plan.model import Finding
from tests.making import facts_of, node, plan_of, service_data, spec_of

PATH = "/data/models/m"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def shard(**changes: Any) -> dict[str, Any]:
    own = {"size_bytes": 1000, "data_bytes": 1000, "tensor_bytes": 900, "header_sha256": "aa"}
    return own | changes


def folder(**changes: Any) -> dict[str, Any]:
    """A whole model of two shards."""
    return {
        "path": PATH,
        "config": {"num_attention_heads": 8},
        "config_sha256": "c1",
        "generation_config_sha256": "g1",
        "index_shards": [FIRST, SECOND],
        "index_bytes": 1800,
        "shards": {FIRST: shard(), SECOND: shard(header_sha256="bb")},
        "other_files": {"config.json": 10, "tokenizer.json": 500, "README.md": 7},
        **changes,
    }


def found(*folders: dict[str, Any], **service: Any) -> list[Finding]:
    """What is said of these copies, the first on node-1."""
    names = [f"node-{number}" for number in range(1, len(folders) + 1)]
    own: dict[str, Any] = {"model": {"id": "m", "path": PATH}, "hosts": names, "replicas": len(names)}
    spec = spec_of(service_data(**(own | service)))
    facts = {
        name: node(
            paths={PATH: "directory"},
            survey=Survey(weights={PATH: WeightsFacts.model_validate(own)}),
        )
        for name, own in zip(names, folders, strict=True)
    }
    plan = plan_of(spec, facts_of(**{name.replace("-", "_"): own for name, own in facts.items()}))
    return list(
        findings(
            Checked(
                spec,
                tuple(
                    CheckedNode(
                        name, facts[name], A2, replicas=tuple(r for r in plan.replicas if r.node == name)
                    )
                    for name in names
                ),
            )
        )
    )


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in folder()["shards"].items() if key != name}


def with_second(**changes: Any) -> dict[str, Any]:
    return {**folder()["shards"], SECOND: shard(header_sha256="bb", **changes)}


def test_whole_and_equal_copies_have_nothing_to_say() -> None:
    assert found(folder(), folder(), folder()) == []


DAMAGES = [
    ("weights.index", "error", "lacks model-00002", {"shards": without(SECOND)}),
    ("weights.index", "error", "cannot be read", {"index_shards": None, "index_error": "not JSON: line 1"}),
    ("weights.size", "error", "has 400 bytes", {"shards": with_second(size_bytes=400)}),
    ("weights.size", "error", "has 1400 bytes", {"shards": with_second(size_bytes=1400)}),
    (
        "weights.header",
        "error",
        "no readable header (not JSON)",
        {"shards": with_second(error="not JSON", data_bytes=None, tensor_bytes=None, size_bytes=5000)},
    ),
    (
        "weights.header",
        "error",
        "the pointer of git-lfs",
        {"shards": with_second(error="a header of 7 bytes", data_bytes=None, size_bytes=134)},
    ),
    ("weights.config", "error", "not JSON", {"config": None, "config_error": "not JSON: line 1"}),
    ("weights.partial", "warning", ".incomplete", {"other_files": {"x.safetensors.incomplete": 5}}),
    (
        "weights.partial",
        "warning",
        "____temp",
        {"other_files": {"config.json": 10, "m.safetensors.____temp": 5}},
    ),
]


@pytest.mark.parametrize(("identity", "severity", "words", "damage"), DAMAGES)
def test_a_damaged_copy_is_one_finding(
    identity: str, severity: str, words: str, damage: dict[str, Any]
) -> None:
    [finding] = found(folder(**damage))
    assert (finding.id, finding.severity, finding.node, finding.service) == (
        *(identity, severity, "node-1"),
        "chat",
    )
    assert words in finding.seen
    assert finding.expected
    assert finding.remedy


@pytest.mark.parametrize(("identity", "severity", "words", "damage"), DAMAGES)
def test_a_damaged_copy_is_not_called_a_different_one_too(
    identity: str, severity: str, words: str, damage: dict[str, Any]
) -> None:
    damage = {"other_files": folder()["other_files"] | damage.get("other_files", {})} | {
        key: value for key, value in damage.items() if key != "other_files"
    }
    [finding] = found(folder(), folder(**damage), folder())
    assert (finding.id, finding.severity, finding.node) == (identity, severity, "node-2")
    assert words in finding.seen


@pytest.mark.parametrize(
    ("file", "difference"),
    [
        (SECOND, {"shards": with_second() | {SECOND: shard(header_sha256="other")}}),
        (
            FIRST,
            {"shards": {FIRST: shard(size_bytes=1008, data_bytes=1008), SECOND: shard(header_sha256="bb")}},
        ),
        ("config.json", {"config_sha256": "c2"}),
        ("tokenizer.json", {"other_files": {"config.json": 10, "tokenizer.json": 501}}),
        ("tokenizer.json", {"other_files": {"config.json": 10}}),
    ],
)
def test_the_odd_node_and_file_are_named(file: str, difference: dict[str, Any]) -> None:
    [finding] = found(folder(**difference), folder(), folder())
    assert (finding.id, finding.severity, finding.node) == ("weights.differ", "error", "node-1")
    assert file in finding.seen
    assert "not what node-2 has" in finding.seen


def test_of_two_nodes_the_second_is_compared_with_the_first() -> None:
    [finding] = found(folder(), folder(config_sha256="c2"))
    assert (finding.node, finding.id) == ("node-2", "weights.differ")


def test_many_differing_files_are_one_finding() -> None:
    other = {name: shard(header_sha256="z") for name in (FIRST, SECOND)}
    [finding] = found(folder(), folder(), folder(shards=other, config_sha256="c2"))
    assert finding.seen.startswith(f"config.json, {FIRST}, {SECOND} in {PATH}")


def test_what_an_engine_does_not_read_may_differ() -> None:
    assert found(folder(), folder(other_files={"config.json": 10, "tokenizer.json": 500})) == []


def test_a_shard_that_the_index_does_not_name_is_not_judged() -> None:
    stray = folder()["shards"] | {"old.safetensors": shard(error="not JSON")}
    assert found(folder(shards=stray), folder()) == []


def test_other_sampling_defaults_warn() -> None:
    [finding] = found(folder(), folder(), folder(generation_config_sha256="g2"))
    assert (finding.id, finding.severity, finding.node) == ("weights.generation", "warning", "node-3")


def test_a_node_without_sampling_defaults_differs_too() -> None:
    [finding] = found(folder(), folder(), folder(generation_config_sha256=""))
    assert finding.id == "weights.generation"


@pytest.mark.parametrize(
    ("version", "args", "kind", "said"),
    [
        ("v0.18.0", {}, "", ""),
        ("v0.18.0", {"quantization": "ascend"}, "W8A8", ""),
        ("v0.18.0", {"quantization": "ascend"}, "", "holds no quant_model_description.json"),
        ("v0.18.0", {}, "W8A8", ""),
        ("v0.17.0rc1", {}, "W8A8", ""),
        ("v0.16.0rc1", {}, "W8A8", "v0.16.0rc1 must be told so"),
        ("v0.15.0rc1", {}, "W8A8", ""),
        ("v0.11.0", {}, "W8A8", "v0.11.0 must be told so"),
        ("v0.11.0", {"quantization": "compressed-tensors"}, "", ""),
    ],
)
def test_quantised_weights_and_the_flag_must_agree(
    version: str, args: dict[str, Any], kind: str, said: str
) -> None:
    case = found(folder(quantization=kind), version=version, args=args)
    assert [finding.id for finding in case] == (["weights.quantization"] if said else [])
    assert all(said in finding.seen for finding in case)


def test_a_quantisation_in_the_configuration_is_one() -> None:
    config = {"quantization_config": {"quant_method": "ascend"}}
    assert found(folder(config=config), args={"quantization": "ascend"}) == []


def test_an_absent_folder_is_the_matter_of_another_check() -> None:
    assert found({"path": PATH, "exists": False}, folder()) == []


def test_a_node_without_a_replica_is_not_compared() -> None:
    assert found(folder(), folder(config_sha256="c2"), replicas=1) == []
