"""What a step of a driver's change is, and what the role takes for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from npuctl.facts.survey import Survey
from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Node, Wish
from npuctl.plan.provision.driver_packages import Chosen
from npuctl.plan.provision.driver_record import BACKUP, Transaction, job_name
from npuctl.plan.provision.os_families import family_of
from npuctl.spec.machines import Driver

ROLE = "ascend_driver"
DEFAULT_USER = "HwHiAiUser"  # the installer's own default; hicann/driver, scripts/package

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
    match step.kind:
        case "prepare":
            values |= _packages(step, sources) | _user(node) | _build(node, wish.spec.driver)
        case "install":
            values |= _installation(step)
        case "reboot":
            values["boot_id"] = step.transaction.rebooting
        case "back_up":
            values |= _copy()
        case "restore":
            values |= _copy() | _owner(node) | {"chips": [chip.id for chip in node.facts.chips]}
        case "finish":
            values["obsolete"] = list(step.transaction.obsolete)
    return {f"{ROLE}_{key}": value for key, value in values.items()}


def _packages(step: Step, sources: Mapping[str, str]) -> dict[str, Any]:
    return {
        "packages": [
            {"src": sources[chosen.local.path], "path": chosen.path, "sha256": chosen.local.sha256}
            for chosen in step.packages
        ]
    }


def _user(node: Node) -> dict[str, str]:
    files = (node.facts.survey or Survey()).files
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


def _installation(step: Step) -> dict[str, Any]:
    (package,) = step.packages
    return {
        "package": package.path,
        "arguments": list(step.arguments),
        "job": job_name(package.kind),
        "identity": step.identity,
    }


def _copy() -> dict[str, str]:
    return {"conf": HCCN_CONF, "backup": BACKUP}


def _owner(node: Node) -> dict[str, str]:
    """Mode and owner that hccn.conf has now; where none was found, what is usual."""
    now = node.setup.files.get(HCCN_CONF)
    user, _, group = (now.owner if now else "root:root").partition(":")
    return {
        "conf_mode": now.mode if now else "0640",
        "conf_owner": user,
        "conf_group": group or "root",
    }
