"""Findings in words: the same thing at many places is said once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from npuctl.plan.model import Finding
from npuctl.plan.wording import ranges, several

_MOST_PLACES = 6
_RANK = {"error": 0, "warning": 1}


def describe_findings(findings: Iterable[Finding]) -> list[str]:
    """Lines for all findings: errors first, waived ones last, each thing with every place it was seen at."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault(_saying(finding), []).append(finding)
    ordered = sorted(groups.values(), key=lambda group: (bool(group[0].waived), _RANK[group[0].severity]))
    return [line for group in ordered for line in _lines(group)]


def count_findings(findings: Sequence[Finding]) -> str:
    """How many there are of each, as "2 errors, 1 warning, 1 waived"."""
    errors = sum(finding.refuses for finding in findings)
    waived = sum(bool(finding.waived) for finding in findings)
    warnings = len(findings) - errors - waived
    words = [_counted(errors, "error"), _counted(warnings, "warning")]
    return ", ".join([*words, f"{waived} waived"] if waived else words)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _saying(finding: Finding) -> tuple[str, ...]:
    """What two findings must share to be said at once; a remedy may name its node."""
    remedy = finding.remedy.replace(finding.node, "NODE") if finding.node else finding.remedy
    return (
        *(finding.id, finding.severity, finding.seen, finding.expected, remedy),
        *(finding.service, finding.origin, finding.waived),
    )


def _lines(group: Sequence[Finding]) -> Iterator[str]:
    first = group[0]
    word = "waived" if first.waived else first.severity
    origin = "" if first.origin == "npuctl" else f" (says {first.origin})"
    yield f"  {word} {first.id} · {_places(group)}: {first.seen}{origin}"
    if first.waived:
        yield f"    waived: {first.waived}"
        return
    yield f"    expected: {first.expected}"
    one_node = all(finding.node == first.node for finding in group)
    yield f"    remedy: {first.remedy if one_node else _saying(first)[4]}"


def _places(group: Sequence[Finding]) -> str:
    npus: dict[str, list[int]] = {}
    for finding in group:
        npus.setdefault(finding.node, [])
        if finding.npu is not None:
            npus[finding.node].append(finding.npu)
    alike: dict[str, list[str]] = {}
    for node, numbers in npus.items():
        alike.setdefault(ranges(numbers), []).append(node or "the cluster")
    return ", ".join(
        _nodes(nodes) + (f" NPU {numbers}" if numbers else "") for numbers, nodes in alike.items()
    )


def _nodes(nodes: Sequence[str]) -> str:
    return several(nodes, _MOST_PLACES) + (" nodes" if len(nodes) > _MOST_PLACES else "")
