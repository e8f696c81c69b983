"""Every NPU probes the NPUs of the other nodes: one call a node, all nodes at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from npuctl.facts.model import ClusterFacts
from npuctl.facts.reach import Reach
from npuctl.plan.reach import NodeAnswer, ProbePlan, plan_probes, read_reach
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import load_program
from npuctl.remote.ssh import ask

# 768 probes of 50 ms on 4 nodes with 8 NPUs take 2 s when nothing is lost; how long a lost one takes is the
# tool's own affair. When the time is up the rest is "not probed", which is better than a check that does not end.
_SECONDS = 120
_SECONDS_OF_ALL_PAIRS = 600
_CONNECTION_SECONDS = 25


def probe_reach(
    inventory: Inventory,
    facts: ClusterFacts,
    emit: Callable[[str], None] | None = None,
    *,
    all_pairs: bool = False,
) -> Reach:
    """Probe, and wait for every node's answer.

    Args:
        inventory: the cluster.
        facts: of its nodes, with surveys; the addresses come from them.
        emit: takes progress, a sentence at a time.
        all_pairs: every pair, however many nodes there are.
    """
    plan = plan_probes(facts, all_pairs=all_pairs)
    tell = emit or (lambda _text: None)
    if plan.targets:
        tell(f"{plan.probes} probes between the NPUs of {len(plan.targets)} nodes{_of_pairs(plan)}")
    limit = _SECONDS_OF_ALL_PAIRS if all_pairs else _SECONDS
    requests = {node: _request(plan, node, limit) for node in plan.targets}
    answers: dict[str, NodeAnswer] = {}
    began = time.monotonic()
    program = load_program("npuctl_reach")
    for answer in ask(inventory, program, requests, seconds=limit + _CONNECTION_SECONDS):
        if answer.error:
            answers[answer.node] = NodeAnswer(error=answer.error)
            tell(f"{answer.node}: could not probe: {answer.error}")
        else:
            found = NodeAnswer(answer.data["chips"], answer.data["repeated"])
            answers[answer.node] = found
            entries = [entry for chip in found.chips.values() for entry in chip]
            whole = sum(entry is None for entry in entries)
            tell(f"{answer.node}: {whole} of {len(entries)} probes came back whole")
    return read_reach(plan, answers, seconds=time.monotonic() - began if requests else 0.0)


def _of_pairs(plan: ProbePlan) -> str:
    return f", a sample of {plan.pairs} pairs" if plan.sampled else ""


def _request(plan: ProbePlan, node: str, seconds: float) -> dict[str, Any]:
    probes = {
        str(chip): [[target.plane, target.address] for target in targets]
        for chip, targets in plan.targets[node].items()
    }
    return {"probes": probes, "seconds": seconds}
