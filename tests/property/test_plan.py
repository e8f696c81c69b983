"""Placement and plans of clusters that nobody thought of."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from npuctl.display.facts import facts_text
from npuctl.display.findings import findings_text
from npuctl.display.text import applied_text, plan_text
from npuctl.facts.model import (
    ClusterFacts,
    ContainerFacts,
    DockerFacts,
    HolderFacts,
    ListenerFacts,
    NodeFacts,
    Unreachable,
)
from npuctl.operate.deploy import Applied
from npuctl.operate.look import View
from npuctl.plan.build import resolve_hosts
from npuctl.plan.model import Plan
from npuctl.plan.placement import chips_of_label, wishes
from npuctl.runner.hostvars import inventory_source
from npuctl.spec.models import ClusterSpec
from tests.making import (
    FILE,
    REPOSITORY,
    actions,
    after_apply,
    chips,
    inventory_of,
    node,
    plan_of,
    root_files,
    service_data,
    spec_of,
)

NODES = ("node-1", "node-2", "node-3")
SECRETS = {"key": "s3cret"}


@st.composite
def services(draw: st.DrawFn, *, most: int = 3, first: int = 0) -> list[dict[str, Any]]:
    """Services as people write them; ports set apart more often than not."""
    made = []
    for number in range(first, first + draw(st.integers(1, most))):
        size = draw(st.sampled_from([1, 1, 2, 4, 8]))
        changes: dict[str, Any] = {
            "replicas": draw(st.integers(1, 4)),
            "topology": {"tensor_parallel": size},
            "port": draw(st.sampled_from([8000 + 100 * number, 8000 + 100 * number, 8001])),
            "hosts": draw(st.lists(st.sampled_from(NODES), min_size=1, max_size=3, unique=True)),
        }
        if draw(st.booleans()):
            changes["api_key"] = {"secret": "key"}
        if draw(st.integers(0, 4)) == 0:
            wanted = draw(st.permutations(range(9)))
            changes["chips"] = wanted[: size * draw(st.integers(1, 8 // size))]
        made.append(service_data(f"s{number}", **changes))
    return made


@st.composite
def nodes(draw: st.DrawFn) -> ClusterFacts:
    """Three nodes: healthy, with a bad or a held chip, or silent."""
    found, silent = {}, {}
    for name in NODES:
        product = draw(st.sampled_from(["a2", "a2", "a3", "310p"]))
        own = [
            chip.model_copy(update={"health": draw(st.sampled_from(["OK"] * 12 + ["Warning", "Alarm"]))})
            for chip in chips(product)
        ]
        holders = [
            HolderFacts(chip=c, pid=c, command="other") for c in draw(st.sets(st.integers(0, 15), max_size=2))
        ]
        listeners = [ListenerFacts(port=8000)] if draw(st.integers(0, 9)) == 0 else []
        if draw(st.integers(0, 9)) == 0:
            silent[name] = Unreachable(reason="off")
        else:
            found[name] = node(product, chips=own, holders=holders, listeners=listeners, files=root_files())
    return ClusterFacts(nodes=found, unreachable=silent)


def made(own: list[dict[str, Any]], facts: ClusterFacts) -> tuple[ClusterSpec, Plan]:
    spec = spec_of(*own)
    return spec, plan_of(spec, facts, secrets=SECRETS)


def conflicts(plan: Plan) -> set[str]:
    return {finding.service for finding in plan.findings if finding.id == "place.conflict"}


@given(services(), nodes())
def test_no_chip_is_given_twice_without_a_conflict(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    _spec, plan = made(own, facts)
    given_to = Counter((replica.node, chip) for replica in plan.replicas for chip in replica.chips)
    twice = [place for place, count in given_to.items() if count > 1]
    assert not twice or conflicts(plan)
    for replica in plan.replicas:
        assert len(set(replica.chips)) == len(replica.chips)


@given(services(), nodes())
def test_every_replica_has_one_place_or_a_conflict(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    spec, plan = made(own, facts)
    hosts = resolve_hosts(spec, {}, list(NODES), file=FILE)
    wanted = {wish.name: wish.service.name for wish in wishes(spec, hosts) if wish.node in facts.nodes}
    placed = Counter(replica.name for replica in plan.replicas)
    assert set(placed) <= set(wanted)
    assert set(placed.values()) <= {1}
    assert {wanted[name] for name in set(wanted) - set(placed)} <= conflicts(plan)


@given(services(), nodes())
def test_ports_are_unique_on_a_node_or_a_conflict(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    _spec, plan = made(own, facts)
    ports = Counter((replica.node, replica.port) for replica in plan.replicas)
    assert max(ports.values(), default=1) == 1 or conflicts(plan)


@given(services(), nodes())
def test_a_replica_gets_as_many_chips_as_it_needs_and_only_those_as_devices(
    own: list[dict[str, Any]], facts: ClusterFacts
) -> None:
    spec, plan = made(own, facts)
    size = {service.name: service.topology.chips for service in spec.services}
    for replica in plan.replicas:
        assert len(replica.chips) == size[replica.service]
        assert chips_of_label(replica.container.labels["npuctl.spec"]) == replica.chips


@given(services(), nodes())
def test_free_chips_are_healthy_and_not_held(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    spec, plan = made(own, facts)
    written = {service.name for service in spec.services if service.chips is not None}
    for replica in plan.replicas:
        found = facts.nodes[replica.node]
        held = {holder.chip for holder in found.holders}
        alarm = {chip.id for chip in found.chips if chip.health == "Alarm"}
        assert replica.service in written or not set(replica.chips) & (held | alarm)


# Most clusters that are made up have an error; what is left is enough to see a replica move.
@given(services(), services(first=5), nodes(), st.randoms())
@settings(max_examples=30, suppress_health_check=[HealthCheck.filter_too_much])
def test_a_running_replica_never_moves_when_services_come(
    own: list[dict[str, Any]], more: list[dict[str, Any]], facts: ClusterFacts, random: Any
) -> None:
    more = [{key: value for key, value in entry.items() if key != "chips"} for entry in more]
    _spec, before = made(own, facts)
    assume(not before.errors)
    together = [*own, *more]
    random.shuffle(together)
    _spec, after = made(together, after_apply(before, facts))
    seats = {replica.name: (replica.node, replica.chips, replica.port) for replica in after.replicas}
    assert {
        replica.name: (replica.node, replica.chips, replica.port) for replica in before.replicas
    }.items() <= seats.items()
    assert {actions(after)[replica.name] for replica in before.replicas} <= {"none"}


@given(services(), nodes())
def test_what_was_just_applied_needs_nothing(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    spec, plan = made(own, facts)
    assume(not plan.errors)
    again = plan_of(spec, after_apply(plan, facts), secrets=SECRETS)
    assert again.changes == ()
    assert again.errors == ()
    assert again.replicas == plan.replicas


@given(services(), services(), nodes())
@settings(max_examples=40)
def test_two_deploys_lead_to_the_second_spec_whatever_the_first(
    first: list[dict[str, Any]], second: list[dict[str, Any]], facts: ClusterFacts
) -> None:
    _spec, plan = made(first, facts)
    assume(not plan.errors)
    there = after_apply(plan, facts)
    spec, change = made(second, there)
    assume(not conflicts(change))
    then = after_apply(change, there)
    names = {found.name for entry in then.nodes.values() for found in entry.containers}
    assert names == {replica.container.name for replica in change.replicas}
    assert plan_of(spec, then, secrets=SECRETS).changes == ()


@given(services(), nodes())
def test_a_plan_is_data_without_secrets(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    _spec, plan = made(own, facts)
    text = json.dumps(plan.to_json()) + json.dumps(inventory_source(plan.changes, "prod"))
    assert SECRETS["key"] not in text


@given(services(), nodes())
def test_a_plan_is_the_same_for_the_same_world(own: list[dict[str, Any]], facts: ClusterFacts) -> None:
    copy = ClusterFacts.model_validate_json(facts.model_dump_json(by_alias=True))
    assert made(own, facts)[1] == made(own, copy)[1]


@st.composite
def odd_nodes(draw: st.DrawFn) -> NodeFacts:
    """Facts that a broken, old or hostile node might give."""
    text = st.text(max_size=12)
    few = st.lists(st.integers(0, 9), max_size=3)
    return NodeFacts(
        os=draw(text),
        npu_error=draw(text),
        chips=[
            chip.model_copy(update={"health": draw(text), "memory_used_mb": draw(st.integers(0, 10**6))})
            for chip in chips(
                draw(st.sampled_from(["a2", "310p"])),
                draw(st.integers(0, 8)),
                name=draw(st.sampled_from(["910B3", "x"])),
            )
        ],
        docker=DockerFacts(version=draw(text), error=draw(st.sampled_from(["", "down"]))),
        holders=[
            HolderFacts(chip=number, pid=1, command=draw(text), container=draw(text)) for number in draw(few)
        ],
        listeners=[ListenerFacts(port=8000 + number, command=draw(text)) for number in draw(few)],
        containers=[
            ContainerFacts(name=name, id="", image="", state=draw(text), service=draw(text), spec=draw(text))
            for name in {draw(text), "npuctl-prod-s0-0"}
        ],
        free_bytes={"/": draw(st.integers(0, 2**40))},
        images=draw(st.lists(text, max_size=2)),
    )


@given(services(most=2), st.lists(odd_nodes(), min_size=3, max_size=3))
@settings(max_examples=40)
def test_odd_nodes_are_planned_and_told_without_a_crash(
    own: list[dict[str, Any]], odd: list[NodeFacts]
) -> None:
    facts = ClusterFacts(nodes=dict(zip(NODES, odd, strict=True)))
    spec, plan = made(own, facts)
    inventory = inventory_of(REPOSITORY, spec, *NODES)
    applied = Applied(View(inventory, facts, plan), plan.changes)
    for text in (
        plan_text(plan),
        plan_text(replace(plan, unreachable={"x": Unreachable(reason="")})),
        findings_text(plan, facts),
        facts_text(facts),
    ):
        assert text
    assert applied_text(applied) is not None
    json.dumps(plan.to_json())
    json.dumps(inventory_source(plan.changes, "prod"))
