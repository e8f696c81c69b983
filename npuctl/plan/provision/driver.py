"""Driver and firmware of one node as a transaction: what is the next step, from what is there. Pure.

Nothing is remembered here. What a node shows (files, versions that run, boot) and what it has noted of the
change (driver_record.py) decide the next step, so that a run goes on where another one ended, whatever ended
it. The order follows the vendor's manuals: where no driver is installed the driver and then the firmware, which
is written through it; else the firmware and then the driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from npuctl.facts.model import HolderFacts
from npuctl.facts.survey import CardFacts, DriverFiles, Survey
from npuctl.hardware.boot_status import UP
from npuctl.hardware.catalog import A2
from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, Change, LocalFile, Node, Questions, Wish, Work
from npuctl.plan.provision.driver_packages import Chosen, choose, product_of_node
from npuctl.plan.provision.driver_record import (
    BACKUP,
    HCCN_CONF,
    KINDS,
    RECORD,
    Job,
    Kind,
    Transaction,
    job_name,
    read_job,
    read_transaction,
    unreadable,
)
from npuctl.plan.provision.os_families import family_of, unknown_family
from npuctl.plan.wording import process, several, size
from npuctl.spec.machines import Driver

ROLE = "ascend_driver"
DEFAULT_USER = "HwHiAiUser"  # the installer's own default; hicann/driver, scripts/package
_MIB = 2**20
# What the installers want to be free (hicann/driver, scripts/package, env_check.sh).
_INSTALLED_BYTES = {"driver": 300 * _MIB, "firmware": 32 * _MIB}
# Where the second number of the installed firmware is 11, newer driver packages refuse (env_check.sh, 910B).
_OLD_FIRMWARE, _HOP = "11", "23.0.rc1"
# Installers before 24 do not write how they ended (hicann/driver, scripts/package).
_STATUS_SINCE = "24.0.0"
_COMPLETE = "complete"
_MOST_PROCESSES = 6

StepKind = Literal[
    "prepare",
    "measure",
    "stop",
    "back_up",
    "install",
    "reboot",
    "wait",
    "restore",
    "probe",
    "start",
    "finish",
]


@dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do on a node.

    Attributes:
        why: for people.
        transaction: what is to be noted on the node before the step is done.
        after: what is to be noted once it is done; None where the node shows it by itself.
        packages: those that are prepared, or the one that is installed.
        arguments, identity: of an installation.
    """

    kind: StepKind
    why: str
    transaction: Transaction
    after: Transaction | None = None
    packages: tuple[Chosen, ...] = ()
    arguments: tuple[str, ...] = ()
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Halt:
    """There is no next step.

    Attributes:
        reason: "done"; "refused": something speaks against it, and the node is as it was left; "held": somebody
            else's process has an NPU open; "owed": only a reboot is missing, which the spec does not allow;
            "failed": it was done, and is not as it should be.
    """

    reason: Literal["done", "refused", "held", "owed", "failed"]
    why: str = ""
    findings: tuple[Finding, ...] = ()


Decision = Step | Halt


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
        return _refused([unreadable(node.name, str(error))])
    return (
        Halt("done") if wish.spec.driver is None else _Case(wish, node, wish.spec.driver, noted, fresh).next()
    )


def role_variables(step: Step, node: Node, wish: Wish, sources: Mapping[str, str]) -> dict[str, Any]:
    """What roles/ascend_driver takes for a step; the entry is the step's kind, or `note`.

    Args:
        step: the step.
        node: where.
        wish: what the spec says.
        sources: path as the spec writes it → the file on this machine.
    """
    values: dict[str, Any] = {
        "record": step.transaction.to_record(),
        "record_after": (step.after or step.transaction).to_record(),
    }
    if step.kind == "prepare":
        values["packages"] = [
            {"src": sources[chosen.local.path], "path": chosen.path, "sha256": chosen.local.sha256}
            for chosen in step.packages
        ]
        values |= _user(node) | _build(node, wish.spec.driver)
    if step.kind == "install":
        (package,) = step.packages
        values |= {
            "package": package.path,
            "arguments": list(step.arguments),
            "job": job_name(package.kind),
            "identity": step.identity,
        }
    if step.kind == "reboot":
        values["boot_id"] = step.transaction.rebooting
    if step.kind in {"back_up", "restore"}:
        values |= {"conf": HCCN_CONF, "backup": BACKUP}
    if step.kind == "restore":
        now = node.setup.files.get(HCCN_CONF)
        user, _, group = (now.owner if now else "root:root").partition(":")
        values |= {
            "conf_mode": now.mode if now else "0640",
            "conf_owner": user,
            "conf_group": group or "root",
        }
        values["chips"] = [chip.id for chip in node.facts.chips]
    if step.kind == "finish":
        values["obsolete"] = list(step.transaction.obsolete)
    return {f"{ROLE}_{key}": value for key, value in values.items()}


