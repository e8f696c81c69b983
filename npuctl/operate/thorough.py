"""The thorough look that `check` takes, and `deploy` before it changes anything: survey, reach, findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from npuctl.facts.model import ClusterFacts
from npuctl.operate.look import View, open_inventory, plan_of, refuse_bad_spec
from npuctl.operate.progress import Emit, Notice
from npuctl.plan.build import needs_network
from npuctl.remote.inspect import inspect_nodes
from npuctl.remote.inventory import Inventory
from npuctl.remote.reach import probe_reach


def look_thoroughly(folder: Path, emit: Emit, *, limit: Sequence[str] = (), all_pairs: bool = False) -> View:
    """Read, ask every node for everything, let the NPUs probe each other, plan.

    Args:
        folder: the inventory.
        emit: takes progress.
        limit: hosts or groups; all without it.
        all_pairs: every NPU probes every other one, however many there are.

    Raises:
        UsageError: the inventory or the spec is wrong; no node was asked.
    """
    inventory, nodes = open_inventory(folder, limit=limit)
    refuse_bad_spec(inventory)
    probe = inventory.spec.npu_network != "unused"
    facts = _surveyed(inventory, nodes, emit, probe=probe, all_pairs=all_pairs)
    return View(inventory, facts, plan_of(inventory, facts))


def look_closer(view: View, emit: Emit) -> View:
    """The same view with a survey of every node that answered; NPUs probe where replicas need it."""
    probe = needs_network(view.inventory.spec)
    seen = _surveyed(view.inventory, list(view.facts.nodes), emit, probe=probe, all_pairs=False)
    facts = seen.model_copy(update={"unreachable": {**view.facts.unreachable, **seen.unreachable}})
    return replace(view, facts=facts, plan=plan_of(view.inventory, facts))


def survey_nodes(inventory: Inventory, nodes: Sequence[str], emit: Emit) -> ClusterFacts:
    """Ask every node once for everything that can be read."""
    count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    emit(Notice("inspect", f"asking {count} for everything"))
    return inspect_nodes(inventory, nodes, survey=True, tell=lambda text: emit(Notice("inspect", text)))


def _surveyed(
    inventory: Inventory, nodes: Sequence[str], emit: Emit, *, probe: bool, all_pairs: bool
) -> ClusterFacts:
    facts = survey_nodes(inventory, nodes, emit)
    if not probe:
        return facts
    reach = probe_reach(inventory, facts, lambda text: emit(Notice("network", text)), all_pairs=all_pairs)
    return facts.model_copy(update={"reach": reach})
