"""How it stands with driver and firmware of one node: what its facts, its record and the spec say together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from npuctl.facts.model import HolderFacts
from npuctl.facts.survey import CardFacts, Survey
from npuctl.hardware.boot_status import UP
from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Node, Wish
from npuctl.plan.provision.driver_packages import Chosen, choose
from npuctl.plan.provision.driver_record import KINDS, Job, Kind, Transaction, job_name, read_job
from npuctl.spec.machines import Driver

# Installers before 24 do not write how they ended (hicann/driver, scripts/package).
_STATUS_SINCE = "24.0.0"
_COMPLETE = "complete"


@dataclass(frozen=True)
class DriverState:
    """One node, with everything that decides its next step.

    Attributes:
        driver: what the spec wants.
        noted: the record of the last change; None where there is none.
        fresh: id of a change that would begin now.
    """

    wish: Wish
    node: Node
    driver: Driver
    noted: Transaction | None
    fresh: str

    @cached_property
    def survey(self) -> Survey:
        """What a thorough look found; an empty one where there was none."""
        return self.node.facts.survey or Survey()

    @cached_property
    def wanted(self) -> dict[Kind, str]:
        """Kind → the version that the spec wants; no firmware where it names none."""
        firmware: dict[Kind, str] = {"firmware": self.driver.firmware} if self.driver.firmware else {}
        return {"driver": self.driver.version, **firmware}

    @cached_property
    def on_disk(self) -> dict[Kind, str]:
        """Kind → the version that is installed; kinds of which nothing is there are left out."""
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
        """Whether a change was begun and has not come to its end."""
        return self.noted is not None and self.noted.open

    @cached_property
    def transaction(self) -> Transaction:
        """The open change; one that would begin now; or the open one with what is wanted now."""
        wanted = {str(kind): version for kind, version in self.wanted.items()}
        noted = self.noted
        if noted is None or not noted.open:
            return self._new(wanted)
        return noted if dict(noted.wanted) == wanted else self._turned(noted, wanted)

    def _new(self, wanted: dict[str, str]) -> Transaction:
        return Transaction(
            id=self.fresh,
            wanted=wanted,
            before={str(kind): version for kind, version in self.on_disk.items()},
            obsolete=tuple(self.noted.packages.values()) if self.noted else (),
            downgrade=self.wish.allow_downgrade,
            stopped=self.node.running,
        )

    def _turned(self, noted: Transaction, wanted: dict[str, str]) -> Transaction:
        """What was there before it began, and what was stopped, saved and measured for it, stays as it was noted."""
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
        same = same_version(self.on_disk.get(kind, ""), self.wanted[kind])
        return same and not (kind == "driver" and self.incomplete)

    @cached_property
    def incomplete(self) -> bool:
        """Whether its installer, being one that does so, did not write that the driver is complete."""
        files = self.survey.files
        if files.install_status == _COMPLETE or not (
            files.install_status or files.install_user or files.install_group
        ):
            return False
        try:
            return bool(files.install_status) or release_key(files.driver) >= release_key(_STATUS_SINCE)
        except UnreadableError:
            return bool(files.install_status)

    def is_upgrade(self, kind: Kind) -> bool:
        """Whether the wanted version is newer than the installed one; not where one cannot be read."""
        try:
            return release_key(self.wanted[kind]) > release_key(self.on_disk.get(kind, ""))
        except UnreadableError:
            return False

    @cached_property
    def packages(self) -> dict[Kind, Chosen]:
        """The packages of what is pending, where there is one to take."""
        return {kind: package for kind, (package, _) in self._choices.items() if package is not None}

    @cached_property
    def package_findings(self) -> list[Finding]:
        """What speaks against the packages of what is pending, each once."""
        findings: list[Finding] = []
        for _, said in self._choices.values():
            findings += [finding for finding in said if finding not in findings]
        return findings

    @cached_property
    def _choices(self) -> dict[Kind, tuple[Chosen | None, list[Finding]]]:
        return {
            kind: choose(self.wish, self.node, self.driver, kind, self.wanted[kind]) for kind in self.pending
        }

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
            if disk and any(not same_version(version, disk) for version in running):
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

    @cached_property
    def problems(self) -> list[str]:
        """What is not as it should be once everything is installed and up."""
        found = []
        for kind, version in self.wanted.items():
            running = self.running[kind]
            if not running:
                found.append(f"npu-smi does not say which {kind} runs")
            elif any(not same_version(one, version) for one in running):
                found.append(f"{kind} {' and '.join(running)} runs, not {version}")
        found += self.unfit
        if self.incomplete:
            found.append("/etc/ascend_install.info does not say that the installation is complete")
        return found

    @cached_property
    def unfit(self) -> list[str]:
        """Where npu-smi says that driver and firmware do not fit each other."""
        cards = [card for card in self.survey.cards if card.compatibility not in {"", "OK"}]
        return [f"npu-smi says Compatibility {cards[0].compatibility} of {_cards(cards)}"] if cards else []


def same_version(one: str, other: str) -> bool:
    """Whether both name one version, as 23.0.RC1 and 23.0.rc1 do."""
    return one.casefold() == other.casefold()


def _cards(cards: Sequence[CardFacts]) -> str:
    return f"card{'' if len(cards) == 1 else 's'} {', '.join(str(card.npu) for card in cards)}"
