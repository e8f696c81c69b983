"""Deploy and start: make the nodes match the plan, then wait for tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from npuctl.errors import CheckRefusedError, PlayFailedError, UnhealthyError, UnreachableError
from npuctl.health.probe import Target, ask_replicas, wait_until_ready
from npuctl.health.verdict import ReplicaHealth
from npuctl.operate.look import View, look, target_of
from npuctl.operate.progress import Emit, Notice
from npuctl.operate.record import Change, recorded
from npuctl.operate.thorough import look_closer
from npuctl.plan.build import find_service
from npuctl.plan.describe import count_findings, describe_findings
from npuctl.plan.model import Finding, Step
from npuctl.plan.waves import sparing_services, split_waves
from npuctl.remote.inventory import state_folder
from npuctl.runner.run import Outcome
from npuctl.state.lock import hold_lock


class FindingsError(CheckRefusedError):
    """Checks found errors; all of them are listed."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        count = "1 check" if len(findings) == 1 else f"{len(findings)} checks"
        lines = "\n".join(describe_findings(findings))
        super().__init__(f"{count} failed; no node was touched\n{lines}")
        self.findings = findings

    def as_data(self) -> dict[str, object]:
        """The error with its findings one by one."""
        return {**super().as_data(), "findings": [finding.to_json() for finding in self.findings]}


@dataclass(frozen=True, slots=True)
class Applied:
    """What a deploy or a start did.

    Attributes:
        steps: the steps that were to be done; none when nothing had to change.
        health: the replicas that were started or had no token before, at the end.
        left_out: steps that were not done, and why.
    """

    view: View
    steps: tuple[Step, ...]
    outcome: Outcome = field(default_factory=Outcome)
    health: tuple[ReplicaHealth, ...] = ()
    left_out: tuple[str, ...] = ()
    dry_run: bool = False

    @property
    def exit_code(self) -> int:
        """By the worst thing that happened: a failed change, a silent engine, a silent node."""
        if self.outcome.failed:
            return PlayFailedError.exit_code
        if self.left_out or any(entry.state not in {"ready", "unreachable"} for entry in self.health):
            return UnhealthyError.exit_code
        lost = self.view.plan.unreachable or self.outcome.unreachable
        if lost or any(health.state == "unreachable" for health in self.health):
            return UnreachableError.exit_code
        return 0


def deploy(
    folder: Path,
    emit: Emit,
    *,
    limit: Sequence[str] = (),
    service: str | None = None,
    dry_run: bool = False,
) -> Applied:
    """Make what the spec says true on every node that can be reached.

    Raises:
        CheckRefusedError: a check found an error; nothing was touched.
        LockedError: another npuctl is changing this cluster.
    """
    return _apply("deploy", folder, emit, limit=limit, service=service, dry_run=dry_run)


def start(folder: Path, emit: Emit, *, limit: Sequence[str] = (), service: str | None = None) -> Applied:
    """Start what is deployed and stopped; nothing is made anew or reconfigured."""
    return _apply("start", folder, emit, limit=limit, service=service, dry_run=False)


def _apply(
    verb: str, folder: Path, emit: Emit, *, limit: Sequence[str], service: str | None, dry_run: bool
) -> Applied:
    with hold_lock(state_folder(folder), verb):
        view = look(folder, emit, limit=limit, tokens=not dry_run)
        if verb == "deploy" and view.plan.changes:
            view = look_closer(view, emit)
        chosen, left_out = _choose(verb, view, service)
        _refuse(view, service, emit)
        settled = () if dry_run else _settle(view, service, emit)
        if not chosen:
            return Applied(view, (), health=settled, left_out=left_out, dry_run=dry_run)
        with recorded(view.inventory, verb, chosen, dry_run=dry_run) as change:
            emit(Notice("apply", f"{len(chosen)} of {len(view.plan.steps)} replicas have something to do"))
            health, kept = _roll(view, chosen, settled, change, emit, dry_run=dry_run)
            applied = Applied(view, chosen, change.outcome, (*settled, *health), (*left_out, *kept), dry_run)
            change.run.write(
                "result",
                exit_code=applied.exit_code,
                failed=change.outcome.failed,
                unreachable=sorted({*view.plan.unreachable, *change.outcome.unreachable}),
                replicas={entry.replica: entry.state for entry in applied.health},
            )
            return applied


