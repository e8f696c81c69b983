"""What `npuctl check` says: findings, what fits, which NPU reaches which; as text and as data."""

from __future__ import annotations

from typing import Any

from npuctl.display.reach import reach_result, reach_text
from npuctl.display.text import SIMULATED, hint_lines
from npuctl.facts.model import ClusterFacts
from npuctl.plan.describe import count_findings, describe_findings
from npuctl.plan.fit import fit_line
from npuctl.plan.model import Plan

SCHEMA = 1


def findings_text(plan: Plan, facts: ClusterFacts) -> str:
    """What the checks saw."""
    lines = [SIMULATED] if plan.simulated else []
    lines += describe_findings(plan.findings)
    for node, silent in plan.unreachable.items():
        lines += [f"  unreachable {node}: {silent.reason}", *hint_lines(silent.hint)]
    lines += [f"  {fit_line(fit)}" for fit in plan.fits]
    lines += reach_text(facts.reach).splitlines() if facts.reach else []
    checked = len(facts.nodes)
    lines.append(
        f"nodes checked: {checked} of {checked + len(plan.unreachable)}; {count_findings(plan.findings)}"
    )
    if plan.findings:
        lines.append("npuctl check --explain ID tells more about each")
    return "\n".join(lines)


def check_result(plan: Plan, facts: ClusterFacts) -> dict[str, Any]:
    """The same as data."""
    return {
        "schema": SCHEMA,
        "cluster": plan.cluster,
        "simulated": plan.simulated,
        "checked": len(facts.nodes),
        "findings": [finding.to_json() for finding in plan.findings],
        "fits": [fit.to_json() for fit in plan.fits],
        "reach": reach_result(facts.reach) if facts.reach else None,
        "unreachable": {node: silent.model_dump() for node, silent in plan.unreachable.items()},
    }
