"""The cluster spec as types.

Every key that a person may write stands here, once, with its meaning: the JSON Schema
(`npuctl schema`) and docs/reference/spec.md are made from these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from npuctl.spec.machines import (
    ContainerEngine,
    Driver,
    HubTokens,
    Mirrors,
    ModelStore,
    NpuAddresses,
    Proxy,
    Registry,
    RegistryLogin,
    SystemTuning,
)
from npuctl.spec.parts import (
    AbsolutePath,
    EnvName,
    EnvValue,
    Flag,
    FlagValue,
    Frozen,
    GroupName,
    Mount,
    Name,
    Port,
    SecretRef,
    Text,
)


class Model(Frozen):
    """The weights that a service serves."""

    id: Text = Field(description="Name of the model; clients ask for it by this name.")
    path: AbsolutePath | None = Field(
        default=None, description="Folder with the weights, the same on every node; mounted read-only."
    )
    source: Literal["local", "modelscope", "huggingface", "path", "ssh", "rsync"] = Field(
        default="local",
        description="Where `npuctl provision` takes the weights from: a hub, a folder here (`path`), another"
        " machine (`ssh`, `rsync`); `local`: they are on the nodes. Without a path the engine downloads from"
        " the hub by itself.",
    )
    from_: Text | None = Field(
        default=None,
        alias="from",
        description="With `path` the folder here; with `ssh` USER@HOST:/FOLDER; with `rsync` its address;"
        " with a hub the model's name there, where it is not the id.",
    )
    revision: Text | None = Field(default=None, description="Branch, tag or commit on the hub.")
    convert: list[Text] | None = Field(
        default=None,
        description="Command that makes safetensors of a MindSpore .ckpt model, run here once after the"
        " download; {source} and {target} stand for the folders.",
    )

    @model_validator(mode="after")
    def _path_or_hub(self) -> Model:
        hub = self.source in {"modelscope", "huggingface"}
        if self.path is None and not hub:
            raise ValueError("give a path, or a source (modelscope or huggingface) to download from")
        if self.source in {"path", "ssh", "rsync"} and not self.from_:
            raise ValueError(f"source {self.source} needs `from`: where the weights are")
        if self.source == "local" and (self.from_ or self.revision or self.convert):
            raise ValueError("`from`, `revision` and `convert` go with a source other than local")
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


class Service(Frozen):
    """One model served by one engine, on one or more nodes."""

    name: Name = Field(description="Short name, unique in the cluster.")
    engine: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = Field(
        description="Serving engine."
    )
    version: Text = Field(description="Release of the engine; decides image, flags and environment.")
    image: Text | None = Field(default=None, description="Image to run in place of the release's own.")
    image_file: Text | None = Field(
        default=None,
        description="Archive of the image here (docker save), for nodes without a registry; beside the"
        " inventory's hosts.yml unless absolute; {arch} stands for the node's aarch64 or x86_64.",
    )
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
    mirrors: Mirrors | None = Field(default=None, description="Where things are fetched from.")
    proxy: Proxy | None = Field(default=None, description="The way out of the network.")
    registries: dict[Registry, RegistryLogin] = Field(
        default_factory=dict, description="Logins, by registry."
    )
    hub_tokens: HubTokens = Field(default=HubTokens(), description="Tokens for model hubs.")
    system: SystemTuning | None = Field(
        default=None, description="Settings of the operating system; {} sets all that the vendors publish."
    )
    container_engine: ContainerEngine | None = Field(
        default=None, description="Docker; {} installs it where it is missing."
    )
    driver: Driver | None = Field(default=None, description="NPU driver and firmware.")
    npu_addresses: NpuAddresses | None = Field(default=None, description="The NPUs' own network ports.")
    model_store: ModelStore = Field(default=ModelStore(), description="How weights get to the nodes.")
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