def _settle(view: View, service: str | None, emit: Emit) -> tuple[ReplicaHealth, ...]:
    """Replicas that are configured as they should be and did not give a token: wait for those that may yet.

    Without this, a deploy after one that failed would find nothing to do and say that all is well.
    """
    waiting = {
        step.name: target_of(view.inventory.spec, step.replica)
        for step in view.plan.steps
        if step.action == "none" and step.replica and service in {None, step.service}
        if view.health[step.name].state != "ready"
    }
    if waiting:
        emit(Notice("ready", f"{', '.join(waiting)}: configured as planned, but no token yet"))
    before = {name: view.health[name].restarts for name in waiting}
    return tuple(wait_until_ready(view.inventory, list(waiting.values()), emit, restarts_before=before))


def _roll(
    view: View,
    chosen: Sequence[Step],
    settled: Sequence[ReplicaHealth],
    change: Change,
    emit: Emit,
    *,
    dry_run: bool,
) -> tuple[tuple[ReplicaHealth, ...], tuple[str, ...]]:
    """Wave after wave; a service of which a replica does not come up keeps the others as they are.

    Returns:
        The health of what was started, and a line for each replica that was left as it was.
    """
    health: tuple[ReplicaHealth, ...] = ()
    kept: list[str] = []
    failed = {entry.service for entry in settled if entry.state != "ready"}
    ready = {name for name, entry in view.health.items() if entry.state == "ready"}
    for wave in [tuple(chosen)] if dry_run else split_waves(chosen, ready):
        steps = sparing_services(wave, failed)
        kept += [
            f"{step.name} on {step.node}: a replica of {step.service} that is already changed did not come up"
            for step in wave
            if step not in steps
        ]
        if not steps:
            continue
        change.apply(steps, emit, check=dry_run)
        if not dry_run:
            seen = _verify(view, steps, change.outcome, emit)
            health += seen
            lost = {*change.outcome.failed, *change.outcome.unreachable}
            failed |= {entry.service for entry in seen if entry.state != "ready" or entry.node in lost}
    return health, tuple(kept)


def _choose(verb: str, view: View, service: str | None) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    steps = view.plan.changes
    if service is not None:
        find_service(view.inventory.spec, service)
        steps = tuple(step for step in steps if step.service == service)
    if verb == "deploy":
        return steps, ()
    chosen = tuple(step for step in steps if step.action == "start")
    rest = [
        f"{step.name} on {step.node} needs {step.action}: npuctl deploy"
        for step in steps
        if step not in chosen
    ]
    return chosen, tuple(rest)


def _refuse(view: View, service: str | None, emit: Emit) -> None:
    """Refuse on every error of the nodes, and of the service that is meant (all of them without one).

    What does not refuse is told: waived errors with their reasons, warnings as a number.
    """
    errors = [finding for finding in view.plan.errors if service is None or finding.service in {"", service}]
    if errors:
        raise FindingsError(errors)
    for line in describe_findings(finding for finding in view.plan.findings if finding.waived):
        emit(Notice("check", line.strip()))
    if view.plan.findings:
        emit(Notice("check", f"{count_findings(view.plan.findings)}; npuctl check shows them"))


def _verify(view: View, chosen: Sequence[Step], outcome: Outcome, emit: Emit) -> tuple[ReplicaHealth, ...]:
    """Wait for the replicas of the nodes that went well; look once at those of the nodes that did not."""
    spec = view.inventory.spec
    lost = {*outcome.failed, *outcome.unreachable}
    started = [step for step in chosen if step.replica is not None]
    good = [target_of(spec, step.replica) for step in started if step.replica and step.node not in lost]
    bad: list[Target] = [
        target_of(spec, step.replica) for step in started if step.replica and step.node in lost
    ]
    if good:
        emit(Notice("ready", f"waiting for a token of {len(good)} replicas"))
    health = wait_until_ready(view.inventory, good, emit)
    return (*health, *ask_replicas(view.inventory, bad))
