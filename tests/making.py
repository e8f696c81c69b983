"""Specs, nodes and facts for tests: complete, valid and short to vary."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from npuctl.facts.model import (
    ChipFacts,
    ClusterFacts,
    ContainerFacts,
    DockerFacts,
    FileFacts,
    HolderFacts,
    ListenerFacts,
    NodeFacts,
)
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.build import build_plan, resolve_hosts
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import Plan, Replica, Step, cluster_root
from npuctl.remote.inventory import Host, Inventory
from npuctl.spec.models import ClusterSpec, Service
from npuctl.spec.parse import KEY, parse_cluster

REPOSITORY = Path(__file__).resolve().parent.parent
FILE = "cluster.yml"
GIB = 1024
_CHIPS = {
    "a2": (8, "910B3", 3400, 65536),
    "a3": (16, "Ascend910", 3000, 65536),
    "310p": (8, "310P3", 1900, 44280),
}
_BUSY_MB = 50000


def service_data(name: str = "chat", **changes: Any) -> dict[str, Any]:
    """A service as a person writes it."""
    return {
        "name": name,
        "engine": "vllm",
        "version": "v0.18.0",
        "model": {"id": "Qwen/Qwen3-0.6B", "path": "/data/models/Qwen3-0.6B"},
        "hosts": ["node-1"],
        **changes,
    }


def service(name: str = "chat", **changes: Any) -> Service:
    """A service, parsed."""
    return spec_of(service_data(name, **changes)).services[0]


def cluster_text(*services: Mapping[str, Any], name: str = "prod", **more: Any) -> str:
    """The text of a cluster.yml."""
    own = [dict(entry) for entry in services]
    return yaml.safe_dump({KEY: {"name": name, "services": own, **more}}, sort_keys=False)


def spec_of(*services: Mapping[str, Any], name: str = "prod") -> ClusterSpec:
    """A spec, parsed from its text."""
    return parse_cluster(cluster_text(*services, name=name), file=FILE)


def chips(product: str = "a2", count: int | None = None, **changes: Any) -> list[ChipFacts]:
    """The chips of a server as npu-smi shows them when nothing runs."""
    most, name, used, total = _CHIPS[product]
    by_card = 1 if product == "a2" else 2
    base: dict[str, Any] = {"name": name, "health": "OK", "memory_used_mb": used, "memory_total_mb": total}
    return [
        ChipFacts(id=number, npu=number // by_card, chip=number % by_card, **(base | changes))
        for number in range(count or most)
    ]


def node(product: str = "a2", *, count: int | None = None, **changes: Any) -> NodeFacts:
    """A healthy server on which nothing runs."""
    paths = dict.fromkeys(paths_to_look_at([]), "directory") | {"/data/models/Qwen3-0.6B": "directory"}
    own: dict[str, Any] = {
        "hostname": "server",
        "os": "openEuler 22.03",
        "architecture": "aarch64",
        "memory_total_mb": 1024 * GIB,
        "memory_available_mb": 900 * GIB,
        "driver_running": "25.5.2",
        "driver_on_disk": "25.5.2",
        "chips": chips(product, count),
        "docker": DockerFacts(version="24.0.9"),
        "images": [f"quay.io/ascend/vllm-ascend:v0.18.0{entry.image_suffix}" for entry in PRODUCTS],
        "paths": paths,
        "free_bytes": {"/": 2**40},
    }
    return NodeFacts.model_validate(own | changes)


def facts_of(**nodes: NodeFacts) -> ClusterFacts:
    """Facts of nodes; an underscore in a name stands for a dash."""
    return ClusterFacts(nodes={name.replace("_", "-"): found for name, found in nodes.items()})


def plan_of(
    spec: ClusterSpec,
    facts: ClusterFacts,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Plan:
    """The plan, with every node of the facts (answering or not) in the inventory."""
    names = [*facts.nodes, *facts.unreachable]
    hosts = resolve_hosts(spec, {"serving": names, **(groups or {})}, names, file=FILE)
    return build_plan(spec, hosts, facts, secrets or {}, file=FILE)


def container_of(replica: Replica, **changes: Any) -> ContainerFacts:
    """The container of a replica as the node shows it when it runs as planned."""
    labels = replica.container.labels
    own: dict[str, Any] = {
        "name": replica.container.name,
        "id": "ab" * 32,
        "image": replica.container.image,
        "state": "running",
        "restart_policy": "always",
        "engine": labels["npuctl.engine"],
        "service": labels["npuctl.service"],
        "replica": int(labels["npuctl.replica"]),
        "port": int(labels["npuctl.port"]),
        "config": labels["npuctl.config"],
        "spec": labels["npuctl.spec"],
    }
    return ContainerFacts.model_validate(own | changes)


def after_apply(plan: Plan, facts: ClusterFacts) -> ClusterFacts:
    """The facts that the nodes show once the plan was carried out: containers, files, processes, ports."""
    return facts.model_copy(
        update={"nodes": {name: _applied(name, found, plan) for name, found in facts.nodes.items()}}
    )


def _applied(name: str, before: NodeFacts, plan: Plan) -> NodeFacts:
    steps = [step for step in plan.steps if step.node == name]
    gone = [step for step in steps if step.action == "remove"]
    left = {found.name: found for found in before.containers if found.name not in {s.container for s in gone}}
    files = {path: file for path, file in before.files.items() if not _below(path, gone)}
    for step in steps:
        if step.replica is not None:
            left[step.container] = container_of(step.replica)
            files |= {
                file.path: FileFacts(kind=file.kind, mode=file.mode, owner=file.owner, sha256=file.sha256)
                for file in step.replica.files
            }
    ours = {found.name for found in before.containers} | set(left)
    holders = [entry for entry in before.holders if entry.container not in ours]
    listeners = [entry for entry in before.listeners if entry.container not in ours]
    busy: set[int] = set()
    for position, found in enumerate(left.values()):
        held = [
            text for text in json.loads(found.spec)["devices"] if text.removeprefix("/dev/davinci").isdigit()
        ]
        numbers = [int(text.removeprefix("/dev/davinci")) for text in held]
        busy.update(numbers)
        pid = 1000 + position
        holders += [
            HolderFacts(chip=number, pid=pid, command="VLLM::Worker", container=found.name)
            for number in numbers
        ]
        listeners.append(ListenerFacts(port=found.port, pid=pid, command="vllm serve", container=found.name))
    return before.model_copy(
        update={
            "containers": list(left.values()),
            "files": files,
            "holders": holders,
            "listeners": listeners,
            "clusters": sorted({*before.clusters, plan.cluster}),
            "chips": [
                chip.model_copy(update={"memory_used_mb": _BUSY_MB}) if chip.id in busy else chip
                for chip in before.chips
            ],
        }
    )


def _below(path: str, steps: Sequence[Step]) -> bool:
    return any(path == step.directory or path.startswith(f"{step.directory}/") for step in steps)


def root_files(cluster: str = "prod") -> dict[str, FileFacts]:
    """The folder of a cluster on a node."""
    return {cluster_root(cluster): FileFacts(kind="directory", mode="0755", owner="root:root")}


def inventory_of(
    folder: Path, spec: ClusterSpec, *names: str, secrets: dict[str, str] | None = None
) -> Inventory:
    """An inventory without files; `names` are its hosts."""
    own = {name: Host(name, f"{name}.example", user="admin") for name in names or ("node-1",)}
    return Inventory(
        folder=folder,
        spec=spec,
        spec_file=FILE,
        hosts=own,
        groups={"all": list(own), "serving": list(own)},
        secrets=secrets or {},
    )


def actions(plan: Plan) -> dict[str, str]:
    """Replica → action."""
    return {step.name: step.action for step in plan.steps}
