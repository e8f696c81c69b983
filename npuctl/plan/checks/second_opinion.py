"""What other checkers on the nodes say, under their own name."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding


def findings(checked: Checked) -> Iterator[Finding]:
    """Every finding of another tool, as a warning: it knows neither the service nor the engine's environment."""
    for node in checked.nodes:
        yield from _of_msprechecker(node)


def _of_msprechecker(node: CheckedNode) -> Iterator[Finding]:
    for opinion in node.survey.second_opinions if node.survey else ():
        if opinion.tool == "msprechecker":
            yield Finding(
                id="second_opinion.msprechecker",
                severity="warning",
                node=node.name,
                seen=f"{opinion.what}: {opinion.seen} [{opinion.severity}]",
                expected=opinion.expected,
                remedy=opinion.advice,
                origin=f"{opinion.tool} {opinion.tool_version}".rstrip(),
            )
