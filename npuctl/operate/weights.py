"""Weights: fetched once, handed on from node to node, given their names by a play."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from npuctl.facts.model import ClusterFacts
from npuctl.operate.progress import Emit, Notice
from npuctl.operate.record import Change
from npuctl.operate.weights_origin import Fetcher, Origin, OriginError
from npuctl.plan.describe import describe_findings
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Node, Wish, Work
from npuctl.plan.provision.build import ProvisionPlan
from npuctl.plan.provision.weights import (
    Store,
    chain,
    published,
    representatives,
    role_variables,
    stores,
    work,
)
from npuctl.plan.provision.weights_findings import cut_off
from npuctl.plan.provision.weights_manifest import compare, placed
from npuctl.remote.inspect import inspect_nodes
from npuctl.remote.inventory import Inventory
from npuctl.remote.transfer import Copied, Copy, WorkError, copy
from npuctl.runner.provision_source import PLAYBOOK, provision_source

_BITS = 8


@dataclass(slots=True)
class WeightsResult:
    """How the weights came to the nodes.

    Attributes:
        failed: node → why it has not got what it should have.
        findings: what was found on the way: sources that refuse, nodes that cannot reach each other.
        received: node → bytes that came in this run, over all folders.
        fetched: folders whose weights were taken from their source in this run.
    """

    failed: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    received: dict[str, int] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)


def provide_weights(
    inventory: Inventory, wish: Wish, nodes: Sequence[str], emit: Emit, change: Change
) -> WeightsResult:
    """Bring every model's folder to the nodes that lack something of it, one model after the other.

    Args:
        inventory: how to reach the nodes.
        wish: what was written.
        nodes: those with something to do; others that have the weights hand them on.
        emit: takes progress.
        change: the record of this run; plays what gives files their names, or removes them.
    """
    result = WeightsResult()
    facts = _look(inventory, wish, emit)
    known = [Node(name, node, node.setup) for name, node in facts.nodes.items() if node.setup is not None]
    wanted = [node for node in known if node.name in nodes]
    if wish.removing:
        _play(inventory, facts, work(wish, wanted), emit, change)
        return result
    for store in stores(wish):
        _provide(_Task(inventory, wish, store, known, frozenset(nodes), facts), result, emit, change)
    return result


@dataclass(frozen=True, slots=True)
class _Task:
    """One folder, and everything known about it."""

    inventory: Inventory
    wish: Wish
    store: Store
    known: Sequence[Node]
    nodes: frozenset[str]
    facts: ClusterFacts

    @property
    def targets(self) -> list[Node]:
        """The nodes that should have the folder, one for each file system."""
        return representatives(self.store, [node for node in self.known if node.name in self.store.nodes])


def _look(inventory: Inventory, wish: Wish, emit: Emit) -> ClusterFacts:
    """Read the models' folders on every node: one that is not meant now may have what the others lack."""
    request = {"stores": sorted(store.path for store in stores(wish))}
    return inspect_nodes(
        inventory, list(wish.nodes), setup=request, tell=lambda text: emit(Notice("weights", text))
    )


def _provide(task: _Task, result: WeightsResult, emit: Emit, change: Change) -> None:
    store = task.store
    meant = [node for node in task.targets if node.name in task.nodes and node.name not in result.failed]
    if not meant:
        return
    try:
        origin = Fetcher(
            task.inventory, task.wish, task.known, lambda text: emit(Notice("weights", text))
        ).origin(store)
    except OriginError as error:
        _refuse(result, [error.finding], [node.name for node in meant], emit)
        return
    works = {
        entry.node: entry
        for entry in work(_only(task.wish, store), meant, {store.path: origin.manifest})
        if entry.changes or entry.findings
    }
    for node, entry in works.items():
        _refuse(result, [finding for finding in entry.findings if finding.refuses], [node], emit)
    good = [node for node in meant if node.name in works and node.name not in result.failed]
    if not good:
        return
    copied = _copy(task, origin, good, emit)
    result.failed |= {
        node: f"{store.path}: {why}" for node, why in copied.failed.items() if node in task.nodes
    }
    for node, why in copied.cut_off.items():
        _tell(result, cut_off(node, task.wish.spec.model_store.port, why), emit)
    for node, count in copied.received.items():
        result.received[node] = result.received.get(node, 0) + count
    result.fetched += [store.path] if any(copied.received.values()) else []
    names = [node.name for node in good] + (
        [origin.first] if origin.first and origin.first not in works else []
    )
    arrived = [name for name in names if name not in copied.failed]
    folder = {"path": store.path, "manifest": origin.manifest.to_json()}
    ready = [
        replace(works[name], findings=()) if name in works else published(name, store) for name in arrived
    ]
    ready = [replace(entry, variables=role_variables(task.wish, [folder])) for entry in ready]
    _play(task.inventory, task.facts, ready, emit, change)


def _only(wish: Wish, store: Store) -> Wish:
    """The wish for one folder: what is wrong with another one is its own affair."""
    services = [service for service in wish.spec.services if service.name in store.services]
    return replace(wish, spec=wish.spec.model_copy(update={"services": services}), seen={})


def _copy(task: _Task, origin: Origin, good: Sequence[Node], emit: Emit) -> Copied:
    """Hand the files on along a chain; nothing where every node has them already."""
    store, spec = task.store, task.wish.spec.model_store
    states = {node.name: compare(origin.manifest, node.setup.stores[store.path]) for node in task.targets}
    lacking = [node for node in good if not states[node.name].whole]
    if not lacking:
        return Copied()
    members = [node for node in task.targets if states[node.name].whole or node in lacking]
    order = chain(store, origin.manifest, members, origin.first)
    facts = {node.name: node.setup.stores[store.path] for node in task.known}
    emit(Notice("weights", f"{store.model.id} to {len(lacking)} nodes: {' → '.join(order)}"))
    wanted = Copy(
        path=store.path,
        files=origin.manifest.to_json()["files"],
        nodes=order,
        hosts=task.inventory.hosts,
        ours={node: sorted(placed(facts[node])) for node in order},
        addresses={node: task.inventory.hosts[node].address for node in order},
        port=spec.port,
        bytes_per_second=(spec.mbit_per_second or 0) * 1_000_000 // _BITS,
    )
    try:
        return copy(task.inventory, wanted, origin.source, lambda text: emit(Notice("weights", text)))
    except WorkError as error:
        return Copied(failed=dict.fromkeys((node.name for node in lacking), str(error)))


def _refuse(result: WeightsResult, findings: Sequence[Finding], nodes: Sequence[str], emit: Emit) -> None:
    for finding in findings:
        _tell(result, finding, emit)
        result.failed |= dict.fromkeys(nodes, f"{finding.seen}; {finding.remedy}")


def _tell(result: WeightsResult, finding: Finding, emit: Emit) -> None:
    result.findings.append(finding)
    for line in describe_findings([finding]):
        emit(Notice("weights", line.strip()))


def _play(
    inventory: Inventory, facts: ClusterFacts, works: Sequence[Work], emit: Emit, change: Change
) -> None:
    plan = ProvisionPlan(inventory.spec.name, simulated=facts.simulated, works=tuple(works))
    if plan.changes:
        change.play(PLAYBOOK, provision_source(plan, ("weights",)), emit)