def differing_services(
    node: str, running: Sequence[str], actions: Mapping[str, tuple[str, str]]
) -> list[Finding]:
    """Services that could be stopped for the driver, and not started again as they were.

    Args:
        node: its name.
        running: our containers that run there.
        actions: container → what a deploy would do with it, and its replica.
    """
    return [
        Finding(
            id="provision.service_differs",
            severity="error",
            node=node,
            seen=f"{actions[name][1]} runs, and `npuctl deploy` would {actions[name][0]} it",
            expected="services that are as the spec says: they are stopped for the driver and started again after it",
            remedy="run npuctl deploy first, or npuctl stop where they need not run",
            service=actions[name][1].rpartition("-")[0],
        )
        for name in running
        if name in actions and actions[name][0] not in {"none", "start"}
    ]


def _planned(wish: Wish, driver: Driver, node: Node) -> Work:
    """What would be done on a node, as far as it can be said before it is done."""
    decision = decide(wish, node, "planned")
    if isinstance(decision, Halt) and decision.reason in {"done", "refused", "held"}:
        return Work(node.name, "driver", ROLE, findings=decision.findings)
    case = _Case(wish, node, driver, read_transaction(node.setup.records.get(RECORD)), "planned")
    changes = [
        Change(kind, case.on_disk.get(kind, "none"), case.wanted[kind]) for kind in reversed(case.pending)
    ]
    if case.begun:
        changes.append(Change("unfinished change of the driver", f"next, it {decision.why}", "finished"))
    notes = []
    if case.owed and not case.rebooted:
        changes.append(Change("reboot", "; ".join(case.owed), "rebooted"))
    elif case.pending:
        allowed = driver.reboot == "rolling"
        notes.append(
            f"a reboot follows where the installer asks for one ({case.driver.reboot_within_seconds} s to come back)"
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
        findings=tuple(case.refusals()),
    )


def removal(node: Node) -> Work:
    """Driver and firmware go where npuctl installed them; by the packages that did it."""
    try:
        noted = read_transaction(node.setup.records.get(RECORD))
    except ValueError as error:
        return Work(node.name, "driver", ROLE, findings=(unreadable(node.name, str(error)),))
    files = _files(node)
    there: dict[str, str] = {"firmware": files.firmware, "driver": files.driver}
    if noted is None or not noted.packages:
        names = [f"{kind} {version}" for kind, version in there.items() if version]
        note = f"{' and '.join(names)}: not installed by npuctl, left as it is"
        return Work(node.name, "driver", ROLE, notes=(note,) if names else ())
    kinds = [kind for kind in reversed(KINDS) if kind in noted.packages]
    return Work(
        node.name,
        "driver",
        ROLE,
        entry="uninstall",
        variables={
            f"{ROLE}_uninstall": [
                {
                    "path": noted.packages[kind],
                    "job": job_name(kind),
                    "identity": f"{noted.id}-{kind}-uninstall",
                }
                for kind in kinds
                if there[kind]
            ],
            f"{ROLE}_leftovers": [
                BACKUP,
                f"{RECORDS}/{RECORD}.json",
                *(
                    f"{RECORDS}/{job_name(kind)}.{ending}"
                    for kind in KINDS
                    for ending in ("json", "log", "lock")
                ),
                *noted.packages.values(),
                *noted.obsolete,
            ],
        },
        changes=tuple(Change(kind, there[kind] or "none", "none") for kind in kinds),
    )


def _user(node: Node) -> dict[str, str]:
    files = _files(node)
    return {
        "user": files.install_user or DEFAULT_USER,
        "group": files.install_group or files.install_user or DEFAULT_USER,
    }


def _build(node: Node, driver: Driver | None) -> dict[str, Any]:
    family = family_of(node.setup) if driver and driver.build_packages else None
    kernel, architecture = node.facts.kernel, node.facts.architecture
    headers: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    if family is not None:
        headers = family.packages_for("kernel_headers", kernel=kernel, architecture=architecture)
        tools = family.packages_for("driver_build", kernel=kernel, architecture=architecture)
    return {
        "kernel": kernel,
        "header_packages": list(headers),
        "build_packages": list(tools),
    }


