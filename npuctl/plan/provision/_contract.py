"""What every stage of provisioning is given, and what it returns. Pure, as everything in plan/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from npuctl.facts.image_archive import ImageArchive
from npuctl.facts.model import NodeFacts
from npuctl.facts.setup import Setup
from npuctl.plan.model import Finding
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import Problem

# In the order in which a node goes through them. Driver before runtime: the runtime's installer wants one.
StageName = Literal["mirrors", "system", "driver", "npu_network", "container_engine", "images", "weights"]
STAGES: tuple[StageName, ...] = (
    "mirrors",
    "system",
    "driver",
    "npu_network",
    "container_engine",
    "images",
    "weights",
)
Removal = Literal["driver", "images", "weights"]
RECORDS = "/var/lib/npuctl"
# Keys of several stages stand in it.
DAEMON_FILE = "/etc/docker/daemon.json"


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine that the spec names: its size, and its text where it is a small one.

    `resolved` is its absolute path, from which a role copies it; `archive` is what an archive of images holds.
    """

    path: str
    size: int = 0
    sha256: str = ""
    text: str = ""
    resolved: str = ""
    archive: ImageArchive | None = None


@dataclass(frozen=True, slots=True)
class Questions:
    """What a stage wants to know of every node; the fields are those of facts.setup.Setup."""

    files: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    units: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    records: frozenset[str] = frozenset()
    boot_status: bool = False
    stores: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()

    def __or__(self, other: Questions) -> Questions:
        """Both, asked in one round trip."""
        return Questions(
            files=self.files | other.files,
            values=self.values | other.values,
            packages=self.packages | other.packages,
            units=self.units | other.units,
            programs=self.programs | other.programs,
            records=self.records | other.records,
            boot_status=self.boot_status or other.boot_status,
            stores=self.stores | other.stores,
            images=self.images | other.images,
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What was written, as every stage is given it.

    Attributes:
        file: path of the spec, for problems.
        hosts: service → its hosts, in rank order.
        nodes: all hosts of the inventory, in its order.
        asked: those of them that are asked, where --limit left others out.
        users: node → the login user, whose home scope `user` means.
        local: path as the spec writes it ({arch} filled in) → the file here; absent where there is none.
        secrets: values of the vault by name, to see whether a file that holds some is as it should be; no stage
            returns one.
        seen: folder of a model on the nodes → file → size and time in the folder here that it is filled from.
        removing: teardown: nothing is wanted any more, and what was there before comes back.
        remove: what goes at a teardown beside the settings, as asked for: "driver", "images", "weights".
        allow_restart: Docker may be restarted although containers run.
        allow_downgrade: a driver older than the installed one may be installed.
    """

    spec: ClusterSpec
    file: str = "cluster.yml"
    hosts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    nodes: Sequence[str] = ()
    asked: Sequence[str] = ()
    users: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[str, LocalFile] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    seen: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    removing: bool = False
    remove: frozenset[Removal] = frozenset()
    allow_restart: bool = False
    allow_downgrade: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One node as a stage sees it."""

    name: str
    facts: NodeFacts
    setup: Setup

    @property
    def running(self) -> tuple[str, ...]:
        """Our containers that run on it."""
        return tuple(
            entry.name for entry in self.facts.containers if entry.state in {"running", "restarting"}
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it should be, in words: where it is, what it says, what it should say.

    Texts are shown to people: a password in an address is masked by whoever makes them (plan.wording).
    """

    what: str
    was: str = ""
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """What one stage has to do on one node; nothing where `changes` is empty.

    Attributes:
        role: of roles/, and `entry` its entry point.
        variables: what the role's argument_specs ask for, prefixed with the role's name.
        secret_variables: role's variable → name of a secret in the vault, put in on the way to the node.
        notes: what cannot be set here, or was left as somebody else changed it; told, not fatal.
        findings: what refuses this stage on this node, or warns.
    """

    node: str
    stage: StageName
    role: str = ""
    entry: str = "main"
    variables: Mapping[str, Any] = field(default_factory=dict)
    secret_variables: Mapping[str, str] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


Problems = Sequence[Problem]
