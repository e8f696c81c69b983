"""Findings that a person has decided to live with, each with the reason that was written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from npuctl.plan.checks.catalogue import catalogue
from npuctl.plan.model import Finding
from npuctl.spec.models import ClusterSpec, Waiver
from npuctl.spec.parse import KEY, Problem, SpecError


def waive(findings: Iterable[Finding], waivers: Sequence[Waiver]) -> list[Finding]:
    """The findings, those that a waiver covers marked with its reason."""
    return [
        replace(finding, waived=next((waiver.reason for waiver in waivers if _covers(waiver, finding)), ""))
        for finding in findings
    ]


def refuse_bad_waivers(spec: ClusterSpec, hosts: Sequence[str], *, file: str) -> None:
    """Raise SpecError for waivers of checks that do not exist or cannot be waived, or on unknown hosts."""
    known = catalogue() if spec.waivers else {}
    problems: list[Problem] = []
    for index, waiver in enumerate(spec.waivers):
        at = f"{file}: {KEY}.waivers[{index}]"
        entry = known.get(waiver.check)
        if entry is None:
            near = difflib.get_close_matches(waiver.check, list(known), n=1)
            hint = f"did you mean {near[0]}?" if near else "npuctl check --explain lists the checks"
            problems.append(Problem(f"{at}.check", f"there is no check {waiver.check!r}", hint))
        elif not entry.waivable:
            message = f"{waiver.check} cannot be waived: without it a deploy cannot be meant"
            problems.append(Problem(f"{at}.check", message, "take the waiver out and mend the cause"))
        problems += [
            Problem(f"{at}.nodes", f"the inventory has no host {node!r}", f"its hosts: {', '.join(hosts)}")
            for node in waiver.nodes or []
            if node not in hosts
        ]
    if problems:
        raise SpecError(problems)


def _covers(waiver: Waiver, finding: Finding) -> bool:
    return (
        waiver.check == finding.id
        and (waiver.nodes is None or finding.node in waiver.nodes)
        and (waiver.npus is None or finding.npu in waiver.npus)
    )
