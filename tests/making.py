"""Specs, nodes and facts for tests: complete, valid and short to vary."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
from npuctl.facts.reach import Outcome, Probe, Reach
from npuctl.facts.survey import (
    ChipSurvey,
    ConfiguredPort,
    DeviceNode,
    DiskFacts,
    HostFacts,
    NicFacts,
    PortFacts,
    ShardFacts,
    Survey,
    WeightsFacts,
)
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.build import build_plan, resolve_hosts
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import Plan, Replica, Step, cluster_root
from npuctl.plan.reach import Card, plan_probes
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


def host(number: int = 1, **changes: Any) -> HostFacts:
    """The machine around the NPUs of the node of that number, well set."""
    address = f"10.0.0.{number}"
    own: dict[str, Any] = {
        "clock_offset_seconds": 0.01,
        "clock_doubt_seconds": 0.005,
        "nics": [
            NicFacts(name="lo", kind="loopback", up=True, mtu=65536, addresses=["127.0.0.1", "::1"]),
            NicFacts(name="eth0", kind="physical", up=True, mtu=1500, addresses=[address]),
            NicFacts(name="docker0", kind="bridge", up=True, mtu=1400, addresses=["172.17.0.1"]),
        ],
        "hostname_addresses": [address],
        "disks": [
            DiskFacts(path="/", holds=["root", "npuctl"], free_bytes=2**40),
            DiskFacts(path="/var/lib/docker", holds=["docker"], free_bytes=2**40),
            DiskFacts(path="/data", holds=["model:/data/models/Qwen3-0.6B"], free_bytes=2**40),
        ],
        "device_nodes": [
            DeviceNode(path=path, mode="0660", owner="HwHiAiUser", group="HwHiAiUser")
            for path in PRODUCTS[0].devices(range(8))
        ],
        "sysctl": {
            "vm.swappiness": "0",
            "kernel.numa_balancing": "0",
            "net.ipv4.ip_local_port_range": "32768 60999",
            "net.ipv4.ip_local_reserved_ports": "60000-60127",
        },
        "transparent_hugepages": "always",
        "governors": ["performance"],
        "cpus": 192,
        "uid": 0,
        "docker_root": "/var/lib/docker",
        "docker_runtimes": {"runc": "runc"},
        "docker_default_runtime": "runc",
    }
    return HostFacts.model_validate(own | changes)


def on_network(index: int, product: str = "a2", *, count: int | None = None, **of_chip: Any) -> NodeFacts:
    """A healthy server whose NPUs have a network; `c3={...}` changes what the port of chip 3 says now.

    `saved_c3={...}` changes its lines in hccn.conf, `survey={...}` the rest of what was read.
    """
    own = chips(product, count)
    ports, saved = [], []
    for chip in own:
        settings = {
            "chip": chip.id,
            "address": f"10.{20 + chip.chip}.{index}.{11 + chip.id}",
            "netmask": "255.255.0.0",
            "gateway": f"10.{20 + chip.chip}.255.1",
            "detect_address": f"10.{20 + chip.chip}.255.1",
            "tls_switch": 0,
        }
        vnic = {"vnic_address": f"192.{index}.{2 + chip.chip}.{199 - chip.id}", "vnic_link": "UP"}
        state = {"link": "UP", "net_health": "Success", "mtu": 1500, **(vnic if product == "a3" else {})}
        ports.append(PortFacts.model_validate({**settings, **state, **of_chip.get(f"c{chip.id}", {})}))
        saved.append(ConfiguredPort.model_validate({**settings, **of_chip.get(f"saved_c{chip.id}", {})}))
    asked = [
        ChipSurvey(id=chip.id, npu=chip.npu, chip=chip.chip, super_pod_id=0 if product == "a3" else None)
        for chip in own
    ]
    read = {"chips": asked, "ports": ports, "configured_ports": saved, **of_chip.get("survey", {})}
    return node(product, count=count, survey=Survey.model_validate(read))


def network_of(*nodes: NodeFacts) -> ClusterFacts:
    """A cluster of such servers, node-1 and so on."""
    return ClusterFacts(nodes={f"node-{number}": found for number, found in enumerate(nodes, start=1)})


def reach_of(facts: ClusterFacts, says: Callable[[Card, Card], Outcome], *, all_pairs: bool = False) -> Reach:
    """What probes of this cluster's NPUs come to, when `says` tells what each (source, peer) gives."""
    plan = plan_probes(facts, all_pairs=all_pairs)
    probes, counts = [], {(port.node, port.chip): [0, 0, 0, 0] for port in plan.ports}
    for name, sources in plan.targets.items():
        for chip, targets in sources.items():
            for target in targets:
                outcome = says((name, chip), target.peer)
                probe = Probe(
                    node=name,
                    chip=chip,
                    peer_node=target.peer[0],
                    peer_chip=target.peer[1],
                    address=target.address,
                    plane=target.plane,
                    outcome=outcome,
                    why="hccn_tool is busy, please try again." if outcome == "unread" else "",
                )
                probes += [] if outcome == "ok" else [probe]
                for place, card in ((0, target.peer), (2, (name, chip))):
                    counts[card][place] += 1
                    counts[card][place + 1] += outcome == "ok"
    names = ("to_asked", "to_ok", "from_asked", "from_ok")
    return Reach(
        asked_of=list(plan.targets),
        pairs=plan.pairs,
        sampled=plan.sampled,
        asked=plan.probes,
        ok=plan.probes - len(probes),
        ports=[
            port.model_copy(update=dict(zip(names, counts[port.node, port.chip], strict=True)))
            for port in plan.ports
        ],
        probes=probes,
        skipped=dict(plan.skipped),
        seconds=1.9,
    )


def weights(size: int, path: str = "/data/models/Qwen3-0.6B") -> dict[str, WeightsFacts]:
    """A whole model of one file with that many bytes of tensors."""
    shard = ShardFacts(size_bytes=size, data_bytes=size, tensor_bytes=size, header_sha256="a")
    return {
        path: WeightsFacts(
            path=path,
            config={"num_attention_heads": 8},
            config_sha256="c",
            shards={"model.safetensors": shard},
        )
    }


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
