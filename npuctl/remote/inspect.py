"""Nodes → ClusterFacts, one round trip a node; replicas may be asked for a token in the same one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from npuctl.facts.model import ClusterFacts, NodeFacts, Unreachable
from npuctl.facts.read import read_node
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import cluster_root
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import load_program
from npuctl.remote.ssh import ask

# npu-smi alone may take 20 s on a busy node, Docker's lists as long; the connection 10 s.
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the nodes answered.

    `observed`: node → observations of its replicas, as library/module_utils/npuctl_probe.py returns them.
    """

    facts: ClusterFacts
    observed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def inspect_nodes(inventory: Inventory, nodes: Sequence[str]) -> ClusterFacts:
    """Ask every node once for its facts."""
    return inspect_with_replicas(inventory, nodes, {}, token_seconds=0).facts


def inspect_with_replicas(
    inventory: Inventory,
    nodes: Sequence[str],
    replicas: Mapping[str, list[dict[str, Any]]],
    *,
    token_seconds: float,
) -> Inspection:
    """Ask every node once for its facts, and its replicas for a token.

    Args:
        inventory: the cluster.
        nodes: whom to ask.
        replicas: node → requests for its replicas (npuctl/health/probe.py makes them).
        token_seconds: the longest time that a token may take.
    """
    base = {
        "cluster": inventory.spec.name,
        "root": cluster_root(inventory.spec.name),
        "paths": paths_to_look_at(inventory.spec.services),
    }
    requests = {node: {**base, "replicas": replicas.get(node, [])} for node in nodes}
    known: dict[str, NodeFacts] = {}
    unreachable: dict[str, Unreachable] = {}
    observed: dict[str, list[dict[str, Any]]] = {}
    for answer in ask(inventory, load_program("npuctl_facts"), requests, seconds=_SECONDS + token_seconds):
        if answer.error:
            unreachable[answer.node] = Unreachable(reason=answer.error, hint=answer.hint)
        else:
            known[answer.node] = read_node(answer.data)
            observed[answer.node] = answer.data["replicas"]
    facts = ClusterFacts(
        nodes={name: known[name] for name in nodes if name in known},
        unreachable={name: unreachable[name] for name in nodes if name in unreachable},
    )
    return Inspection(facts, observed)
