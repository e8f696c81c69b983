"""Driver and firmware of one node as a transaction: what is the next step, from what is there. Pure.

Nothing is remembered here. What a node shows (files, versions that run, boot) and what it has noted of the
change (driver_record.py) are its state (driver_state.py), and that decides the next step, so that a run goes on
where another one ended, whatever ended it:

    wait for an installation that goes on
    halt where something speaks against it (driver_refusals.py), or everything is as wanted
    as long as a kind is pending     prepare; measure, stop, back up; install
    where a reboot is owed           measure, stop, back up; reboot
    until the node serves as before  wait for the chips; restore, probe, start; finish

The kinds come in the order of the vendor's manuals: where no driver is installed the driver and then the
firmware, which is written through it; else the firmware and then the driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from npuctl.hardware.boot_status import UP
from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Change, LocalFile, Node, Questions, Wish, Work
from npuctl.plan.provision.driver_packages import Chosen
from npuctl.plan.provision.driver_record import (
    BACKUP,
    KINDS,
    RECORD,
    Kind,
    job_name,
    read_job,
    read_transaction,
    unreadable,
)
from npuctl.plan.provision.driver_refusals import held, refusals, unfit_packages
from npuctl.plan.provision.driver_removal import removal
from npuctl.plan.provision.driver_state import DriverState
from npuctl.plan.provision.driver_steps import DEFAULT_USER, ROLE, Decision, Halt, Step
from npuctl.plan.wording import several
from npuctl.spec.machines import Driver

_MOST_CHIPS = 6


def questions(wish: Wish) -> Questions:
    """What has to be known of a node beside its survey."""
    removing = wish.removing and "driver" in wish.remove
    if wish.spec.driver is None and not removing:
        return Questions()
    return Questions(
        files=frozenset({HCCN_CONF, BACKUP}),
        records=frozenset({RECORD, *(job_name(kind) for kind in KINDS)}),
        boot_status=True,
    )


def work(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """What the plan says of driver and firmware; npuctl/operate/driver_rollout.py carries it out."""
    if wish.removing:
        return [removal(node) for node in nodes] if "driver" in wish.remove else []
    if wish.spec.driver is None:
        return []
    return [_planned(wish, wish.spec.driver, node) for node in nodes]


def _planned(wish: Wish, driver: Driver, node: Node) -> Work:
    """What would be done on a node, as far as it can be said before it is done."""
    decision = decide(wish, node, "planned")
    if isinstance(decision, Halt) and decision.reason in {"done", "refused", "held"}:
        return Work(node.name, "driver", ROLE, findings=decision.findings)
    state = DriverState(wish, node, driver, read_transaction(node.setup.records.get(RECORD)), "planned")
    changes = [
        Change(kind, state.on_disk.get(kind, "none"), state.wanted[kind]) for kind in reversed(state.pending)
    ]
    if state.begun:
        changes.append(Change("unfinished change of the driver", f"next, it {decision.why}", "finished"))
    notes = []
    if state.owed and not state.rebooted:
        changes.append(Change("reboot", "; ".join(state.owed), "rebooted"))
    elif state.pending:
        allowed = driver.reboot == "rolling"
        notes.append(
            f"a reboot follows where the installer asks for one ({driver.reboot_within_seconds} s to come back)"
            if allowed
            else "reboot: never: where the installer asks for one, the services stay stopped until you reboot"
        )
    return Work(
        node.name,
        "driver",
        ROLE,
        entry="prepare",
        changes=tuple(changes),
        notes=tuple(notes),
        findings=tuple(refusals(state)),
    )


def decide(wish: Wish, node: Node, fresh: str) -> Decision:
    """The next step of a node.

    Args:
        wish: what the spec says.
        node: as it is now, with a survey.
        fresh: id of a change that would begin now; one that is open keeps its own.
    """
    try:
        noted = read_transaction(node.setup.records.get(RECORD))
    except ValueError as error:
        return _halt("refused", [unreadable(node.name, str(error))])
    if wish.spec.driver is None:
        return Halt("done")
    return _next(DriverState(wish, node, wish.spec.driver, noted, fresh))


def _halt(reason: Literal["refused", "held"], findings: Sequence[Finding]) -> Halt:
    errors = [finding for finding in findings if finding.refuses]
    return Halt(reason, "; ".join(f"{entry.seen}; {entry.remedy}" for entry in errors), tuple(findings))


def _next(state: DriverState) -> Decision:
    if unended := _unended(state):
        return unended
    findings = refusals(state)
    if any(finding.refuses for finding in findings):
        return _halt("refused", findings)
    if not (state.begun or state.pending or state.owed):
        unfit = unfit_packages(state)
        return _halt("refused", unfit) if unfit else Halt("done")
    if (state.pending or state.owed) and (holders := held(state)):
        return _halt("held", holders)
    return _change(state) or _settle(state)


def _unended(state: DriverState) -> Step | None:
    """An installation that goes on is waited for, whatever has been found or wished for meanwhile."""
    noted = state.noted
    if noted is None or not noted.open:
        return None
    for kind in KINDS:
        job = read_job(state.node.setup.records.get(job_name(kind)))
        if job and job.rc is None and job.identity.startswith(f"{noted.id}-"):
            path = noted.packages.get(kind, "")
            name = path.rpartition("/")[2]
            return Step(
                "install",
                f"waits for the end of {name}",
                noted,
                packages=(Chosen(kind, name, LocalFile(path), path),),
                arguments=_arguments(state, kind, again=True),
                identity=job.identity,
            )
    return None


def _change(state: DriverState) -> Decision | None:
    """Towards everything being installed and in effect; None when it is."""
    # The firmware is written through the driver: of a first installation the driver must run before.
    through_driver = state.pending == ("firmware",) and "driver" not in state.transaction.before
    if state.pending and not (through_driver and state.owed):
        if through_driver and not state.up:
            return _wait(state)
        return _prepare(state) or _quiet(state) or _install(state, state.pending[0])
    return _reboot(state) if state.owed else None


def _prepare(state: DriverState) -> Step | None:
    now, packages = state.transaction, state.packages
    if now.prepared and all(now.packages.get(kind) == packages[kind].path for kind in state.pending):
        return None
    paths = {**now.packages, **{str(kind): packages[kind].path for kind in state.pending}}
    names = " and ".join(packages[kind].name for kind in state.pending)
    return Step(
        "prepare",
        f"brings {names} and verifies them",
        now,
        after=replace(now, prepared=True, packages=paths),
        packages=tuple(packages[kind] for kind in state.pending),
    )


def _quiet(state: DriverState) -> Step | None:
    """What has to be done before the node's NPUs may go."""
    now, node = state.transaction, state.node
    if not now.measured:
        after = replace(now, measured=True)
        return Step("measure", "probes its NPU network as it is before the change", now, after=after)
    if node.running:
        stopped = tuple(dict.fromkeys((*now.stopped, *node.running)))
        return Step("stop", f"stops {', '.join(node.running)}", replace(now, stopped=stopped))
    if not now.hccn_conf:
        there = node.setup.files.get(HCCN_CONF)
        kept = there is not None and not there.absent
        why = f"keeps a copy of {HCCN_CONF}" if kept else f"has no {HCCN_CONF}"
        return Step("back_up", why, now, after=replace(now, hccn_conf="saved" if kept else "absent"))
    return None


