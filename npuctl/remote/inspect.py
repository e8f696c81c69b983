"""Nodes → ClusterFacts, one round trip a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from npuctl.facts.model import ClusterFacts, NodeFacts, Unreachable
from npuctl.facts.read import read_node
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import cluster_root
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import load_program
from npuctl.remote.ssh import ask

# npu-smi alone may take 20 s on a busy node, Docker's lists as long; the connection 10 s.
_SECONDS = 60


def inspect_nodes(
    inventory: Inventory, nodes: Sequence[str], *, on_answer: Callable[[str, str], None] | None = None
) -> ClusterFacts:
    """Ask every node once.

    Args:
        inventory: the cluster.
        nodes: whom to ask.
        on_answer: called with node and error (empty when it answered) as answers arrive.
    """
    request = {
        "cluster": inventory.spec.name,
        "root": cluster_root(inventory.spec.name),
        "paths": paths_to_look_at(inventory.spec.services),
    }
    program = load_program("npuctl_facts")
    known: dict[str, NodeFacts] = {}
    unreachable: dict[str, Unreachable] = {}
    for answer in ask(inventory, program, dict.fromkeys(nodes, request), seconds=_SECONDS):
        if answer.error:
            unreachable[answer.node] = Unreachable(reason=answer.error, hint=answer.hint)
        else:
            known[answer.node] = read_node(answer.data)
        if on_answer is not None:
            on_answer(answer.node, answer.error)
    return ClusterFacts(
        nodes={name: known[name] for name in nodes if name in known},
        unreachable={name: unreachable[name] for name in nodes if name in unreachable},
    )
