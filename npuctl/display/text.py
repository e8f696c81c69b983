"""Results as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from npuctl.health.verdict import ReplicaHealth, service_state
from npuctl.operate.deploy import Applied
from npuctl.operate.stop import Stopped
from npuctl.plan.describe import describe_findings
from npuctl.plan.fit import fit_line
from npuctl.plan.model import Plan, Step

SIMULATED = "simulated NPUs: this cluster is a sandbox"
_MARK = {"create": "+", "recreate": "~", "start": ">", "stop": "x", "remove": "-"}
_DIFF_LINES = 60


def plan_text(plan: Plan) -> str:
    """A plan: findings, then what would be done on each node, with the differences."""
    return "\n".join(_plan_lines(plan))


def _plan_lines(plan: Plan) -> Iterator[str]:
    yield f"plan of cluster {plan.cluster}" + (f"  ({SIMULATED})" if plan.simulated else "")
    for node, silent in plan.unreachable.items():
        yield f"  {node} is unreachable: {silent.reason}; nothing is planned for it"
        yield from hint_lines(silent.hint)
    if plan.findings:
        yield from describe_findings(plan.findings)
    yield from (f"  {fit_line(fit)}" for fit in plan.fits)
    shown: dict[tuple[str, ...], Step] = {}
    for node in dict.fromkeys(step.node for step in plan.steps):
        yield f"{node}:"
        for step in plan.steps:
            if step.node == node:
                yield from _step_lines(step, shown)
    yield _summary(plan)


def hint_lines(text: str) -> list[str]:
    """A hint as a line, where there is one."""
    return [f"    hint: {text}"] if text else []


def _step_lines(step: Step, shown: dict[tuple[str, ...], Step]) -> Iterator[str]:
    if step.action == "none":
        yield f"    {step.name}  as it should be{_seat(step)}"
        return
    yield f"  {_MARK[step.action]} {step.name}  {step.action}{_seat(step)}: {'; '.join(step.reasons)}"
    if step.diff in shown:
        same = shown[step.diff]
        yield f"        the same {len(step.diff)} lines as {same.name} on {same.node}"
        return
    if step.diff:
        shown[step.diff] = step
    yield from (f"        {line}" for line in step.diff[:_DIFF_LINES])
    if len(step.diff) > _DIFF_LINES:
        yield f"        … {len(step.diff) - _DIFF_LINES} more lines (--output json has all)"


def _seat(step: Step) -> str:
    if step.replica is None:
        return ""
    chips = ",".join(str(chip) for chip in step.replica.chips)
    return f" (chips {chips}, port {step.replica.port})"


def _summary(plan: Plan) -> str:
    counts: dict[str, int] = {}
    for step in plan.changes:
        counts[step.action] = counts.get(step.action, 0) + 1
    what = ", ".join(f"{count} to {action}" for action, count in counts.items()) or "nothing to do"
    errors = len(plan.errors)
    return f"{what}" + (f"; {errors} checks refuse a deploy" if errors else "")


def health_text(replicas: Sequence[ReplicaHealth]) -> str:
    """Each service in a word, each replica in a line, the log of those that are not ready."""
    simulated = [SIMULATED] if any(entry.simulated for entry in replicas) else []
    return "\n".join([*simulated, *_health_lines(replicas)])


def _health_lines(replicas: Sequence[ReplicaHealth]) -> list[str]:
    lines: list[str] = []
    for service in dict.fromkeys(entry.service for entry in replicas):
        own = [entry for entry in replicas if entry.service == service]
        ready = sum(entry.state == "ready" for entry in own)
        lines.append(f"{service}: {service_state(own)} ({ready} of {len(own)} replicas ready)")
        for entry in own:
            lines.append(f"  {entry.node:<16} {entry.replica:<16} {entry.state:<12} {entry.detail}")
            if entry.state not in {"ready", "stopped"}:
                lines += [f"      | {text}" for text in entry.log]
    return lines


def applied_text(applied: Applied) -> str:
    """What a deploy or a start did."""
    plan = applied.view.plan
    lines = [SIMULATED] if plan.simulated else []
    if not applied.steps:
        right = sum(step.action == "none" for step in plan.steps)
        if any(entry.state != "ready" for entry in applied.health):
            lines.append(f"cluster {plan.cluster}: nothing to change, but not every replica gives a token")
        else:
            lines.append(f"cluster {plan.cluster}: nothing to do; {right} replicas are as they should be")
    lines += [f"left as it was: {text}" for text in applied.left_out]
    lines += [f"FAILED {node}: {reason}" for node, reason in applied.outcome.failed.items()]
    for node, silent in plan.unreachable.items():
        lines += [
            f"UNREACHABLE {node}: {silent.reason}; what runs there is as it was",
            *hint_lines(silent.hint),
        ]
    for node, reason in applied.outcome.unreachable.items():
        lines.append(f"UNREACHABLE {node}: {reason}; it was lost on the way, npuctl plan says what is left")
    if applied.dry_run:
        lines.append(f"check mode: nothing was changed; {len(applied.steps)} replicas would be")
    elif applied.health:
        lines.append("\n".join(_health_lines(applied.health)))
    return "\n".join(lines)


def stopped_text(stopped: Stopped, verb: str) -> str:
    """What was stopped or removed, with the proof."""
    lines = [SIMULATED] if stopped.simulated else []
    if not stopped.steps:
        lines.append(f"cluster {stopped.cluster}: nothing of it runs on the nodes that answered")
    lines += [f"FAILED {node}: {reason}" for node, reason in stopped.outcome.failed.items()]
    for entry in stopped.evidence:
        lines.append(f"  {entry.node:<16} {'ok ' if entry.holds else 'NOT'} {entry.what}: {entry.seen}")
    for node, found in stopped.foreign.items():
        lines += [f"  {node:<16} left alone, not ours: {text}" for text in found]
    for node, reason in {**stopped.unreachable, **stopped.outcome.unreachable}.items():
        lines.append(f"  {node:<16} UNREACHABLE: {reason}; not {verb}, run this again when it is back")
    if stopped.evidence:
        proven = all(entry.holds for entry in stopped.evidence)
        lost = {**stopped.unreachable, **stopped.outcome.unreachable}
        where = " on the nodes that answered" if lost else ""
        lines.append(f"{verb}, proven{where}" if proven else f"NOT proven {verb}: see the lines marked NOT")
    return "\n".join(lines)
