"""Why a node's ports are not set: nothing is given twice, or taken from under who works over it. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

from npuctl.facts.model import ContainerFacts
from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, Node, Wish, Work
from npuctl.plan.provision.npu_addresses import Assignment, room_in
from npuctl.plan.provision.npu_ports import RECORD, Seen, record_trouble, unfit
from npuctl.plan.wording import process, ranges, several
from npuctl.spec.machines import NpuAddresses, address_in

# A change of these ends connections; the detect address is only what a port asks about its own health.
DISRUPTIVE = frozenset({"address", "netmask", "gateway", "tls", "mtu"})
_MOST_NAMES = 3
_USUAL_CHIPS = 8


def unsure_nodes(wish: Wish, spec: NpuAddresses, seen: Sequence[Seen]) -> list[str]:
    """Nodes whose ports may have addresses that nobody knows of; not those for which all were written."""
    asked = {one.node.name for one in seen}
    chips = max((len(one.ports) for one in seen), default=0) or _USUAL_CHIPS
    silent = [name for name in wish.nodes if name not in asked]
    blind = [one.node.name for one in seen if not one.sure]
    return [name for name in (*silent, *blind) if len(spec.nodes.get(name, {})) < chips]


def unfit_addresses(spec: NpuAddresses, seen: Seen) -> Iterator[Finding]:
    """Addresses that were written for chips which cannot have them."""
    planes = {port.chip: port.plane for port in seen.ports}
    for chip, address in spec.nodes.get(seen.node.name, {}).items():
        if chip in planes:
            pool = spec.pools[planes[chip]]
            if not address_in(address, pool):
                expected = f"an address in {pool.network}, the pool of this NPU"
                yield unfit(seen.node, f"{address} for NPU {chip}", expected)
        elif seen.described:
            there = f"NPUs of {seen.node.name} with a port: {ranges(planes) or 'none'}"
            yield unfit(seen.node, f"{address} for NPU {chip}, which has no port here", there)


def another_clusters(wish: Wish, node: Node) -> Iterator[Finding]:
    """What the ports had before is noted for one cluster only: it would be lost, or restored by the wrong one."""
    owner = node.setup.records.get(RECORD, {}).get("cluster")
    if owner in (None, wish.spec.name) or record_trouble(node):
        return
    yield Finding(
        id="provision.ports_other_cluster",
        severity="error",
        node=node.name,
        seen=f"its ports were set for cluster {owner}, as {RECORDS}/{RECORD}.json says, and would have to change",
        expected="a node whose ports one cluster sets, or the same npu_addresses in the specs of both",
        remedy=f"write them into the spec of {owner} and provision that; or give the node free first:"
        f" npuctl teardown --provision of {owner}",
    )


def lacking_addresses(
    wish: Wish, spec: NpuAddresses, seen: Seen, assigned: Assignment, unsure: Sequence[str]
) -> Iterator[Finding]:
    """Ports for which no address is left, or none that is free for sure."""
    name = seen.node.name
    lacking = [port for port in seen.ports if (name, port.chip) in assigned.lacking]
    doubtful = [port.chip for port in lacking if assigned.lacking[name, port.chip] == "unsure"]
    if doubtful:
        silent = several(unsure, _MOST_NAMES)
        yield Finding(
            id="provision.address_unsure",
            severity="error",
            node=name,
            seen=f"NPU {ranges(doubtful)} needs an address, and which ones {silent} has is not known",
            expected="an answer of every node before a new address is given",
            remedy=_way_to_know(wish, unsure, name),
        )
    for plane, pool in enumerate(spec.pools):
        chips = [port.chip for port in lacking if port.plane == plane and port.chip not in doubtful]
        if chips:
            yield Finding(
                id="provision.address_pool",
                severity="error",
                node=name,
                seen=f"no address of {pool.network} is left for NPU {ranges(chips)}: it has"
                f" {room_in(pool, spec)} for ports, counted from `first` on and without the network's own,"
                " broadcast, gateway and detect address",
                expected="an address for every port of the cluster",
                remedy="npu_addresses.pools: a larger network, or a lower `first`",
            )


def _way_to_know(wish: Wish, unsure: Sequence[str], name: str) -> str:
    left_out = [node for node in unsure if wish.asked and node not in wish.asked]
    silent = [node for node in unsure if node not in left_out]
    ways = [f"bring back {several(silent, _MOST_NAMES)} and run it again"] if silent else []
    if left_out:
        were, their = ("was", "its") if len(left_out) == 1 else ("were", "their")
        ways.append(
            f"{several(left_out, _MOST_NAMES)} {were} left out by --limit: run without it, or write {their} addresses"
        )
    return "; ".join([*ways, f"or write into npu_addresses.nodes which addresses {name} is to have"])


def in_use(wish: Wish, node: Node, disturbed: Mapping[int, Sequence[str]]) -> Iterator[Finding]:
    """Who works over ports that would change under him; `disturbed` is chip → keys that change."""
    ours = {entry.name: entry for entry in node.facts.containers}
    users = {
        name: _chips_of(ours[name], node) & set(disturbed)
        for name in node.running
        if _uses_network(ours[name], wish)
    }
    for holder in node.facts.holders:
        if holder.container not in ours and holder.chip in disturbed:
            who = process(holder.pid, holder.container, holder.command)
            users[who] = users.get(who, set()) | {holder.chip}
    chips = sorted(set().union(*users.values()))
    if not chips:
        return
    keys = list(dict.fromkeys(key for chip in chips for key in disturbed[chip]))
    names = several([name for name, touched in users.items() if touched], _MOST_NAMES)
    yield Finding(
        id="provision.ports_in_use",
        severity="error",
        node=node.name,
        seen=f"{names} would lose connections: {', '.join(keys)} of NPU {ranges(chips)} would change",
        expected="nobody who works with an NPU whose port is set anew",
        remedy=f"stop what runs on {node.name} (npuctl stop), run it again, and start it afterwards",
    )


def _uses_network(container: ContainerFacts, wish: Wish) -> bool:
    """Whether a container of ours talks to other nodes' NPUs."""
    spans = {entry.name for entry in wish.spec.services if entry.topology.nodes_per_replica > 1}
    if container.service in spans or wish.spec.npu_network == "required":
        return True
    return any(mount.get("source") == HCCN_CONF for mount in _planned(container).get("mounts", []))


