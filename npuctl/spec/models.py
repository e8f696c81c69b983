"""The cluster spec as types.

Every key that a person may write stands here, once, with its meaning: the JSON Schema
(`npuctl schema`) and docs/reference/spec.md are made from these classes.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def _absolute(path: str) -> str:
    _printable(path)
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError("write an absolute path without '..'")
    if ":" in path or "," in path:
        raise ValueError("':' and ',' cannot stand in a path that is mounted into a container")
    return path


def _mount(text: str) -> str:
    parts = text.split(":")
    if len(parts) not in {2, 3} or (parts[2:] and parts[2] not in {"ro", "rw"}):
        raise ValueError("write SOURCE:TARGET or SOURCE:TARGET:ro")
    for path in parts[:2]:
        _absolute(path)
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
GroupName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_printable)]
AbsolutePath = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_absolute)]
Mount = Annotated[str, AfterValidator(_mount)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Flag = Annotated[str, StringConstraints(pattern=r"^(--)?[A-Za-z][A-Za-z0-9_.-]{0,127}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
EnvValue = bool | int | float | Text
FlagValue = bool | int | float | Text | dict[str, JsonValue] | list[int | float | Text] | None


class Frozen(BaseModel):
    """A part of the spec: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Model(Frozen):
    """The weights that a service serves."""

    id: Text = Field(description="Name of the model; clients ask for it by this name.")
    path: AbsolutePath | None = Field(
        default=None, description="Folder with the weights, the same on every node; mounted read-only."
    )
    source: Literal["local", "modelscope", "huggingface"] = Field(
        default="local", description="Where the engine takes the weights from when no path is given."
    )

    @model_validator(mode="after")
    def _path_or_hub(self) -> Model:
        if self.path is None and self.source == "local":
            raise ValueError("give a path, or a source (modelscope or huggingface) to download from")
        return self


class Topology(Frozen):
    """How one replica spreads over chips."""

    tensor_parallel: int = Field(default=1, ge=1, le=1024, description="Chips that share each layer.")
    pipeline_parallel: int = Field(default=1, ge=1, le=1024, description="Stages of layers.")
    data_parallel: int = Field(default=1, ge=1, le=1024, description="Engine copies behind one address.")
    nodes_per_replica: int = Field(default=1, ge=1, le=1024, description="Nodes of one replica; 1 for now.")
    expert_parallel: bool = Field(default=False, description="Spread the experts of a MoE model.")

    @property
    def chips(self) -> int:
        """Chips of one replica, over all its nodes."""
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel


class SecretRef(Frozen):
    """A value that stands in the inventory's vault, by name."""

    secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = Field(
        description="Key below npuctl_secrets in group_vars/all/vault.yml."
    )


class Service(Frozen):
    """One model served by one engine, on one or more nodes."""

    name: Name = Field(description="Short name, unique in the cluster.")
    engine: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = Field(
        description="Serving engine."
    )
    version: Text = Field(description="Release of the engine; decides image, flags and environment.")
    image: Text | None = Field(default=None, description="Image to run in place of the release's own.")
    model: Model = Field(description="What is served.")
    hosts: GroupName | list[Text] = Field(description="An inventory group, or a list of hosts in rank order.")
    replicas: int = Field(default=1, ge=1, le=4096, description="Independent copies of the service.")
    topology: Topology = Field(
        default=Topology(), description="Parallelism, and with it the chips of a replica."
    )
    chips: list[Annotated[int, Field(ge=0, le=1023)]] | None = Field(
        default=None,
        description="Physical chip ids to use on each host; left out, free chips are chosen and kept.",
    )
    port: Port = Field(
        default=8000, description="Port of the first replica on a node; the next ones count up."
    )
    args: dict[Flag, FlagValue] = Field(
        default_factory=dict, description="Arguments of the engine, spelled as it spells them."
    )
    env: dict[EnvName, EnvValue] = Field(
        default_factory=dict, description="Environment of the engine; never a secret."
    )
    api_key: SecretRef | None = Field(default=None, description="Key that clients must present.")
    secret_env: dict[EnvName, SecretRef] = Field(
        default_factory=dict, description="Environment variables whose values come from the vault."
    )
    mounts: list[Mount] = Field(
        default_factory=list, description="More mounts, each SOURCE:TARGET or SOURCE:TARGET:ro."
    )
    cache: AbsolutePath = Field(
        default="/root/.cache",
        description="Folder on the node mounted at /root/.cache (downloads, compile cache).",
    )
    shm_gib: int = Field(default=16, ge=1, le=2048, description="Shared memory of the container, GiB.")
    ready_within_seconds: int = Field(
        default=1800, ge=5, le=86400, description="Longest time from start to the first token."
    )
    token_within_seconds: int = Field(
        default=30, ge=1, le=3600, description="Longest time for one token of a started engine."
    )
    stop_grace_seconds: int = Field(
        default=30, ge=1, le=3600, description="Time between SIGTERM and SIGKILL at a stop."
    )

    @model_validator(mode="after")
    def _chips_fit_topology(self) -> Service:
        if self.chips is None:
            return self
        if len(set(self.chips)) != len(self.chips):
            raise ValueError(f"chips names a chip twice: {self.chips}")
        if len(self.chips) % self.topology.chips:
            raise ValueError(
                f"chips lists {len(self.chips)} chips; a replica needs {self.topology.chips}"
                " (tensor_parallel x pipeline_parallel x data_parallel)"
            )
        return self


class Waiver(Frozen):
    """A check that may fail here, and why."""

    check: Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z_]+)+$")] = Field(
        description="Id of the check, as `npuctl check` prints it."
    )
    reason: Text = Field(description="Why it does not matter here; shown with the finding.")
    nodes: list[Text] | None = Field(default=None, description="Only on these nodes; left out, on all.")
    npus: list[Annotated[int, Field(ge=0, le=65535)]] | None = Field(
        default=None, description="Only for these NPUs; left out, for all."
    )


class ClusterSpec(Frozen):
    """Everything that a person decides about one cluster."""

    name: Name = Field(description="Name of the cluster; part of every container's name.")
    services: list[Service] = Field(description="The services, in order of placement.")
    npu_network: Literal["auto", "required", "unused"] = Field(
        default="auto",
        description="Whether the NPUs of different nodes must reach each other: `required` makes every finding"
        " about it an error, `unused` leaves it unchecked; `auto` requires it when a replica spans nodes and"
        " warns otherwise.",
    )
    waivers: list[Waiver] = Field(
        default_factory=list, description="Findings that do not refuse a deploy here, each with a reason."
    )

    @model_validator(mode="after")
    def _service_names_are_unique(self) -> ClusterSpec:
        names = [service.name for service in self.services]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two services are called {', '.join(twice)}")
        return self
