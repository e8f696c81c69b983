"""Spec, nodes and plan of one cluster at one moment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from npuctl.errors import UsageError
from npuctl.facts.model import SCHEMA, ClusterFacts, Unreachable
from npuctl.health.probe import Target, judge_node, longest_token, requests_of
from npuctl.health.verdict import ReplicaHealth
from npuctl.operate.progress import Emit, Notice
from npuctl.plan.build import build_plan, find_service, refuse_bad_services, resolve_hosts
from npuctl.plan.model import Plan, Replica, cluster_root, container_name
from npuctl.plan.placement import wishes
from npuctl.plan.provision.npu_network import refuse_unknown_nodes
from npuctl.plan.waivers import refuse_bad_waivers
from npuctl.remote.inspect import inspect_with_replicas
from npuctl.remote.inventory import Inventory, load_inventory
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import Problem, SpecError


@dataclass(frozen=True, slots=True)
class View:
    """One cluster: what was written, what is there, what would be done.

    `health`: replica → state, of those that were asked for a token.
    """

    inventory: Inventory
    facts: ClusterFacts
    plan: Plan
    health: dict[str, ReplicaHealth] = field(default_factory=dict)


def open_inventory(folder: Path, *, limit: Sequence[str] = ()) -> tuple[Inventory, list[str]]:
    """The inventory, and the nodes that are meant (all of them, or those of --limit).

    Raises:
        UsageError: the inventory cannot be read, or --limit names no host or group of it.
    """
    inventory = load_inventory(folder)
    nodes = list(inventory.hosts)
    if limit:
        wanted = [node for word in limit for node in inventory.groups.get(word, [word])]
        unknown = [node for node in wanted if node not in inventory.hosts]
        if unknown:
            raise UsageError(
                f"--limit names {', '.join(unknown)}, which the inventory does not have",
                hint=f"its hosts: {', '.join(nodes)}",
            )
        nodes = [node for node in nodes if node in wanted]
    return inventory, nodes


def look(folder: Path, emit: Emit, *, limit: Sequence[str] = (), tokens: bool = False) -> View:
    """Read, ask every node once, plan.

    Args:
        folder: the inventory.
        emit: takes progress.
        limit: hosts or groups; all without it.
        tokens: ask every replica for a token in the same round trip.

    Raises:
        UsageError: the inventory or the spec is wrong; no node was asked.
    """
    inventory, nodes = open_inventory(folder, limit=limit)
    targets = [target for target in expected_replicas(inventory) if tokens and target.node in nodes]
    count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    emit(Notice("inspect", f"asking {count}"))
    inspection = inspect_with_replicas(
        inventory,
        nodes,
        requests_of(inventory, targets),
        token_seconds=longest_token(targets),
        tell=lambda text: emit(Notice("inspect", text)),
    )
    health = [
        state
        for node, observed in inspection.observed.items()
        for state in judge_node(
            [target for target in targets if target.node == node],
            observed,
            simulated=inspection.facts.nodes[node].simulated,
        )
    ]
    plan = plan_of(inventory, inspection.facts)
    return View(inventory, inspection.facts, plan, {state.replica: state for state in health})


def plan_of(inventory: Inventory, facts: ClusterFacts) -> Plan:
    """The plan for these facts, whether just read or recorded."""
    refuse_bad_spec(inventory)
    hosts = resolved_hosts(inventory)
    return build_plan(
        inventory.spec,
        hosts,
        facts,
        inventory.secrets,
        file=inventory.spec_file,
        addresses={name: host.address for name, host in inventory.hosts.items()},
    )


def plan_from_file(folder: Path, path: str) -> Plan:
    """The plan for recorded facts; nodes that the file does not have count as unreachable."""
    inventory = load_inventory(folder)
    facts = read_facts(path)
    known = {*facts.nodes, *facts.unreachable}
    missing = {name: Unreachable(reason=f"not in {path}") for name in inventory.hosts if name not in known}
    facts = facts.model_copy(update={"unreachable": {**facts.unreachable, **missing}})
    return plan_of(inventory, facts)


def read_facts(path: str) -> ClusterFacts:
    """Facts that `npuctl inspect` wrote.

    Raises:
        UsageError: the file cannot be read, or is of another schema.
    """
    try:
        facts = ClusterFacts.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(
            f"{path} is no file of facts: {where}: {first['msg']}", hint="npuctl inspect --save writes one"
        ) from None
    if facts.schema_version != SCHEMA:
        raise UsageError(
            f"{path} has schema {facts.schema_version}; this npuctl reads {SCHEMA}", hint="inspect again"
        )
    return facts


def write_facts(facts: ClusterFacts, path: str) -> None:
    """Write facts for `plan --facts`; whoever reads the file meanwhile sees the old one or the new one.

    Raises:
        UsageError: the file cannot be written.
    """
    target = Path(path).resolve()
    text = facts.model_dump_json(by_alias=True, indent=1) + "\n"
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        if target.exists() and not target.is_file():  # a pipe, or /dev/stdout: there is nothing to replace
            target.write_text(text, encoding="utf-8")
            return
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def expected_replicas(inventory: Inventory, *, service: str | None = None) -> list[Target]:
    """Every replica of the spec with its node and port: those follow from the spec alone."""
    refuse_bad_spec(inventory)
    spec = inventory.spec
    if service is not None:
        find_service(spec, service)
    return [
        Target(
            service=wish.service,
            replica=wish.name,
            node=wish.node,
            port=wish.port,
            container=container_name(spec.name, wish.service.name, wish.index),
            directory=f"{cluster_root(spec.name)}/{wish.name}",
        )
        for wish in wishes(spec, resolved_hosts(inventory))
        if service in {None, wish.service.name}
    ]


def target_of(spec: ClusterSpec, replica: Replica) -> Target:
    """The planned replica as something to ask for a token."""
    return Target(
        service=find_service(spec, replica.service),
        replica=replica.name,
        node=replica.node,
        port=replica.port,
        container=replica.container.name,
        directory=replica.directory,
    )


def resolved_hosts(inventory: Inventory) -> dict[str, list[str]]:
    """For each service its hosts, in rank order."""
    return resolve_hosts(inventory.spec, inventory.groups, list(inventory.hosts), file=inventory.spec_file)


def refuse_bad_spec(inventory: Inventory) -> None:
    """Raise SpecError with what is wrong in services, waivers and hosts, together."""
    problems: list[Problem] = []
    for refuse in (_refuse_services, _refuse_waivers, _refuse_addresses, resolved_hosts):
        try:
            refuse(inventory)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)


def _refuse_addresses(inventory: Inventory) -> None:
    refuse_unknown_nodes(inventory.spec.npu_addresses, list(inventory.hosts), file=inventory.spec_file)


def _refuse_waivers(inventory: Inventory) -> None:
    refuse_bad_waivers(inventory.spec, list(inventory.hosts), file=inventory.spec_file)


def _refuse_services(inventory: Inventory) -> None:
    refuse_bad_services(inventory.spec, inventory.secrets, file=inventory.spec_file)
