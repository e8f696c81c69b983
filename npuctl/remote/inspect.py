"""Nodes → ClusterFacts, one round trip a node; replicas may be asked for a token in the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from npuctl import engines
from npuctl.facts.model import ClusterFacts, NodeFacts, Unreachable
from npuctl.facts.read import read_node
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import cluster_root
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import load_program
from npuctl.remote.ssh import Answer, ask
from npuctl.spec.models import ClusterSpec

# npu-smi alone may take 20 s on a busy node, Docker's lists as long; the connection 10 s.
_SECONDS = 60
# What a thorough look may take on top: npu-smi hangs at the first question about a chip, then hccn_tool;
# weights and images have time-outs of their own, and are read meanwhile.
_SURVEY_SECONDS = 90
Survey = bool | Literal["npus", "images"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the nodes answered.

    `observed`: node → observations of its replicas, as library/module_utils/npuctl_probe.py returns them.
    """

    facts: ClusterFacts
    observed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def inspect_nodes(
    inventory: Inventory,
    nodes: Sequence[str],
    *,
    survey: Survey = False,
    setup: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> ClusterFacts:
    """Ask every node once for its facts; with `survey` for everything that can be read.

    `survey`: "npus" asks the NPUs and their driver alone, and leaves images, weights and other tools out.
    `setup`: what to look at of how the machines are set up, the fields of plan.provision's Questions.
    """
    return inspect_with_replicas(
        inventory, nodes, {}, token_seconds=0, survey=survey, setup=setup, tell=tell
    ).facts


def inspect_with_replicas(
    inventory: Inventory,
    nodes: Sequence[str],
    replicas: Mapping[str, list[dict[str, Any]]],
    *,
    token_seconds: float,
    survey: Survey = False,
    setup: Mapping[str, Any] | None = None,
    tell: Callable[[str], None] | None = None,
) -> Inspection:
    """Ask every node once for its facts, and its replicas for a token.

    Args:
        inventory: the cluster.
        nodes: whom to ask.
        replicas: node → requests for its replicas (npuctl/health/probe.py makes them).
        token_seconds: the longest time that a token may take.
        survey: ask every chip, port, disk, image and model folder too; "npus": the chips and ports alone;
            "images": without those.
        setup: files, kernel values, packages and the like to look at.
        tell: takes a sentence when the answers take long.
    """
    base = {
        "cluster": inventory.spec.name,
        "root": cluster_root(inventory.spec.name),
        "paths": paths_to_look_at(inventory.spec.services),
        "survey": _survey_request(inventory.spec, survey),
        "setup": setup,
    }
    requests = {node: {**base, "replicas": replicas.get(node, [])} for node in nodes}
    known: dict[str, NodeFacts] = {}
    unreachable: dict[str, Unreachable] = {}
    observed: dict[str, list[dict[str, Any]]] = {}
    program = load_program("npuctl_facts", whole=bool(survey) or setup is not None)
    seconds = _SECONDS + token_seconds + (_SURVEY_SECONDS if survey else 0)
    for answer in ask(inventory, program, requests, seconds=seconds, tell=tell):
        if answer.error:
            unreachable[answer.node] = Unreachable(reason=answer.error, hint=answer.hint)
        else:
            known[answer.node] = _with_clock(read_node(answer.data), answer)
            observed[answer.node] = answer.data["replicas"]
    facts = ClusterFacts(
        nodes={name: known[name] for name in nodes if name in known},
        unreachable={name: unreachable[name] for name in nodes if name in unreachable},
    )
    return Inspection(facts, observed)


def _survey_request(spec: ClusterSpec, survey: Survey) -> dict[str, Any] | None:
    """What the nodes look into for these services; None where no survey is wanted."""
    if not survey:
        return None
    if survey == "npus":
        return {}
    everything = _everything(spec)
    return (
        everything if survey is True else {**everything, "npus": False, "models": [], "second_opinion": False}
    )


def _everything(spec: ClusterSpec) -> dict[str, Any]:
    services = spec.services
    known = engines.names()  # a spec that names another is refused by whoever plans it
    return {
        "models": sorted({service.model.path for service in services if service.model.path}),
        "images": sorted({service.image for service in services if service.image}),
        "engines": known,
        "packages": sorted(
            {engines.load(entry.engine).package for entry in services if entry.engine in known}
        ),
        "caches": sorted({service.cache for service in services}),
        "second_opinion": True,
    }


def _with_clock(node: NodeFacts, answer: Answer) -> NodeFacts:
    """The same facts with the node's clock measured against this machine's.

    The node read its clock when it began, after the call was sent, and when it ended, before the answer was
    received: the offset lies between (ended - received) and (began - sent).
    """
    if node.survey is None:
        return node
    clock = answer.data["clock"]
    least, most = clock["ended"] - answer.received, clock["began"] - answer.sent
    host = node.survey.host.model_copy(
        update={
            "clock_offset_seconds": round((least + most) / 2, 3),
            "clock_doubt_seconds": round(max(0.0, most - least) / 2, 3),
        }
    )
    return node.model_copy(update={"survey": node.survey.model_copy(update={"host": host})})
