"""Which replica sits on which node, chips and port.

Order: chips that a person wrote, then chips that a running replica already has, then free chips. A replica
that is there is never moved by the arrival of another one: moving costs an hour of loading weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from npuctl.facts.model import ChipFacts, NodeFacts
from npuctl.hardware.catalog import Product
from npuctl.plan.model import container_name
from npuctl.spec.models import ClusterSpec, Service


@dataclass(frozen=True, slots=True)
class Place:
    """One replica's place. `chips` are device numbers (/dev/davinciN) in rank order."""

    service: str
    index: int
    node: str
    chips: tuple[int, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a replica cannot be placed, or two cannot live together."""

    service: str
    node: str
    message: str
    hint: str
    npu: int | None = None


@dataclass(slots=True)
class _Node:
    """A node while it is being filled."""

    facts: NodeFacts
    product: Product | None
    taken: dict[int, str] = field(default_factory=dict)
    ports: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """What follows from the spec alone: which replica goes to which node, as its how-many-eth there."""

    service: Service
    index: int
    node: str
    local: int

    @property
    def name(self) -> str:
        """SERVICE-INDEX."""
        return f"{self.service.name}-{self.index}"

    @property
    def size(self) -> int:
        """Chips that it needs."""
        return self.service.topology.chips

    @property
    def port(self) -> int:
        """The service's port for its first replica on a node, counting up for the next ones."""
        return self.service.port + self.local


def place(
    spec: ClusterSpec,
    hosts: Mapping[str, Sequence[str]],
    nodes: Mapping[str, tuple[NodeFacts, Product | None]],
) -> tuple[list[Place], list[Conflict]]:
    """Place every replica whose node is known.

    Args:
        spec: the cluster.
        hosts: for each service, its hosts in rank order.
        nodes: facts and product of every node that answered; replicas on others are left out.

    Returns:
        The places in the order of the spec, and every conflict found.
    """
    rooms = {name: _Node(facts, product) for name, (facts, product) in nodes.items()}
    wanted = [wish for wish in wishes(spec, hosts) if wish.node in rooms]
    chosen: dict[tuple[str, int], tuple[int, ...]] = {}
    conflicts: list[Conflict] = []
    fresh: list[Wish] = []
    for wish in wanted:
        if wish.service.chips is not None:
            conflicts += _take_written(wish, rooms[wish.node], chosen)
    for wish in wanted:
        if wish.service.chips is not None:
            continue
        kept = _present_chips(wish, rooms[wish.node], spec.name)
        if kept is None:
            fresh.append(wish)
        else:
            rooms[wish.node].taken.update(dict.fromkeys(kept, wish.name))
            chosen[wish.service.name, wish.index] = kept
    for wish in fresh:
        conflicts += _take_free(wish, rooms[wish.node], chosen)
    for wish in wanted:
        conflicts += _take_port(wish, rooms[wish.node])
    places = [
        Place(wish.service.name, wish.index, wish.node, chosen[wish.service.name, wish.index], wish.port)
        for wish in wanted
        if (wish.service.name, wish.index) in chosen
    ]
    return places, conflicts


def wishes(spec: ClusterSpec, hosts: Mapping[str, Sequence[str]]) -> Iterator[Wish]:
    """Every replica with its node: replica i of a service goes to the i-th of its hosts, round and round."""
    for service in spec.services:
        names = hosts[service.name]
        for index in range(service.replicas):
            yield Wish(service, index, names[index % len(names)], index // len(names))


def _take_written(
    wish: Wish, room: _Node, chosen: dict[tuple[str, int], tuple[int, ...]]
) -> Iterator[Conflict]:
    written = wish.service.chips or []
    chips = tuple(written[wish.local * wish.size : (wish.local + 1) * wish.size])
    if len(chips) < wish.size:
        yield Conflict(
            wish.service.name,
            wish.node,
            f"{wish.name} is replica {wish.local + 1} on this node and needs {wish.size} chips;"
            f" chips lists {len(written)} in all",
            "list more chips, or lower replicas",
        )
        return
    present = {chip.id for chip in room.facts.chips}
    for chip in chips:
        if chip not in present:
            yield Conflict(
                wish.service.name, wish.node, f"{wish.name} wants chip {chip}; the node has no such chip",
                f"chips of this node: {_listed(sorted(present))}", npu=chip,
            )  # fmt: skip
        elif chip in room.taken:
            yield Conflict(
                wish.service.name, wish.node, f"{wish.name} and {room.taken[chip]} both want chip {chip}",
                "give each service chips of its own", npu=chip,
            )  # fmt: skip
    room.taken.update({chip: wish.name for chip in chips if chip not in room.taken})
    chosen[wish.service.name, wish.index] = chips


def _present_chips(wish: Wish, room: _Node, cluster: str) -> tuple[int, ...] | None:
    """The chips that this replica's container has, where they still fit; None where it must be placed anew."""
    name = container_name(cluster, wish.service.name, wish.index)
    container = next((entry for entry in room.facts.containers if entry.name == name), None)
    if container is None:
        return None
    chips = chips_of_label(container.spec)
    present = {chip.id for chip in room.facts.chips}
    fits = len(chips) == wish.size and set(chips) <= present and not set(chips) & set(room.taken)
    return chips if fits else None


def chips_of_label(text: str) -> tuple[int, ...]:
    """The chips in a container's npuctl.spec label; none when the label cannot be read."""
    try:
        devices = json.loads(text)["devices"]
        return tuple(
            int(device.removeprefix("/dev/davinci"))
            for device in devices
            if device.removeprefix("/dev/davinci").isdigit()
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def _take_free(wish: Wish, room: _Node, chosen: dict[tuple[str, int], tuple[int, ...]]) -> Iterator[Conflict]:
    unusable = {chip.id: why for chip in room.facts.chips if (why := _unusable(chip, room))}
    free = [chip.id for chip in room.facts.chips if chip.id not in room.taken and chip.id not in unusable]
    chips = _choose(sorted(free), wish.size)
    if chips is None:
        reasons = [f"{chip}: {who}" for chip, who in sorted(room.taken.items())]
        reasons += [f"{chip}: {why}" for chip, why in sorted(unusable.items()) if chip not in room.taken]
        detail = f" ({'; '.join(reasons)})" if reasons else ""
        yield Conflict(
            wish.service.name, wish.node,
            f"{wish.name} needs {wish.size} free chips; {len(free)} of {len(room.facts.chips)} are free{detail}",
            "lower replicas or topology, or use another node",
        )  # fmt: skip
        return
    room.taken.update(dict.fromkeys(chips, wish.name))
    chosen[wish.service.name, wish.index] = chips


def _unusable(chip: ChipFacts, room: _Node) -> str:
    """Why a chip is not given to a new replica; empty when it may be."""
    if chip.health not in {"OK", "Warning"}:
        return f"health {chip.health}"
    ours = {container.name for container in room.facts.containers}
    holders = [holder for holder in room.facts.holders if holder.chip == chip.id]
    foreign = [holder for holder in holders if holder.container not in ours]
    if foreign:
        return f"held by pid {foreign[0].pid} ({foreign[0].command[:40]})"
    ceiling = room.product.idle_memory_mb if room.product else None
    if not holders and ceiling is not None and chip.memory_used_mb > ceiling:
        return f"{chip.memory_used_mb} MB of HBM in use without a visible process"
    return ""


def _choose(free: Sequence[int], size: int) -> tuple[int, ...] | None:
    """`size` chips: an aligned run first (both dies of an A3 card, one HCCS ring), then any run, then any."""
    if len(free) < size:
        return None
    pool = set(free)
    runs = [chip for chip in free if pool.issuperset(range(chip, chip + size))]
    for start in sorted(runs, key=lambda chip: (chip % size != 0, chip)):
        return tuple(range(start, start + size))
    return tuple(free[:size])


def _take_port(wish: Wish, room: _Node) -> Iterator[Conflict]:
    port = wish.port
    if port > 65535:  # noqa: PLR2004  the highest TCP port
        yield Conflict(wish.service.name, wish.node, f"{wish.name} would get port {port}", "lower port")
    elif port in room.ports:
        yield Conflict(
            wish.service.name, wish.node, f"{wish.name} and {room.ports[port]} both want port {port}",
            "a service uses port, port+1, … for its replicas on one node; set them apart",
        )  # fmt: skip
    room.ports.setdefault(port, wish.name)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers) or "none"
