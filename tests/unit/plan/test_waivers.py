"""A waiver takes a finding's teeth, shows its reason, and covers no more than it says."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.plan.waivers import refuse_bad_waivers
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import SpecError, parse_cluster
from tests.making import FILE, chips, cluster_text, facts_of, node, plan_of, service_data


def spec(*waivers: dict[str, Any], **service: Any) -> ClusterSpec:
    return parse_cluster(cluster_text(service_data(**service), waivers=list(waivers)), file=FILE)


def sick() -> list[Any]:
    found = chips()
    return [chip.model_copy(update={"health": "Alarm"}) if chip.id in {0, 1} else chip for chip in found]


def test_a_waived_error_refuses_nothing_and_keeps_its_reason() -> None:
    facts = facts_of(node_1=node(chips=sick()))
    own = spec({"check": "npu.health", "reason": "known, spare comes on Monday"}, chips=[0])
    plan = plan_of(own, facts)
    assert plan.errors == ()
    (finding,) = [entry for entry in plan.findings if entry.id == "npu.health"]
    assert (finding.severity, finding.waived) == ("error", "known, spare comes on Monday")
    assert finding.to_json()["waived"] == "known, spare comes on Monday"


@pytest.mark.parametrize(
    "limits", [{"nodes": ["node-2"]}, {"npus": [1]}, {"check": "npu.memory"}], ids=["node", "npu", "check"]
)
def test_a_waiver_covers_no_more_than_it_says(limits: dict[str, Any]) -> None:
    own = spec({"check": "npu.health", "reason": "known", **limits}, chips=[0])
    plan = plan_of(own, facts_of(node_1=node(chips=sick())))
    assert [finding.id for finding in plan.errors] == ["npu.health"]


def test_wrong_waivers_are_refused_all_at_once() -> None:
    own = spec(
        {"check": "npu.heath", "reason": "typo"},
        {"check": "docker.engine", "reason": "no"},
        {"check": "npu.health", "reason": "x", "nodes": ["node-7"]},
    )
    with pytest.raises(SpecError) as refused:
        refuse_bad_waivers(own, ["node-1"], file=FILE)
    text = str(refused.value)
    assert "waivers[0].check" in text
    assert "did you mean npu.health?" in text
    assert "docker.engine cannot be waived" in text
    assert "waivers[2].nodes" in text


def test_a_waiver_needs_a_reason() -> None:
    with pytest.raises(SpecError, match="reason"):
        spec({"check": "npu.health"})
