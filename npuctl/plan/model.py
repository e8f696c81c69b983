"""The plan as types: what should be on every node, and what has to change for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from npuctl.facts.model import Unreachable
from npuctl.plan.fit import Fit

SCHEMA = 1
ROOT = "/etc/npuctl"
SECRETS_FILE = "secrets.env"

Action = Literal["create", "recreate", "start", "stop", "remove", "none"]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Mount:
    """One bind mount of a container.

    `create`: the source is a cache folder, made where it is absent and kept at a teardown.
    """

    source: str
    target: str
    read_only: bool = False
    create: bool = False


@dataclass(frozen=True, slots=True)
class Pull:
    """How a node gets an image that it does not have.

    Attributes:
        source: name it is pulled by, where that is not its own.
        registry: host of that name.
        username: of the login there; "" where the spec has none.
        secret: name of the password in the vault.
    """

    source: str = ""
    registry: str = ""
    username: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One container, complete: what is not here is not given to it.

    Never privileged; `--init`; host network; restart policy always, because vLLM ends with 0 after a crash
    (measured on vLLM 0.32.0: an engine core that is killed takes the API server down with exit code 0).

    `pull` is no part of its configuration: another mirror or login restarts nothing.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    env: dict[str, str]
    devices: tuple[str, ...]
    mounts: tuple[Mount, ...]
    shm_bytes: int
    stop_grace_seconds: int
    labels: dict[str, str]
    pull: Pull = Pull()

    def described(self) -> dict[str, Any]:
        """The container without labels and pull: what its configuration hash and its diff are about."""
        description = asdict(self)
        del description["labels"], description["pull"]
        return description


@dataclass(frozen=True, slots=True)
class File:
    """One file or folder below /etc/npuctl/CLUSTER on a node.

    A file of secrets holds `secret_env` (variable → name in the vault); its text is made on the way to the
    node and is in no plan. `sha256` is of the text; of a file of secrets it is not shown.
    """

    path: str
    mode: str
    owner: str = "root:root"
    kind: Literal["file", "directory"] = "file"
    content: str | None = None
    secret_env: dict[str, str] = field(default_factory=dict)
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica as it should be."""

    service: str
    index: int
    engine: str
    node: str
    chips: tuple[int, ...]
    port: int
    container: Container
    directory: str
    files: tuple[File, ...]

    @property
    def name(self) -> str:
        """SERVICE-INDEX, the name that people see."""
        return f"{self.service}-{self.index}"


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done for one replica on one node, and why.

    Attributes:
        name: SERVICE-INDEX.
        container: name of the container.
        engine: which role does it; empty where only a folder is left to remove.
        reasons: short causes, for people ("container is absent").
        diff: lines `- old` and `+ new` of the container and its files.
        replica: the replica as it should be; None where one is stopped or removed.
    """

    node: str
    action: Action
    name: str
    container: str
    engine: str
    directory: str
    stop_grace_seconds: int = 30
    reasons: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    replica: Replica | None = None

    @property
    def service(self) -> str:
        """Name of the service that the replica belongs to."""
        return self.name.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw.

    An error refuses a deploy, unless it is waived; a warning does not.

    Attributes:
        node: where; "" when it is about the cluster.
        npu: N of /dev/davinciN, where it is about one chip.
        origin: who found it: npuctl, or the name of another tool that ran on the node.
        waived: the reason from the spec why it does not count here; "" where it does.
    """

    id: str
    severity: Severity
    node: str
    seen: str
    expected: str
    remedy: str
    npu: int | None = None
    service: str = ""
    origin: str = "npuctl"
    waived: str = ""

    @property
    def link(self) -> str:
        """Its page in the documentation."""
        return f"docs/reference/checks/{self.id}.md"

    @property
    def refuses(self) -> bool:
        """Whether a deploy stops because of it."""
        return self.severity == "error" and not self.waived

    def to_json(self) -> dict[str, Any]:
        """The finding as data."""
        return {**asdict(self), "link": self.link}


@dataclass(frozen=True, slots=True)
class Plan:
    """What should be, and the steps from what is to what should be."""

    cluster: str
    simulated: bool
    replicas: tuple[Replica, ...]
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    unreachable: dict[str, Unreachable]
    fits: tuple[Fit, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action != "none")

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that refuse a deploy."""
        return tuple(finding for finding in self.findings if finding.refuses)

    def to_json(self) -> dict[str, Any]:
        """The plan as data, without the hash of a file of secrets and without how images are got."""
        data: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        data["findings"] = [finding.to_json() for finding in self.findings]
        data["fits"] = [fit.to_json() for fit in self.fits]
        data["unreachable"] = {name: node.model_dump() for name, node in self.unreachable.items()}
        for replica in data["replicas"]:
            _show(replica)
        for step in data["steps"]:
            if step["replica"] is not None:
                _show(step["replica"])
        return data


def _show(replica: dict[str, Any]) -> None:
    del replica["container"]["pull"]
    for file in replica["files"]:
        if file["secret_env"]:
            file["sha256"] = ""


def config_hash(container: dict[str, Any], files: tuple[File, ...]) -> str:
    """Hash over a planned container and its files; written on the container as the label npuctl.config."""
    parts = [container, [(file.path, file.mode, file.owner, file.sha256) for file in files]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def container_name(cluster: str, service: str, index: int) -> str:
    """Name of a replica's container on its node."""
    return f"npuctl-{cluster}-{service}-{index}"


def cluster_root(cluster: str) -> str:
    """Folder of everything that npuctl writes for this cluster on a node."""
    return f"{ROOT}/{cluster}"
