"""Findings about memory, heads, length and flags."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.survey import ShardFacts, Survey, WeightsFacts
from npuctl.hardware.catalog import identify
from npuctl.plan.checks import Checked, CheckedNode
from npuctl.plan.checks.fit import findings, fits
from npuctl.plan.model import Finding
from tests.making import chips, facts_of, node, plan_of, service_data, spec_of
from tests.unit.plan.model_configs import CONFIGS

PATH = "/data/models/m"
GB = 10**9


def checked(
    model: str = "Qwen3-8B",
    *,
    size: float = 16.4,
    product: str = "a2",
    memory_mb: int | None = None,
    weights: dict[str, Any] | None = None,
    nodes: int = 1,
    **service: Any,
) -> Checked:
    """A cluster with one service of that model, all of its weights in one shard."""
    names = [f"node-{number}" for number in range(1, nodes + 1)]
    own: dict[str, Any] = {"model": {"id": "m", "path": PATH}, "hosts": names, "replicas": nodes}
    spec = spec_of(service_data(**(own | service)))
    shard = ShardFacts(size_bytes=int(size * GB), tensor_bytes=int(size * GB))
    folder = {"path": PATH, "config": CONFIGS[model], "shards": {"m.safetensors": shard}} | (weights or {})
    survey = Survey(weights={PATH: WeightsFacts.model_validate(folder)})
    cards = chips(product) if memory_mb is None else chips(product, memory_total_mb=memory_mb)
    facts = node(product, chips=cards, paths={PATH: "directory"}, survey=survey)
    plan = plan_of(spec, facts_of(**{name.replace("-", "_"): facts for name in names}))
    kind = identify([chip.name for chip in cards], len(cards))
    return Checked(
        spec,
        tuple(
            CheckedNode(name, facts, kind, replicas=tuple(r for r in plan.replicas if r.node == name))
            for name in names
        ),
    )


def found(model: str = "Qwen3-8B", **changes: Any) -> list[Finding]:
    return list(findings(checked(model, **changes)))


def test_a_service_that_fits_has_nothing_to_say() -> None:
    assert found(args={"max-model-len": 32768, "max-num-seqs": 256}) == []


@pytest.mark.parametrize(
    ("identity", "words", "changes"),
    [
        ("fit.weights", "weights: 61.0 GiB a chip", {"model": "Qwen3-32B", "size": 65.5}),
        (
            "fit.cache",
            "one sequence of 40960 tokens needs 10.0 GiB",
            {"model": "Qwen3-32B", "size": 65.5, "topology": {"tensor_parallel": 1}, "memory_mb": 76000},
        ),
        ("fit.heads", "does not divide the model's 32", {"topology": {"tensor_parallel": 3}}),
        ("fit.experts", "names no experts", {"topology": {"expert_parallel": True}}),
        ("fit.length", "allows 40960", {"args": {"max-model-len": 40961}}),
        ("fit.length", "allows 40960", {"args": {"max_model_len": "64k"}}),
    ],
)
def test_what_refuses_a_deploy(identity: str, words: str, changes: dict[str, Any]) -> None:
    [finding] = found(**changes)
    assert (finding.id, finding.severity, finding.node, finding.service) == (
        *(identity, "error", "node-1"),
        "chat",
    )
    assert words in finding.seen
    assert finding.expected
    assert finding.remedy


def test_a_length_that_would_fit_is_named() -> None:
    [finding] = found("Qwen3-32B", size=65.5, memory_mb=76000)
    assert "lower max-model-len to 9216" in finding.remedy


def test_an_estimate_warns_and_does_not_refuse() -> None:
    quantised = {"quantization": "W8A8"}
    [finding] = found("Qwen3-32B", size=60, weights=quantised, args={"max-model-len": 4096})
    assert (finding.id, finding.severity) == ("fit.weights", "warning")
    assert "quantised weights are spread evenly" in finding.seen


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": 1}},
        {"args": {"max-model-len": 50000, "hf-overrides": {"rope_scaling": {"factor": 4}}}},
        {"args": {"max-model-len": 50000, "hf-overrides": '{"rope_scaling": {"factor": 4}}'}},
    ],
)
def test_a_longer_sequence_may_be_allowed(changes: dict[str, Any]) -> None:
    assert found(**({"args": {"max-model-len": 50000}} | changes)) == []


@pytest.mark.parametrize(
    "weights",
    [{"exists": False}, {"config": None, "config_error": "not JSON"}, {"config": {}, "shards": {}}],
)
def test_what_was_not_read_is_not_judged(weights: dict[str, Any]) -> None:
    case = checked("Qwen3-32B", size=65.5, weights=weights)
    assert list(findings(case)) == []
    assert fits(case) == ()


def test_weights_that_the_engine_downloads_itself_are_not_judged() -> None:
    case = checked(model="Qwen3-32B")
    hub = spec_of(service_data(model={"id": "Qwen/Qwen3-32B", "source": "modelscope"}))
    assert fits(Checked(hub, case.nodes)) == ()


def test_two_replicas_of_a_service_on_a_node_share_a_finding() -> None:
    assert len(found("Qwen3-32B", size=65.5, replicas=2)) == 1


def test_every_node_has_its_own_finding() -> None:
    assert [finding.node for finding in found("Qwen3-32B", size=65.5, nodes=2)] == ["node-1", "node-2"]


def test_the_tightest_node_is_shown() -> None:
    roomy, tight = checked(nodes=1), checked(nodes=1, memory_mb=32768)
    renamed = CheckedNode(
        "node-2", tight.nodes[0].facts, tight.nodes[0].product, replicas=tight.nodes[0].replicas
    )
    [fit] = fits(Checked(roomy.spec, (roomy.nodes[0], renamed)))
    assert (fit.node, fit.service) == ("node-2", "chat")


def test_flags_that_start_and_do_nothing_are_a_warning() -> None:
    args = {"additional-config": {"torchair_graph_config": {"enabled": True}}}
    [finding] = found(args=args)
    assert (finding.id, finding.severity) == ("engine.flags", "warning")
    assert "removed in v0.12.0" in finding.seen
