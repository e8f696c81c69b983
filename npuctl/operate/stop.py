"""Stop with proof, and teardown without a trace."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from npuctl.errors import PlayFailedError, UnreachableError
from npuctl.facts.model import ClusterFacts, ContainerFacts
from npuctl.operate.look import open_inventory
from npuctl.operate.progress import Emit, Notice
from npuctl.operate.record import recorded
from npuctl.plan.build import find_service, product_of
from npuctl.plan.difference import step_for_container
from npuctl.plan.model import ROOT, Action, Step, cluster_root
from npuctl.plan.proof import Evidence, foreign_holders, prove_stopped
from npuctl.remote.inspect import inspect_nodes
from npuctl.remote.inventory import Inventory, state_folder
from npuctl.runner.run import Outcome
from npuctl.state.lock import hold_lock

# NPU memory comes back a while after its process has gone: vllm-ascend's own tests wait up to 50 s.
_PROOF_SECONDS = 60
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a stop or a teardown did, and the proof.

    Attributes:
        steps: what there was to do; none when nothing of ours ran.
        evidence: what every node showed afterwards.
        foreign: node → processes of others on other chips, left alone.
        unreachable: node → reason; what runs there is unknown and was not stopped.
        simulated: at least one node simulates its NPUs.
    """

    cluster: str
    steps: tuple[Step, ...]
    outcome: Outcome
    evidence: tuple[Evidence, ...]
    foreign: dict[str, list[str]] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    simulated: bool = False

    @property
    def exit_code(self) -> int:
        """0 only when everything that was to stop is proven to have stopped."""
        if self.outcome.failed or not all(entry.holds for entry in self.evidence):
            return PlayFailedError.exit_code
        return UnreachableError.exit_code if self.unreachable or self.outcome.unreachable else 0


def stop(folder: Path, emit: Emit, *, limit: Sequence[str] = (), service: str | None = None) -> Stopped:
    """Stop our containers, keep them, and prove that nothing of them is left running."""
    with hold_lock(state_folder(folder), "stop"):
        inventory, nodes = open_inventory(folder, limit=limit)
        if service is not None:
            find_service(inventory.spec, service)
        facts = _inspect(inventory, nodes, emit)
        chosen = {
            name: [entry for entry in node.containers if service in {None, entry.service}]
            for name, node in facts.nodes.items()
        }
        running = {
            name: [entry for entry in entries if entry.state != "exited" or entry.restart_policy != "no"]
            for name, entries in chosen.items()
        }
        steps = steps_of_containers(running, "stop", inventory.spec.name)
        return _carry_out("stop", inventory, facts, steps, chosen, {}, emit)


def teardown(folder: Path, emit: Emit, *, limit: Sequence[str] = ()) -> Stopped:
    """Remove everything that npuctl put on the nodes for this cluster, and nothing else."""
    with hold_lock(state_folder(folder), "teardown"):
        inventory, nodes = open_inventory(folder, limit=limit)
        facts = _inspect(inventory, nodes, emit)
        cluster = inventory.spec.name
        chosen = {name: list(node.containers) for name, node in facts.nodes.items()}
        folders = {
            name: [cluster_root(cluster), *([ROOT] if node.clusters == [cluster] else [])]
            for name, node in facts.nodes.items()
            if cluster in node.clusters and not node.docker.error
        }
        return _carry_out(
            "teardown",
            inventory,
            facts,
            steps_of_containers(chosen, "remove", cluster),
            chosen,
            folders,
            emit,
        )


def _inspect(inventory: Inventory, nodes: Sequence[str], emit: Emit) -> ClusterFacts:
    emit(Notice("inspect", f"asking {len(nodes)} nodes"))
    return inspect_nodes(inventory, nodes)


def _silent(facts: ClusterFacts) -> dict[str, str]:
    """Nodes of which nobody can say what runs there, with the reason."""
    silent = {name: node.reason for name, node in facts.unreachable.items()}
    return silent | {name: node.docker.error for name, node in facts.nodes.items() if node.docker.error}


def steps_of_containers(
    containers: dict[str, list[ContainerFacts]], action: Action, cluster: str
) -> tuple[Step, ...]:
    """The same step for each of these containers, by node."""
    return tuple(
        step_for_container(node, container, action, cluster)
        for node, entries in sorted(containers.items())
        for container in entries
    )


def _carry_out(
    verb: str,
    inventory: Inventory,
    facts: ClusterFacts,
    steps: tuple[Step, ...],
    chosen: dict[str, list[ContainerFacts]],
    folders: dict[str, list[str]],
    emit: Emit,
) -> Stopped:
    # What was stopped before may still hold HBM: to do nothing is no proof either.
    evidence, foreign = _leftovers(facts, chosen)
    found = Stopped(
        cluster=inventory.spec.name,
        steps=steps,
        outcome=Outcome(),
        evidence=tuple(evidence),
        foreign=foreign,
        unreachable=_silent(facts),
        simulated=facts.simulated,
    )
    if not steps and not folders:
        return found
    with recorded(inventory, verb, steps) as change:
        outcome = change.apply(steps, emit, folders=folders)
        evidence, foreign = prove_gone(inventory, chosen, outcome, emit)
        stopped = replace(found, outcome=outcome, evidence=tuple(evidence), foreign=foreign)
        change.run.write(
            "result",
            exit_code=stopped.exit_code,
            failed=outcome.failed,
            unproven=[f"{entry.node}: {entry.what}: {entry.seen}" for entry in evidence if not entry.holds],
            unreachable=sorted({*_silent(facts), *outcome.unreachable}),
        )
        return stopped


def prove_gone(
    inventory: Inventory, chosen: dict[str, list[ContainerFacts]], outcome: Outcome, emit: Emit
) -> tuple[list[Evidence], dict[str, list[str]]]:
    """Look until every node shows that all is gone, or the time is up."""
    asked = [node for node, entries in chosen.items() if entries and node not in outcome.unreachable]
    deadline = time.monotonic() + _PROOF_SECONDS
    if asked:
        emit(Notice("proof", "looking for processes, HBM, ports and shared memory that are left"))
    while asked:
        facts = inspect_nodes(inventory, asked)
        evidence, foreign = _leftovers(facts, chosen)
        evidence += [
            Evidence(name, "node", holds=False, seen=f"unreachable: {node.reason}")
            for name, node in facts.unreachable.items()
        ]
        if all(entry.holds for entry in evidence) or time.monotonic() > deadline:
            return evidence, foreign
        time.sleep(_PAUSE_SECONDS)
    return [], {}


def _leftovers(
    facts: ClusterFacts, chosen: dict[str, list[ContainerFacts]]
) -> tuple[list[Evidence], dict[str, list[str]]]:
    """What the nodes show of our containers, and by node what others hold there."""
    nodes = {name: node for name, node in facts.nodes.items() if chosen[name]}
    evidence = [
        entry
        for name, node in nodes.items()
        for entry in prove_stopped(name, chosen[name], node, product_of(node))
    ]
    foreign = {name: found for name, node in nodes.items() if (found := foreign_holders(chosen[name], node))}
    return evidence, foreign
