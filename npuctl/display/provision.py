"""What a provisioning would do or did, as text and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from npuctl.operate.provision import Provisioned
from npuctl.plan.describe import describe_findings
from npuctl.plan.provision._contract import STAGES, Change, Work
from npuctl.plan.provision.build import ProvisionPlan
from npuctl.plan.wording import several

_MOST_NODES = 8


def provisioned_text(done: Provisioned) -> str:
    """The changes stage by stage, nodes with the same change together; then what is left or failed."""
    plan = done.plan
    lines = [f"cluster {plan.cluster}" + (" (simulated NPUs)" if plan.simulated else "")]
    lines += _stage_lines(plan)
    lines += describe_findings(plan.findings)
    for name, why in done.silent.items():
        lines.append(f"unreachable: {name}: {why}")
        hint = done.hints.get(name, "")
        lines += [f"    hint: {hint}"] if hint else []
    lines += [f"FAILED {node}: {why}" for node, why in done.failed.items()]
    lines += [f"reboot owed {node}: {why}" for node, why in _owed(done).items()]
    if done.untouched:
        lines.append(f"not touched, for the roll-out stopped before: {', '.join(done.untouched)}")
    lines += describe_findings(finding for finding in done.refused if finding not in plan.findings)
    lines += _left_lines(done.left) if done.left else []
    lines.append(_summary(done))
    return "\n".join(lines)


def provisioned_result(done: Provisioned) -> dict[str, Any]:
    """The same as data. Keys are a contract; they are added to, not changed."""
    return {
        **done.plan.to_json(),
        "check_mode": done.dry_run,
        "stages": list(done.stages),
        "changed": done.outcome.changed,
        "failed": done.failed,
        "silent": done.silent,
        "untouched": list(done.untouched),
        "reboot_owed": _owed(done),
        "refused": [finding.to_json() for finding in done.refused],
        "left": done.left.to_json()["changes"] if done.left else [],
    }


def _left_lines(left: ProvisionPlan) -> list[str]:
    """What is still to be done, a line a stage; `npuctl provision --dry-run` says it change by change."""
    lines = []
    for stage in STAGES:
        works = left.of(stage)
        if works:
            count = _counted(sum(len(work.changes) for work in works), "change")
            nodes = several([work.node for work in works], _MOST_NODES)
            first = _change_text(works[0].changes[0])
            lines.append(f"not as it should be: {stage} on {nodes}: {count}, the first: {first}")
    return lines


def _owed(done: Provisioned) -> dict[str, str]:
    return dict(done.rollout.owed) if done.rollout else {}


def _stage_lines(plan: ProvisionPlan) -> list[str]:
    lines: list[str] = []
    for stage in STAGES:
        works = [work for work in plan.works if work.stage == stage and (work.changes or work.notes)]
        if not works:
            continue
        lines.append(f"{stage}:")
        for change, nodes in _grouped(works):
            lines.append(f"  {_change_text(change)}  [{several(nodes, _MOST_NODES)}]")
        notes = dict.fromkeys(note for work in works for note in work.notes)
        for note in notes:
            nodes = [work.node for work in works if note in work.notes]
            lines.append(f"  note: {note}  [{several(nodes, _MOST_NODES)}]")
    return lines


def _grouped(works: Sequence[Work]) -> list[tuple[Change, list[str]]]:
    every = dict.fromkeys(change for work in works for change in work.changes)
    return [(change, [work.node for work in works if change in work.changes]) for change in every]


def _change_text(change: Change) -> str:
    if not change.was and not change.wanted:
        return change.what
    return f"{change.what}: {change.was or 'absent'} → {change.wanted or 'absent'}"


def _summary(done: Provisioned) -> str:
    count = sum(len(work.changes) for work in done.plan.changes)
    nodes = len({work.node for work in done.plan.changes})
    if done.refused and done.left is None:
        return "the machines were not changed: something stands against it (see above)"
    if not count:
        return f"nothing to do: every node that answered is as the spec says{_as_far_as(done)}"
    what = f"{_counted(count, 'change')} on {_counted(nodes, 'node')}"
    if done.dry_run:
        return f"{what} would be made; nothing was changed"
    if done.exit_code == 0:
        return f"{what} made; the last look found nothing left to do{_as_far_as(done)}"
    return f"{what} to be made; not all of them were (see above)"


def _as_far_as(done: Provisioned) -> str:
    """Which stages were looked at, where those were not all."""
    looked = [stage for stage in STAGES if stage in done.stages]
    return "" if len(looked) == len(STAGES) else f"; looked at {', '.join(looked)} only"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
