"""A made-up node that does the steps of a driver's change, and can be killed at any moment of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from npuctl.facts.model import ContainerFacts, HolderFacts
from npuctl.facts.setup import Setup, TextFile
from npuctl.facts.survey import CardFacts, DriverFiles, Survey
from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.provision._contract import LocalFile, Node, Wish
from npuctl.plan.provision.driver import decide
from npuctl.plan.provision.driver_record import BACKUP, RECORD, Kind, job_name
from npuctl.plan.provision.driver_steps import Decision, Halt, Step
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, chips, cluster_text, node, service_data

CONF = "address_0=10.20.0.11\nnetmask_0=255.255.0.0\n"
DRIVER = "Ascend-hdk-910b-npu-driver_{}_linux-aarch64.run"
FIRMWARE = "Ascend-hdk-910b-npu-firmware_{}.run"
NEW = {"driver": "25.5.2", "firmware": "7.8.0.7.220"}
OLD = {"driver": "25.2.0", "firmware": "7.7.0.6.236"}
PATIENCE = 5  # looks
Moment = Literal["", "before", "in", "after"]


def spec(**changes: Any) -> ClusterSpec:
    """A spec that wants the new driver and firmware; `changes` are of its driver."""
    driver = {
        **NEW,
        "version": NEW["driver"],
        "packages": "pkgs",
        "reboot": "rolling",
        "build_packages": False,
        "sha256": {},
    }
    del driver["driver"]
    return parse_cluster(cluster_text(service_data(), driver=driver | changes), file=FILE)


def packages(*names: str) -> dict[str, LocalFile]:
    """A folder with these packages; those that are wanted, without names."""
    own = names or (DRIVER.format(NEW["driver"]), FIRMWARE.format(NEW["firmware"]))
    return {
        f"pkgs/{name}": LocalFile(f"pkgs/{name}", 1000, f"{index:064x}") for index, name in enumerate(own, 1)
    }


def wish(*names: str, allow_downgrade: bool = False, **changes: Any) -> Wish:
    """What is wanted; `names` are the packages in the folder."""
    return Wish(
        spec=spec(**changes), local=packages(*names), nodes=["node-1"], allow_downgrade=allow_downgrade
    )


class KilledError(Exception):
    """npuctl was killed here; what runs on the node goes on."""


@dataclass
class Simulated:
    """What is on the node, and what was done to it."""

    disk: dict[str, str] = field(default_factory=lambda: dict(OLD))
    running: dict[str, str] = field(default_factory=lambda: dict(OLD))
    exit_codes: dict[str, int] = field(default_factory=dict)  # of each kind's installer; 0 where not said
    takes_effect: bool = True  # of an installer that ends with 0
    clears_conf: bool = False  # an installation empties hccn.conf
    slow_boot: int = 0  # looks until the chips are up after a boot
    services: tuple[str, ...] = ("npuctl-prod-chat-0",)
    foreign: tuple[HolderFacts, ...] = ()
    compatibility: str = "OK"
    boot: int = 1
    conf: str | None = CONF
    backup: str | None = None
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    complete: bool = True
    ran: list[str] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    _chips_down: int = 0

    def node(self) -> Node:
        """As a look shows it."""
        down = self._chips_down > 0 or not self.running
        self._chips_down = max(0, self._chips_down - 1)
        cards = [
            CardFacts(
                npu=number,
                driver_version=self.running.get("driver", ""),
                firmware_version=self.running.get("firmware", ""),
                compatibility=self.compatibility,
            )
            for number in range(8)
        ]
        files = DriverFiles(
            driver=self.disk.get("driver", ""),
            firmware=self.disk.get("firmware", ""),
            install_status="complete" if self.complete and "driver" in self.disk else "",
            install_user="HwHiAiUser" if "driver" in self.disk else "",
            install_group="HwHiAiUser" if "driver" in self.disk else "",
        )
        setup = Setup(
            files={
                HCCN_CONF: None
                if self.conf is None
                else TextFile(path=HCCN_CONF, text=self.conf, mode="0640"),
                BACKUP: None if self.backup is None else TextFile(path=BACKUP, text=self.backup, mode="0600"),
            },
            records={name: dict(entry) for name, entry in self.records.items()},
            boot_status=dict.fromkeys(range(8), 1 if down else 16) if self.running else {},
        )
        facts = node(
            boot_id=f"boot-{self.boot}",
            driver_running="" if down else self.running["driver"],
            driver_on_disk=self.disk.get("driver", ""),
            chips=[] if down else chips(),
            npu_error="dcmi module initialize failed. ret is -8005" if down else "",
            holders=list(self.foreign),
            containers=[
                ContainerFacts(
                    name=name,
                    id="a",
                    engine="vllm",
                    image="i",
                    state="exited" if name in self.stopped else "running",
                )
                for name in self.services
            ],
            survey=Survey(cards=[] if down else cards, files=files, pci_chips=8, pci_product="a2"),
            setup=setup,
        )
        assert facts.setup is not None
        return Node("node-1", facts, facts.setup)

    def note(self, transaction: Any) -> None:
        """The role writes the note."""
        self.records[RECORD] = transaction.to_record()

    def do(self, step: Step, killed: Moment = "") -> None:
        """Do a step as the roll-out does, or a part of it."""
        self.did.append(step.kind)
        if step.kind not in {"measure", "wait"}:
            self.note(step.transaction)
        if killed == "before":
            raise KilledError
        getattr(self, f"_{step.kind}")(step)
        if killed == "in":
            raise KilledError
        if step.after is not None:
            self.note(step.after)
        if killed == "after":
            raise KilledError

    def _prepare(self, step: Step) -> None:
        assert step.packages

    def _measure(self, step: Step) -> None:
        pass

    _probe = _finish = _measure

    def _stop(self, _step: Step) -> None:
        self.stopped |= set(self.services)

    def _start(self, step: Step) -> None:
        self.stopped -= set(step.transaction.stopped)

    def _back_up(self, _step: Step) -> None:
        self.backup = self.conf if self.conf is not None else self.backup

    def _restore(self, _step: Step) -> None:
        self.conf = self.backup

    def _wait(self, _step: Step) -> None:
        pass

    def _reboot(self, step: Step) -> None:
        if step.transaction.rebooting == f"boot-{self.boot}":
            self.come_up()

    def come_up(self) -> None:
        """A boot loads what is on the disk."""
        self.boot += 1
        self.running = dict(self.disk)
        self._chips_down = self.slow_boot
        self.ran.append("reboot")

    def _install(self, step: Step) -> None:
        """As library/module_utils/npuctl_run_package.py: once for an identity."""
        (package,) = step.packages
        noted = self.records.get(job_name(package.kind), {})
        if noted.get("identity") == step.identity and noted.get("state") == "ended":
            return
        assert self.stopped >= set(self.services), "services run while a package is installed"
        self.ran.append(f"{package.kind} {' '.join(step.arguments)}")
        rc = self.exit_codes.get(package.kind, 0)
        if rc != 1:
            self.disk[package.kind] = version_in(package.name, package.kind)
            self.complete = True
            if self.clears_conf:
                self.conf = ""
            if rc == 0 and self.takes_effect:
                self.running[package.kind] = self.disk[package.kind]
        self.records[job_name(package.kind)] = {
            "identity": step.identity,
            "state": "ended",
            "rc": rc,
            "reboot_owed": rc == 2,
            "boot_id": f"boot-{self.boot}",
        }


def version_in(name: str, kind: Kind) -> str:
    """The version in a package's name."""
    rest = name.partition(f"{kind}_")[2]
    return rest.partition("_linux")[0] if kind == "driver" else rest.removesuffix(".run")