def _chips_of(container: ContainerFacts, node: Node) -> set[int]:
    """The chips that it was given; all of the node where its label does not tell."""
    devices = _planned(container).get("devices")
    if devices is None:
        return {chip.id for chip in node.facts.chips}
    numbers = (str(path).removeprefix("/dev/davinci") for path in devices)
    return {int(number) for number in numbers if number.isdecimal()}


def _planned(container: ContainerFacts) -> dict[str, Any]:
    try:
        found = json.loads(container.spec)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def refuse_what_is_held(works: MutableMapping[str, Work], seen: Sequence[Seen], assigned: Assignment) -> None:
    """A node that is refused keeps what it has: whoever was to get it is refused as well, and so on."""
    holders: dict[str, set[str]] = defaultdict(set)
    for one in seen:
        for port in one.held:
            for address in port.held:
                holders[address].add(one.node.name)
    again = True
    while again:
        again = False
        for (name, chip), address in assigned.addresses.items():
            blocking = sorted(other for other in holders[address] - {name} if refused(works[other]))
            if blocking and not refused(works[name]):
                finding = _held(name, chip, address, blocking[0])
                works[name] = replace(works[name], findings=(*works[name].findings, finding))
                again = True


def refused(work: Work) -> bool:
    """Whether an error stands in its way."""
    return any(finding.refuses for finding in work.findings)


def _held(name: str, chip: int, address: str, other: str) -> Finding:
    return Finding(
        id="provision.address_held",
        severity="error",
        node=name,
        npu=chip,
        seen=f"{address}, which is meant for it, is still an NPU's of {other}, and that node is refused",
        expected="an address that no other NPU has",
        remedy=f"mend what is said of {other} and run it again",
    )