def _install(state: DriverState, kind: Kind) -> Decision:
    package = state.packages[kind]
    job = state.jobs.get(kind)
    mine = f"{state.transaction.id}-{kind}-{package.local.sha256[:8]}-"
    attempt = 1
    if job and job.identity.startswith(mine):
        if job.good:  # it would say the same again
            there = state.on_disk.get(kind, "none")
            return Halt("failed", f"{package.name} ended with {job.rc}, and {kind} {there} is installed")
        attempt = int(job.identity.removeprefix(mine)) + 1
    arguments = _arguments(state, kind, again=job is not None and not job.good)
    return Step(
        "install",
        f"installs {package.name} {' '.join(arguments)}",
        state.transaction,
        packages=(package,),
        arguments=arguments,
        identity=f"{mine}{attempt}",
    )


def _arguments(state: DriverState, kind: Kind, *, again: bool) -> tuple[str, ...]:
    """An upgrade keeps the settings of the last installation; where that is not whole, or newer, all is installed."""
    whole = kind in state.on_disk and not again and not (kind == "driver" and state.incomplete)
    if whole and state.is_upgrade(kind):
        return ("--upgrade", "--quiet")
    if kind == "firmware":
        return ("--full", "--quiet")
    files = state.survey.files
    own: tuple[str, ...] = ()
    if files.install_user and files.install_user != DEFAULT_USER:
        # Another user than the last installation's is refused (ERR_NO:0x0095).
        group = files.install_group or files.install_user
        own = (f"--install-username={files.install_user}", f"--install-usergroup={group}")
    return ("--full", "--install-for-all", *own, "--quiet")


def _reboot(state: DriverState) -> Decision:
    why = "; ".join(state.owed)
    if state.rebooted:
        return Halt("failed", f"the node was rebooted, and still {why}") if state.up else _wait(state)
    if state.driver.reboot == "never":
        return Halt("owed", f"{why}; npuctl_cluster.driver.reboot is never")
    asked = replace(state.transaction, rebooting=state.node.facts.boot_id, restored=False)
    return _quiet(state) or Step("reboot", f"reboots: {why}", asked)


def _wait(state: DriverState) -> Step:
    statuses = state.node.setup.boot_status
    down = [f"chip {chip}: {status}" for chip, status in sorted(statuses.items()) if status != UP]
    why = several(down, _MOST_CHIPS) or state.node.facts.npu_error or "npu-smi lists no chip"
    return Step("wait", f"waits for its chips: {why}", state.transaction)


def _settle(state: DriverState) -> Decision:
    """Everything is installed: until the node serves again as before."""
    now = state.transaction
    if not state.up:
        return _wait(state)
    if state.problems:
        return Halt("failed", "; ".join(state.problems))
    if now.hccn_conf == "saved" and (restoring := _restore(state)):
        return restoring
    if not now.probed:
        after = replace(now, probed=True)
        return Step("probe", "probes its NPU network against the rest", now, after=after)
    if now.stopped and not now.started:
        after = replace(now, started=True)
        return Step("start", f"starts {', '.join(now.stopped)} again", now, after=after)
    return Step("finish", "is as wanted", replace(now, open=False))


def _restore(state: DriverState) -> Decision | None:
    """None where hccn.conf is as its copy."""
    now, files = state.transaction, state.node.setup.files
    kept, there = files.get(BACKUP), files.get(HCCN_CONF)
    if kept is None or kept.error:
        why = kept.error if kept else "is gone"
        return Halt("failed", f"{BACKUP}: {why}; compare {HCCN_CONF} by hand")
    if there is not None and not there.error and there.text == kept.text:
        return None
    if now.restored:
        return Halt("failed", f"{HCCN_CONF} was put back and differs again from {BACKUP}")
    why = f"puts {HCCN_CONF} back: the installation changed it"
    return Step("restore", why, now, after=replace(now, restored=True))
