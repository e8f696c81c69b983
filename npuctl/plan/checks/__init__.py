"""Facts and plan → findings. Pure; every check a function, every finding with a remedy.

One module a family; each has `findings(checked)`. What a check is about, why, and where that is known from
stands in npuctl/data/checks/, one entry an id, from which its page in docs/reference/checks is made.
"""

from __future__ import annotations

from npuctl.plan.checks import (
    chip_health,
    chips,
    driver,
    fit,
    host,
    network,
    nics,
    ports,
    runtime,
    second_opinion,
    versions,
    weights,
)
from npuctl.plan.checks._contract import Checked, CheckedNode, Family
from npuctl.plan.checks.fit import fits
from npuctl.plan.checks.placement import of_conflict, of_seat
from npuctl.plan.checks.runtime import paths_to_look_at
from npuctl.plan.model import Finding

__all__ = ["Checked", "CheckedNode", "all_findings", "fits", "of_conflict", "of_seat", "paths_to_look_at"]

FAMILIES: tuple[Family, ...] = (
    runtime.findings,
    chips.findings,
    chip_health.findings,
    driver.findings,
    host.findings,
    nics.findings,
    network.findings,
    ports.findings,
    versions.findings,
    second_opinion.findings,
    fit.findings,
    weights.findings,
)


def all_findings(checked: Checked) -> list[Finding]:
    """Everything that any family has to say, in the order of the nodes."""
    found = [finding for family in FAMILIES for finding in family(checked)]
    order = {node.name: position for position, node in enumerate(checked.nodes)}
    return sorted(found, key=lambda finding: order.get(finding.node, -1))
