"""Findings in words: once a thing, with every place; errors first."""

from __future__ import annotations

from typing import Any

from npuctl.plan.describe import count_findings, describe_findings
from npuctl.plan.model import Finding


def finding(**changes: Any) -> Finding:
    own: dict[str, Any] = {
        "id": "network.link",
        "severity": "error",
        "node": "node-1",
        "seen": "link DOWN",
        "expected": "UP",
        "remedy": "look at the cable of node-1",
    }
    return Finding(**(own | changes))


def test_one_finding_says_where_what_and_what_to_do() -> None:
    assert describe_findings([finding(npu=3)]) == [
        "  error network.link · node-1 NPU 3: link DOWN",
        "    expected: UP",
        "    remedy: look at the cable of node-1",
    ]


def test_the_same_on_many_npus_is_said_once() -> None:
    places = [finding(npu=npu) for npu in (0, 1, 2, 5)]
    places += [finding(node="node-2", npu=npu, remedy="look at the cable of node-2") for npu in (0, 1, 2, 5)]
    places.append(finding(node="node-3", npu=7, remedy="look at the cable of node-3"))
    lines = describe_findings(places)
    assert lines[0] == "  error network.link · node-1, node-2 NPU 0-2,5, node-3 NPU 7: link DOWN"
    assert lines[2] == "    remedy: look at the cable of NODE"
    assert len(lines) == 3


def test_what_differs_is_said_apart() -> None:
    assert len(describe_findings([finding(), finding(seen="link UNKNOWN")])) == 6


def test_many_nodes_are_counted() -> None:
    many = [finding(node=f"node-{number}", remedy="mend it") for number in range(1, 21)]
    assert "node-6 and 14 more nodes: link DOWN" in describe_findings(many)[0]


def test_errors_come_first_and_waived_ones_last_with_their_reason() -> None:
    lines = describe_findings(
        [
            finding(id="a.waived", waived="no cables here"),
            finding(id="b.warning", severity="warning"),
            finding(id="c.error", origin="msprechecker 0.4.0"),
        ]
    )
    assert [line.split()[0:2] for line in lines if " · " in line] == [
        ["error", "c.error"],
        ["warning", "b.warning"],
        ["waived", "a.waived"],
    ]
    assert lines[0].endswith("link DOWN (says msprechecker 0.4.0)")
    assert lines[-1] == "    waived: no cables here"


def test_a_finding_about_the_cluster_has_a_place() -> None:
    assert "· the cluster: link DOWN" in describe_findings([finding(node="")])[0]


def test_counting() -> None:
    own = [finding(), finding(severity="warning"), finding(waived="because")]
    assert count_findings(own) == "1 error, 1 warning, 1 waived"
    assert count_findings([]) == "0 errors, 0 warnings"