def _files(node: Node) -> DriverFiles:
    return node.facts.survey.files if node.facts.survey else DriverFiles()


def _refused(findings: Sequence[Finding]) -> Halt:
    errors = [finding for finding in findings if finding.refuses]
    return Halt("refused", "; ".join(f"{entry.seen}; {entry.remedy}" for entry in errors), tuple(findings))


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


@dataclass(frozen=True)
class _Case:
    """One node, with everything that decides its next step."""

    wish: Wish
    node: Node
    driver: Driver
    noted: Transaction | None
    fresh: str

    # What is there.

    @cached_property
    def survey(self) -> Survey:
        return self.node.facts.survey or Survey()

    @cached_property
    def wanted(self) -> dict[Kind, str]:
        firmware: dict[Kind, str] = {"firmware": self.driver.firmware} if self.driver.firmware else {}
        return {"driver": self.driver.version, **firmware}

    @cached_property
    def on_disk(self) -> dict[Kind, str]:
        found: dict[Kind, str] = {"driver": self.survey.files.driver, "firmware": self.survey.files.firmware}
        return {kind: version for kind, version in found.items() if version}

    @cached_property
    def running(self) -> dict[Kind, tuple[str, ...]]:
        """Kind → the versions that npu-smi shows, each once."""
        cards = self.survey.cards
        drivers = [self.node.facts.driver_running, *(card.driver_version for card in cards)]
        firmwares = [card.firmware_version for card in cards]
        return {
            "driver": tuple(dict.fromkeys(version for version in drivers if version)),
            "firmware": tuple(dict.fromkeys(version for version in firmwares if version)),
        }

    @cached_property
    def begun(self) -> bool:
        return self.noted is not None and self.noted.open

    @cached_property
    def transaction(self) -> Transaction:
        """The open change; one that would begin now; or the open one with what is wanted now."""
        wanted = {str(kind): version for kind, version in self.wanted.items()}
        noted = self.noted
        if noted is not None and noted.open:
            if dict(noted.wanted) == wanted:
                return noted
            return replace(
                noted,
                id=self.fresh,
                wanted=wanted,
                obsolete=(*noted.obsolete, *noted.packages.values()),
                packages={},
                downgrade=self.wish.allow_downgrade,
                prepared=False,
                rebooting="",
                restored=False,
                probed=False,
                started=False,
            )
        return Transaction(
            id=self.fresh,
            wanted=wanted,
            before={str(kind): version for kind, version in self.on_disk.items()},
            obsolete=tuple(noted.packages.values()) if noted else (),
            downgrade=self.wish.allow_downgrade,
            stopped=self.node.running,
        )

    @cached_property
    def jobs(self) -> dict[Kind, Job]:
        """The installations of this change."""
        found = {kind: read_job(self.node.setup.records.get(job_name(kind))) for kind in KINDS}
        mine = f"{self.transaction.id}-"
        return {kind: job for kind, job in found.items() if job and job.identity.startswith(mine)}

    @cached_property
    def pending(self) -> tuple[Kind, ...]:
        """What has to be installed, in the order in which it is."""
        first = "driver" not in self.transaction.before
        order: tuple[Kind, ...] = ("driver", "firmware") if first else ("firmware", "driver")
        return tuple(kind for kind in order if kind in self.wanted and not self._installed(kind))

    def _installed(self, kind: Kind) -> bool:
        job = self.jobs.get(kind)
        if job is not None and not job.good:
            return False
        same = _same(self.on_disk.get(kind, ""), self.wanted[kind])
        return same and not (kind == "driver" and self._incomplete())

    def _incomplete(self) -> bool:
        files = self.survey.files
        if files.install_status == _COMPLETE or not (
            files.install_status or files.install_user or files.install_group
        ):
            return False
        try:
            return bool(files.install_status) or release_key(files.driver) >= release_key(_STATUS_SINCE)
        except UnreadableError:
            return bool(files.install_status)

    @cached_property
    def owed(self) -> tuple[str, ...]:
        """Why the node has to be rebooted; nothing where it need not be."""
        asked = [
            f"the installer of the {kind} asked for a reboot"
            for kind, job in self.jobs.items()
            if job.good and job.reboot_owed and job.boot_id == self.node.facts.boot_id
        ]
        return (*asked, *self._others_run())

    def _others_run(self) -> Iterator[str]:
        for kind in self.wanted:
            disk, running = self.on_disk.get(kind, ""), self.running[kind]
            if disk and any(not _same(version, disk) for version in running):
                yield f"{kind} {disk} is installed, {' and '.join(running)} runs"

    @cached_property
    def rebooted(self) -> bool:
        """Whether a reboot lies between the change and now: another one would not help."""
        now = self.node.facts.boot_id
        boots = {job.boot_id for job in self.jobs.values() if job.good}
        asked = self.transaction.rebooting
        return now not in boots and bool(boots or (asked and asked != now))

    @cached_property
    def up(self) -> bool:
        """Whether every chip has come up; where the tool does not say, npu-smi's table does."""
        statuses = self.node.setup.boot_status
        if any(status != UP for status in statuses.values()):
            return False
        if statuses and len(statuses) < (self.survey.pci_chips or 0):
            return False
        return bool(self.node.facts.chips) and not self.node.facts.npu_error

    @cached_property
    def foreign(self) -> list[HolderFacts]:
        """Processes that have an NPU open and are none of our containers'."""
        ours = {container.name for container in self.node.facts.containers}
        return [holder for holder in self.node.facts.holders if holder.container not in ours]

    # What speaks against it.

    @cached_property
    def chosen(self) -> tuple[dict[Kind, Chosen], list[Finding]]:
        found: dict[Kind, Chosen] = {}
        findings: list[Finding] = []
        for kind in self.pending:
            package, said = choose(self.wish, self.node, self.driver, kind, self.wanted[kind])
            findings += [finding for finding in said if finding not in findings]
            if package is not None:
                found[kind] = package
        return found, findings

    def refusals(self) -> list[Finding]:
        """Everything that is wrong with what would be installed."""
        if not self.pending:
            return []
        packages, findings = self.chosen
        findings = [*findings, *self._downgrades(), *self._hop(), *self._space(packages.values())]
        needs_family = (
            "driver" in self.pending and self.driver.build_packages and not self.transaction.prepared
        )
        if needs_family and family_of(self.node.setup) is None:
            findings.append(unknown_family(self.node, "kernel headers, gcc and make"))
        return findings

    def _downgrades(self) -> Iterator[Finding]:
        if self.wish.allow_downgrade or self.transaction.downgrade:
            return
        for kind in self.pending:
            there = self.on_disk.get(kind, "")
            if there and not _same(there, self.wanted[kind]) and not _newer(self.wanted[kind], there):
                yield Finding(
                    id="provision.driver_downgrade",
                    severity="error",
                    node=self.node.name,
                    seen=f"{kind} {there} is installed",
                    expected=f"an older one than the {kind} {self.wanted[kind]} that the spec wants",
                    remedy="correct npuctl_cluster.driver, or allow it: npuctl provision --downgrade",
                )

    def _hop(self) -> Iterator[Finding]:
        firmware = self.on_disk.get("firmware", "")
        numbers = firmware.split(".")
        old = len(numbers) > 1 and numbers[1] == _OLD_FIRMWARE
        goes_by = "driver" not in self.pending or _same(self.wanted["driver"], _HOP)
        if old and not goes_by and product_of_node(self.node) is A2:
            yield Finding(
                id="provision.firmware_hop",
                severity="error",
                node=self.node.name,
                seen=f"firmware {firmware} is installed",
                expected="a firmware whose second number is not 11: newer driver packages refuse on it",
                remedy="provision driver 23.0.RC1 with its firmware first, then what is wanted",
            )

    def _space(self, packages: Sequence[Chosen] | Any) -> Iterator[Finding]:
        free = self.node.facts.free_bytes.get("/")
        # Once as a package, once unpacked by the installer, and once installed.
        needed = sum(2 * package.local.size + _INSTALLED_BYTES[package.kind] for package in packages)
        if free is not None and not self.transaction.prepared and free < needed:
            yield Finding(
                id="provision.driver_space",
                severity="error",
                node=self.node.name,
                seen=f"{size(free)} are free on /",
                expected=f"{size(needed)} for the packages and what they install",
                remedy=f"make room on {self.node.name}",
            )

    def held(self) -> Halt | None:
        """Somebody else's work on the NPUs is not ended by a driver."""
        if not self.foreign:
            return None
        whose: dict[tuple[int, str, str], list[int]] = {}
        for holder in self.foreign:
            whose.setdefault((holder.pid, holder.container, holder.command), []).append(holder.chip)
        words = [
            f"{process(pid, container, command)} holds NPU {', '.join(map(str, sorted(chips)))}"
            for (pid, container, command), chips in whose.items()
        ]
        finding = Finding(
            id="provision.npu_held",
            severity="error",
            node=self.node.name,
            seen=several(words, _MOST_PROCESSES),
            expected="NPUs that nobody but npuctl's own services uses: the driver is taken from under them",
            remedy=f"end these processes on {self.node.name}, or leave the node out with --limit",
        )
        return Halt("held", f"{finding.seen}; {finding.remedy}", (finding,))

    def problems(self) -> list[str]:
        """What is not as it should be once everything is installed and up."""
        found = []
        for kind, version in self.wanted.items():
            running = self.running[kind]
            if not running:
                found.append(f"npu-smi does not say which {kind} runs")
            elif any(not _same(one, version) for one in running):
                found.append(f"{kind} {' and '.join(running)} runs, not {version}")
        found += self._unfit()
        if self._incomplete():
            found.append("/etc/ascend_install.info does not say that the installation is complete")
        return found

    def _unfit(self) -> list[str]:
        cards = [card for card in self.survey.cards if card.compatibility not in {"", "OK"}]
        return [f"npu-smi says Compatibility {cards[0].compatibility} of {_cards(cards)}"] if cards else []

    # What comes next.

    def next(self) -> Decision:
        if self.begun and (running := self._running()):
            return running
        findings = self.refusals()
        if any(finding.refuses for finding in findings):
            return _refused(findings)
        if not (self.begun or self.pending or self.owed):
            return self._as_wanted()
        if (self.pending or self.owed) and (held := self.held()):
            return held
        return self._change() or self._settle()

    def _running(self) -> Step | None:
        """An installation that goes on is waited for, whatever has been found or wished for meanwhile."""
        noted = self.noted
        if noted is None:
            return None
        for kind in KINDS:
            job = read_job(self.node.setup.records.get(job_name(kind)))
            if job and job.rc is None and job.identity.startswith(f"{noted.id}-"):
                path = noted.packages.get(kind, "")
                name = path.rpartition("/")[2]
                return Step(
                    "install",
                    f"waits for the end of {name}",
                    noted,
                    packages=(Chosen(kind, name, LocalFile(path), path),),
                    arguments=self._arguments(kind, again=True),
                    identity=job.identity,
                )
        return None

    def _as_wanted(self) -> Halt:
        unfit = self._unfit()
        if not unfit or "firmware" not in self.wanted:
            return Halt("done")
        finding = Finding(
            id="provision.driver_unfit",
            severity="error",
            node=self.node.name,
            seen="; ".join(unfit),
            expected=f"driver {self.wanted['driver']} and firmware {self.wanted['firmware']} that fit each other",
            remedy="name driver and firmware of one HDK release in npuctl_cluster.driver",
        )
        return _refused([finding])

    def _change(self) -> Decision | None:
        """Towards everything being installed and in effect; None when it is."""
        # The firmware is written through the driver: of a first installation the driver must run before.
        through_driver = self.pending == ("firmware",) and "driver" not in self.transaction.before
        if self.pending and not (through_driver and self.owed):
            if through_driver and not self.up:
                return self._wait()
            return self._prepare() or self._quiet() or self._install(self.pending[0])
        if not self.owed:
            return None
        if self.rebooted:
            return self._fault("the node was rebooted, and still ") if self.up else self._wait()
        why = "; ".join(self.owed)
        if self.driver.reboot == "never":
            return Halt("owed", f"{why}; npuctl_cluster.driver.reboot is never")
        asked = replace(self.transaction, rebooting=self.node.facts.boot_id, restored=False)
        return self._quiet() or Step("reboot", f"reboots: {why}", asked)

    def _fault(self, begin: str) -> Halt:
        return Halt("failed", begin + "; ".join(self.owed))

    def _prepare(self) -> Step | None:
        now = self.transaction
        packages, _ = self.chosen
        if now.prepared and all(now.packages.get(kind) == packages[kind].path for kind in self.pending):
            return None
        paths = {**now.packages, **{str(kind): packages[kind].path for kind in self.pending}}
        names = " and ".join(packages[kind].name for kind in self.pending)
        return Step(
            "prepare",
            f"brings {names} and verifies them",
            now,
            after=replace(now, prepared=True, packages=paths),
            packages=tuple(packages[kind] for kind in self.pending),
        )

    def _quiet(self) -> Step | None:
        """What has to be done before the node's NPUs may go."""
        now = self.transaction
        if not now.measured:
            after = replace(now, measured=True)
            return Step("measure", "probes its NPU network as it is before the change", now, after=after)
        if self.node.running:
            stopped = tuple(dict.fromkeys((*now.stopped, *self.node.running)))
            return Step("stop", f"stops {', '.join(self.node.running)}", replace(now, stopped=stopped))
        if not now.hccn_conf:
            there = self.node.setup.files.get(HCCN_CONF)
            kept = there is not None and not there.absent
            after = replace(now, hccn_conf="saved" if kept else "absent")
            return Step(
                "back_up", f"keeps a copy of {HCCN_CONF}" if kept else f"has no {HCCN_CONF}", now, after=after
            )
        return None

    def _install(self, kind: Kind) -> Decision:
        package = self.chosen[0][kind]
        job = self.jobs.get(kind)
        mine = f"{self.transaction.id}-{kind}-{package.local.sha256[:8]}-"
        attempt = 1
        if job and job.identity.startswith(mine):
            if job.good:  # it would say the same again
                there = self.on_disk.get(kind, "none")
                return Halt("failed", f"{package.name} ended with {job.rc}, and {kind} {there} is installed")
            attempt = int(job.identity.removeprefix(mine)) + 1
        arguments = self._arguments(kind, again=job is not None and not job.good)
        return Step(
            "install",
            f"installs {package.name} {' '.join(arguments)}",
            self.transaction,
            packages=(package,),
            arguments=arguments,
            identity=f"{mine}{attempt}",
        )

    def _arguments(self, kind: Kind, *, again: bool) -> tuple[str, ...]:
        """An upgrade keeps the settings of the last installation; where that is not whole, or newer, all is installed."""
        there = self.on_disk.get(kind, "")
        whole = bool(there) and not again and not (kind == "driver" and self._incomplete())
        if whole and _newer(self.wanted[kind], there):
            return ("--upgrade", "--quiet")
        if kind == "firmware":
            return ("--full", "--quiet")
        files = self.survey.files
        own: tuple[str, ...] = ()
        if files.install_user and files.install_user != DEFAULT_USER:
            # Another user than the last installation's is refused (ERR_NO:0x0095).
            group = files.install_group or files.install_user
            own = (f"--install-username={files.install_user}", f"--install-usergroup={group}")
        return ("--full", "--install-for-all", *own, "--quiet")

    def _wait(self) -> Step:
        statuses = self.node.setup.boot_status
        down = [f"chip {chip}: {status}" for chip, status in sorted(statuses.items()) if status != UP]
        why = several(down, _MOST_PROCESSES) or self.node.facts.npu_error or "npu-smi lists no chip"
        return Step("wait", f"waits for its chips: {why}", self.transaction)

    def _settle(self) -> Decision:
        """Everything is installed: until the node serves again as before."""
        now = self.transaction
        if not self.up:
            return self._wait()
        if problems := self.problems():
            return Halt("failed", "; ".join(problems))
        if now.hccn_conf == "saved" and (step := self._restore()):
            return step
        if not now.probed:
            after = replace(now, probed=True)
            return Step("probe", "probes its NPU network against the rest", now, after=after)
        if now.stopped and not now.started:
            after = replace(now, started=True)
            return Step("start", f"starts {', '.join(now.stopped)} again", now, after=after)
        return Step("finish", "is as wanted", replace(now, open=False))

    def _restore(self) -> Decision | None:
        kept, there = self.node.setup.files.get(BACKUP), self.node.setup.files.get(HCCN_CONF)
        if kept is None or kept.error:
            return Halt(
                "failed", f"{BACKUP}: {kept.error if kept else 'is gone'}; compare {HCCN_CONF} by hand"
            )
        if there is not None and not there.error and there.text == kept.text:
            return None
        if self.transaction.restored:
            return Halt("failed", f"{HCCN_CONF} was put back and differs again from {BACKUP}")
        after = replace(self.transaction, restored=True)
        return Step(
            "restore", f"puts {HCCN_CONF} back: the installation changed it", self.transaction, after=after
        )


def _newer(one: str, other: str) -> bool:
    """Whether it is the newer version; not where one cannot be read."""
    try:
        return release_key(one) > release_key(other)
    except UnreadableError:
        return False


def _cards(cards: Sequence[CardFacts]) -> str:
    return f"card{'' if len(cards) == 1 else 's'} {', '.join(str(card.npu) for card in cards)}"
