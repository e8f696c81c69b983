"""Versions that do not fit: each fault gives its own finding on its own node, and its end takes it away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def _version_findings(cluster: Cluster) -> list[dict[str, Any]]:
    findings = cluster.run("check", "--output", "json", expect=None).data["findings"]
    return [finding for finding in findings if finding["id"].startswith("version.")]


def _ids(findings: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(finding["id"], finding["severity"], finding["node"]) for finding in findings]


@pytest.mark.parametrize(
    ("fault", "identity", "severity"),
    [
        ("driver-old", "version.driver_cann", "error"),
        ("driver-unlisted", "version.unlisted", "warning"),
        ("driver-differs", "version.nodes_differ", "warning"),
        ("firmware-unfit", "version.firmware", "error"),
        ("image-cann", "version.image_cann", "warning"),
        ("image-torch-npu", "version.torch_npu", "warning"),
        ("image-product", "version.product", "error"),
    ],
)
def test_a_version_that_does_not_fit_is_found_on_its_node_and_nowhere_else(
    cluster: Cluster, fault: str, identity: str, severity: str
) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3), npu_network="unused")
    before = cluster.node("node-2").sh("docker images --quiet --no-trunc")
    cluster.fault("node-2", fault)
    assert _ids(_version_findings(cluster)) == [(identity, severity, "node-2")]
    cluster.mend("node-2", fault)
    assert _version_findings(cluster) == []
    assert cluster.node("node-2").sh("docker images --all --quiet --no-trunc") == before


def test_a_deploy_on_a_driver_that_is_known_not_to_work_is_refused_with_the_rule(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.fault("node-1", "driver-old")
    refused = cluster.run("deploy", expect=3)
    assert "version.driver_cann" in refused.text
    assert "cann-8.5-needs-hdk-25.0" in refused.text
    assert cluster.node("node-1").containers() == {}


def test_a_feature_that_needs_a_newer_driver_is_named_with_its_source(cluster: Cluster) -> None:
    cluster.write(cluster.service(args={"compilation-config": {"cudagraph_mode": "FULL_AND_PIECEWISE"}}))
    assert _version_findings(cluster) == []
    cluster.fault("node-1", "driver-differs")
    (finding,) = _version_findings(cluster)
    assert (finding["id"], finding["severity"]) == ("version.floor", "warning")
    assert "FULL_AND_PIECEWISE on driver 25.2.0" in finding["seen"]
    assert "25.5.1" in finding["expected"]
