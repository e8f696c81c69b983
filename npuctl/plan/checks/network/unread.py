"""Ports that could not be read, and nodes whose probes gave no figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from npuctl.facts.reach import Reach
from npuctl.plan.checks._contract import CheckedNode
from npuctl.plan.model import Finding

_QUESTIONS = ("hccn_tool", "link", "net_health", "ip", "gateway", "netdetect", "tls", "mtu")


def everything_read(nodes: Iterable[CheckedNode], reach: Reach | None) -> Iterator[Finding]:
    """What could not be proven is no proof: said once a node."""
    for node in nodes:
        why = _why_ports_unread(node) or (_why_probes_unread(node.name, reach) if reach else "")
        if why:
            yield Finding(
                id="network.unread",
                severity="warning",
                node=node.name,
                seen=why,
                expected="answers of hccn_tool about every port",
                remedy=f"on {node.name}: hccn_tool -i 0 -link -g shows what it says; end whoever calls it all"
                " the time, then check again",
            )


def _why_ports_unread(node: CheckedNode) -> str:
    survey = node.survey
    if survey is None or any(port.link or port.address or port.net_health for port in survey.ports):
        return ""
    reasons = Counter(
        why for question, why in survey.unread.items() if question.rpartition(": ")[2] in _QUESTIONS
    )
    return f"no port could be read: {_cause(reasons)}" if reasons else ""


def _why_probes_unread(node: str, reach: Reach) -> str:
    own = [port for port in reach.ports if port.node == node]
    if own and node in reach.skipped:
        return f"no probe was made from here: {reach.skipped[node]}"
    asked = sum(port.from_asked for port in own)
    reasons = Counter(probe.why for probe in reach.probes if probe.node == node and probe.outcome == "unread")
    if not reasons:
        return ""
    return f"{reasons.total()} of {asked} probes gave no figures: {_cause(reasons)}"


def _cause(reasons: Counter[str]) -> str:
    """The commonest reason that does not merely follow from another one ("not asked: …")."""
    own = [why for why, _ in reasons.most_common() if not why.startswith("not ")]
    return (own or list(reasons))[0]
