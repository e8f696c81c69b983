"""Who probes whom over the NPU network, and the nodes' answers as one `Reach`. Pure.

Up to FULL_NODES nodes every NPU probes every NPU of the other nodes. Above, that is a number that grows with
the square of the cluster (258,048 for 64 nodes with 8 NPUs), and a sample does what the proof is for, naming
a bad card: each NPU probes one NPU on each of 2 x len(STRIDES) other nodes and is probed by as many, of
changing numbers, so that ports of one rail and of different rails meet. A card that is bad loses all of
these; a good one would be taken for bad only if nearly all of its partners, which stand in different servers,
were bad themselves. The nodes stand in a ring and probe at the distances STRIDES to both sides, so that the
sample is one connected net and a cluster in two halves shows. What a sample does not see is a fault of one
pair between good cards: for that, ask for all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from npuctl.facts.model import ClusterFacts, NodeFacts
from npuctl.facts.reach import Outcome, Plane, Port, Probe, Reach, Source
from npuctl.facts.survey import Survey
from npuctl.hardware.catalog import ATLAS_950, Product, identify
from npuctl.hardware.hccn_ping import parse_hccs_ping, parse_ping
from npuctl.hardware.unreadable import UnreadableError

FULL_NODES = 8
STRIDES = (1, 2, 4, 8)
_MOST_WORDS = 160

Card = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Target:
    """One probe to make."""

    peer: Card
    plane: Plane
    address: str


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Every probe of one look.

    Attributes:
        targets: node → chip → its probes, in the order in which they are to be made.
        skipped: node → why none of its ports takes part.
        pairs: ordered pairs of ports of different nodes, probed or not.
    """

    ports: tuple[Port, ...]
    targets: Mapping[str, Mapping[int, Sequence[Target]]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    sampled: bool = False
    pairs: int = 0

    @property
    def probes(self) -> int:
        """How many probes there are to make."""
        return sum(len(own) for chips in self.targets.values() for own in chips.values())


def plan_probes(facts: ClusterFacts, *, all_pairs: bool = False) -> ProbePlan:
    """Which port probes which address; nothing where fewer than two nodes have ports with an address.

    Args:
        facts: with surveys; a node without one is skipped.
        all_pairs: probe every pair also above FULL_NODES.
    """
    ports: list[Port] = []
    skipped: dict[str, str] = {}
    for name, node in facts.nodes.items():
        own, why = _ports_of(name, node)
        ports += own
        if why:
            skipped[name] = why
    nodes = list(dict.fromkeys(port.node for port in ports))
    sampled = len(nodes) > FULL_NODES and not all_pairs
    targets: dict[str, dict[int, list[Target]]] = {}
    for source, peer in partners(ports, sampled=sampled):
        plane, address = _way(source, peer)
        target = Target((peer.node, peer.chip), plane, address)
        targets.setdefault(source.node, {}).setdefault(source.chip, []).append(target)
    return ProbePlan(tuple(ports), targets, skipped, sampled, _count_pairs(ports))


def partners(ports: Sequence[Port], *, sampled: bool) -> Iterator[tuple[Port, Port]]:
    """Who probes whom, for these ports; the same ports give the same pairs.

    Probes that are made at one time go to different ports: each port begins at another one.
    """
    by_node: dict[str, list[Port]] = {}
    for port in ports:
        by_node.setdefault(port.node, []).append(port)
    nodes = list(by_node.values())
    for position, own in enumerate(nodes):
        for turn, stride in enumerate(_strides(len(nodes), sampled=sampled)):
            peers = nodes[(position + stride) % len(nodes)]
            if not sampled:
                yield from (
                    (port, peers[(at + turn + step) % len(peers)])
                    for at, port in enumerate(own)
                    for step in range(len(peers))
                )
                continue
            # As many as the larger node has, so that every port of both takes part.
            for at in range(max(len(own), len(peers))):
                yield own[at % len(own)], peers[(at + turn) % len(peers)]


def _strides(nodes: int, *, sampled: bool) -> list[int]:
    if not sampled:
        return list(range(1, nodes))
    # In a small ring some of them are the same way round: others make up for those.
    ways = [way % nodes for stride in (*STRIDES, *range(1, nodes)) for way in (stride, -stride)]
    return [way for way in dict.fromkeys(ways) if way][: 2 * len(STRIDES)]


def _count_pairs(ports: Sequence[Port]) -> int:
    by_node: dict[str, int] = {}
    for port in ports:
        by_node[port.node] = by_node.get(port.node, 0) + 1
    return sum(count * (len(ports) - count) for count in by_node.values())


def _way(source: Port, peer: Port) -> tuple[Plane, str]:
    inside = source.super_pod is not None and source.super_pod == peer.super_pod
    if inside and source.vnic_address and peer.vnic_address:
        return "hccs", peer.vnic_address
    return "roce", peer.address


def _ports_of(name: str, node: NodeFacts) -> tuple[list[Port], str]:
    product = identify([chip.name for chip in node.chips], len(node.chips))
    survey = node.survey
    if survey is None:
        return [], "its ports were not read"
    if why := _no_network(product):
        return [], why
    listed = {chip.id for chip in node.chips}  # one that dropped off has a device node, and no port any more
    ports = [port for port in _ports(name, survey) if port.chip in listed]
    return ports, "" if ports else "none of its ports has an address"


def _no_network(product: Product | None) -> str:
    if product is None:
        return "its NPUs are of no product that npuctl knows"
    if not product.network_mounts:
        return "its NPUs have no network of their own"
    # Its hccn_tool wants other words and a port of a die; no output of a real one is at hand.
    return "how a 950 probes is not known" if product is ATLAS_950 else ""


def _ports(name: str, survey: Survey) -> list[Port]:
    configured = {port.chip: port.address for port in survey.configured_ports if port.address}
    super_pods = {chip.id: chip.super_pod_id for chip in survey.chips}
    ports = []
    for port in sorted(survey.ports, key=lambda port: port.chip):
        super_pod = super_pods.get(port.chip) if port.vnic_address else None
        source: Source = "hccn.conf" if port.chip in configured else "device"
        address = configured.get(port.chip, port.address)
        if address or super_pod is not None:
            ports.append(
                Port(
                    node=name,
                    chip=port.chip,
                    address=address or port.vnic_address,
                    source=source if address else "vnic",
                    super_pod=super_pod,
                    vnic_address=port.vnic_address,
                )
            )
    return ports


@dataclass(frozen=True, slots=True)
class NodeAnswer:
    """What one node's probes said.

    Attributes:
        chips: chip → one entry a probe, in the plan's order: None where it came back whole, else the tool's
            last answer (library/npuctl_reach.py).
        error: why the node could not be asked.
    """

    chips: Mapping[str, Sequence[Mapping[str, Any] | None]] = field(default_factory=dict)
    repeated: int = 0
    error: str = ""


def read_reach(plan: ProbePlan, answers: Mapping[str, NodeAnswer], *, seconds: float) -> Reach:
    """The nodes' answers, typed and counted. A node that gave none is among those skipped."""
    ports = {(port.node, port.chip): [0, 0, 0, 0] for port in plan.ports}  # to: asked, ok; from: asked, ok
    probes: list[Probe] = []
    planes: set[Plane] = set()
    for node, chips in plan.targets.items():
        answer = answers.get(node, NodeAnswer(error="it was not asked"))
        if answer.error:
            continue
        for chip, targets in chips.items():
            said = answer.chips.get(str(chip), ())
            for at, target in enumerate(targets):
                planes.add(target.plane)
                raw = said[at] if at < len(said) else {"text": "no answer"}
                whole = raw is None
                probe = None if raw is None else _probe((node, chip), target, raw)
                if probe is not None and probe.outcome == "ok":
                    whole, probe = True, None
                to, own = ports[target.peer], ports[node, chip]
                to[0] += 1
                to[1] += whole
                own[2] += 1
                own[3] += whole
                probes += [probe] if probe else []
    counted = [_counted(port, ports[port.node, port.chip]) for port in plan.ports]
    silent = {node: answer.error for node, answer in answers.items() if answer.error}
    return Reach(
        plane="mixed" if len(planes) > 1 else next(iter(planes), "roce"),
        asked_of=[node for node in plan.targets if node in answers and node not in silent],
        pairs=plan.pairs,
        sampled=plan.sampled,
        asked=sum(port.from_asked for port in counted),
        ok=sum(port.from_ok for port in counted),
        repeated=sum(answer.repeated for answer in answers.values()),
        ports=counted,
        probes=probes,
        skipped={**plan.skipped, **silent},
        seconds=round(seconds, 3),
    )


def _counted(port: Port, counts: Sequence[int]) -> Port:
    names = ("to_asked", "to_ok", "from_asked", "from_ok")
    return port.model_copy(update=dict(zip(names, counts, strict=True)))


def _probe(source: Card, target: Target, raw: Mapping[str, Any]) -> Probe:
    outcome, loss, why = _outcome(target.plane, str(raw.get("text", "")))
    return Probe(
        node=source[0],
        chip=source[1],
        peer_node=target.peer[0],
        peer_chip=target.peer[1],
        address=target.address,
        plane=target.plane,
        outcome=outcome,
        loss_percent=loss,
        why=why,
    )


def _outcome(plane: Plane, text: str) -> tuple[Outcome, float | None, str]:
    """The figures decide, not the exit code: -hccs_ping ends well when everything was lost."""
    try:
        ping = parse_hccs_ping(text) if plane == "hccs" else parse_ping(text)
    except UnreadableError as error:
        words = " ".join(text.split())[:_MOST_WORDS]
        return "unread", None, words or str(error)
    if ping.lossless:
        return "ok", ping.loss_percent, ""
    if not ping.transmitted:
        return "unread", None, "no packet was sent"
    why = "Destination Host Unreachable" if ping.unreachable else ""
    return ("partly" if ping.received else "lost"), ping.loss_percent, why