def go(simulated: Simulated, wanted: Wish, *, fresh: str = "one", most: int = 40) -> Halt:
    """One run of npuctl to its end: where a step fails, the run ends there."""
    end = go_killed(simulated, wanted, most, "", fresh)
    assert end is not None
    return end


def failed(simulated: Simulated, step: Step) -> bool:
    """Whether the installation of that step ended with 1."""
    return bool(simulated.records[job_name(step.packages[0].kind)]["rc"] == 1)


def go_killed(simulated: Simulated, wanted: Wish, at: int, moment: Moment, fresh: str) -> Halt | None:
    """A run that is killed in its step of that number; None when it was."""
    waits = 0
    for number in range(40):
        decision: Decision = decide(wanted, simulated.node(), fresh)
        if isinstance(decision, Halt):
            return decision
        waits = waits + 1 if decision.kind == "wait" else 0
        if waits > PATIENCE:
            return Halt("failed", "its chips are not up")
        try:
            simulated.do(decision, moment if number == at else "")
        except KilledError:
            return None
        if decision.kind == "install" and failed(simulated, decision):
            return Halt("failed", "the installer ended with 1")
    raise AssertionError(f"no end: {simulated.did}")


def clean() -> Simulated:
    """A server on which no driver was ever installed."""
    return Simulated(disk={}, running={}, services=(), conf=None)
