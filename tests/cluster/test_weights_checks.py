"""The models' folders and the fit of a service, on sandbox nodes: each fault is exactly one finding."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster

FAULTS = [
    ("weights-missing-shard", "weights.index", "error"),
    ("weights-truncated", "weights.size", "error"),
    ("weights-zeroed", "weights.header", "error"),
    ("weights-differ", "weights.differ", "error"),
    ("weights-config", "weights.config", "error"),
    ("generation-differs", "weights.generation", "warning"),
    ("weights-partial", "weights.partial", "warning"),
]
MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("fit.length", {"args": {"max-model-len": 5000}}),
    ("fit.heads", {"topology": {"tensor_parallel": 3}}),
    ("fit.experts", {"topology": {"tensor_parallel": 2, "expert_parallel": True}}),
    ("fit.weights", {"args": {"gpu-memory-utilization": 0.000001}}),
    ("fit.cache", {"args": {"gpu-memory-utilization": 0.0001}}),
    ("weights.quantization", {"args": {"quantization": "ascend"}}),
    ("engine.flags", {"env": {"ASCEND_RT_VISIBLE_DEVICES": "0"}}),
]


def _findings(cluster: Cluster, *, expect: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.run("check", "--output", "json", expect=expect).data["findings"]
    return found


@pytest.mark.parametrize(("fault", "identity", "severity"), FAULTS)
def test_a_damaged_model_is_one_finding_and_mended_is_none(
    cluster: Cluster, fault: str, identity: str, severity: str
) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3), npu_network="unused")
    cluster.fault("node-2", fault)
    (finding,) = _findings(cluster, expect=3 if severity == "error" else 0)
    assert (finding["id"], finding["severity"], finding["node"]) == (identity, severity, "node-2")
    cluster.mend("node-2", fault)
    assert _findings(cluster, expect=0) == []


@pytest.mark.parametrize(("identity", "changes"), MISTAKES)
def test_a_service_that_does_not_fit_is_one_finding(
    cluster: Cluster, identity: str, changes: dict[str, Any]
) -> None:
    cluster.write(cluster.service(**changes), npu_network="unused")
    (finding,) = _findings(cluster, expect=0 if identity == "engine.flags" else 3)
    assert (finding["id"], finding["node"], finding["service"]) == (identity, "node-1", "chat")
    assert finding["remedy"]
