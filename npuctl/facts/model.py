"""Facts about a cluster, as types and as a file.

`npuctl inspect --output json` writes a `ClusterFacts`; `npuctl plan --facts FILE` reads one. The schema's
number rises when a reader of the old form would misread the new one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from npuctl.facts.frozen import Frozen
from npuctl.facts.reach import Reach
from npuctl.facts.setup import Setup
from npuctl.facts.survey import Survey

SCHEMA = 1


class ChipFacts(Frozen):
    """One NPU chip (a die on A3).

    `id` is the number of its device node (/dev/davinciN), the number that a spec's `chips` means.
    """

    id: int
    npu: int
    chip: int
    name: str
    health: str
    bus_id: str = ""
    memory_used_mb: int
    memory_total_mb: int
    temperature_c: int | None = None
    power_w: float | None = None
    aicore_percent: int | None = None


class HolderFacts(Frozen):
    """A process on the node that holds an NPU's device node open."""

    chip: int
    pid: int
    command: str
    container: str = Field(default="", description="Name of the container that it runs in, if any.")


class ListenerFacts(Frozen):
    """A TCP port that somebody listens on."""

    port: int
    pid: int | None = None
    command: str = ""
    container: str = ""


class FileFacts(Frozen):
    """A file or folder of ours on the node."""

    kind: Literal["file", "directory"]
    mode: str
    owner: str
    sha256: str = ""


class ContainerFacts(Frozen):
    """A container with our label, in any state.

    `config` and `spec` are the labels that npuctl wrote when it made the container: the hash over the
    planned container with its files, and the planned container itself as JSON (never a secret).
    """

    name: str
    id: str
    image: str
    state: str
    exit_code: int = 0
    restarts: int = 0
    restart_policy: str = ""
    started_at: str = ""
    engine: str = ""
    service: str = ""
    replica: int = 0
    port: int = 0
    config: str = ""
    spec: str = ""


class DockerFacts(Frozen):
    """The container engine of the node."""

    version: str = ""
    error: str = ""


class NodeFacts(Frozen):
    """Everything that one round trip told about one node."""

    hostname: str = ""
    simulated: bool = False
    os: str = ""
    kernel: str = ""
    architecture: str = ""
    boot_id: str = ""
    memory_total_mb: int = 0
    memory_available_mb: int = 0
    driver_on_disk: str = ""
    driver_running: str = ""
    npu_error: str = Field(default="", description="Why the chips could not be read, in the tool's words.")
    npu_table_complete: bool = Field(
        default=True, description="The table of chips was whole, to its last line."
    )
    chips: list[ChipFacts] = Field(default_factory=list)
    devices: list[str] = Field(default_factory=list)
    holders: list[HolderFacts] = Field(default_factory=list)
    listeners: list[ListenerFacts] = Field(default_factory=list)
    docker: DockerFacts = DockerFacts()
    images: list[str] = Field(default_factory=list)
    containers: list[ContainerFacts] = Field(default_factory=list)
    clusters: list[str] = Field(default_factory=list, description="Clusters that have files on the node.")
    files: dict[str, FileFacts] = Field(default_factory=dict)
    paths: dict[str, Literal["file", "directory", "other", "absent"]] = Field(default_factory=dict)
    free_bytes: dict[str, int] = Field(default_factory=dict)
    shared_memory: list[str] = Field(default_factory=list)
    setup: Setup | None = Field(
        default=None, description="What a provisioning look adds; never saved.", exclude=True
    )
    survey: Survey | None = Field(
        default=None, description="What a thorough look adds; None when none was taken."
    )


class Unreachable(Frozen):
    """A node that did not answer; what runs on it is unknown."""

    reason: str
    hint: str = ""


class ClusterFacts(Frozen):
    """Facts of all nodes that were asked, by inventory name."""

    schema_version: int = Field(default=SCHEMA, alias="schema", serialization_alias="schema")
    nodes: dict[str, NodeFacts] = Field(default_factory=dict)
    unreachable: dict[str, Unreachable] = Field(default_factory=dict)
    reach: Reach | None = Field(default=None, description="What the NPUs' probes of each other said.")

    @property
    def simulated(self) -> bool:
        """True when at least one node simulates its NPUs."""
        return any(node.simulated for node in self.nodes.values())


def facts_schema() -> dict[str, Any]:
    """The JSON Schema of a file of facts. Keys are added to it, never renamed; `schema` rises otherwise."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ClusterFacts.model_json_schema(mode="serialization"),
        "title": "npuctl facts",
    }
