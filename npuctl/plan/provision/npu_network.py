"""The NPUs' own network: what every port should have, and what differs from it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.provision._contract import RECORDS, Change, Node, Questions, Wish, Work
from npuctl.plan.provision.npu_addresses import Assignment, assign
from npuctl.plan.provision.npu_ports import (
    RECORD,
    Noted,
    PortState,
    Seen,
    Settings,
    detect_of,
    record_of,
    record_trouble,
    running,
    see,
    wanted_settings,
)
from npuctl.plan.provision.npu_refusals import (
    DISRUPTIVE,
    another_clusters,
    in_use,
    lacking_addresses,
    refuse_what_is_held,
    refused,
    unfit_addresses,
    unsure_nodes,
)
from npuctl.plan.wording import ranges
from npuctl.spec.machines import NpuAddresses
from npuctl.spec.parse import KEY, Problem, SpecError

ROLE = "npu_network"


@dataclass(frozen=True, slots=True)
class _Difference:
    """One setting of one chip that is not as it should be."""

    chip: int
    what: str
    was: str
    wanted: str


def questions(wish: Wish) -> Questions:
    """What is asked of every node; the ports themselves are in every survey."""
    del wish
    return Questions(files=frozenset({HCCN_CONF}), records=frozenset({RECORD}))


def refuse_unknown_nodes(spec: NpuAddresses | None, hosts: Sequence[str], *, file: str) -> None:
    """Raise SpecError for addresses of nodes that the inventory does not have."""
    at, known = f"{file}: {KEY}.npu_addresses.nodes", f"its hosts: {', '.join(hosts)}"
    missing = [node for node in (spec.nodes if spec else ()) if node not in hosts]
    if missing:
        raise SpecError([Problem(at, f"the inventory has no host {node!r}", known) for node in missing])


def work(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """What every node's ports lack; a node with an error among its findings has no changes.

    Args:
        wish: what was written; `wish.nodes` also names the nodes that did not answer.
        nodes: those that did, all of them: addresses are given cluster-wide.
    """
    if wish.removing:
        works = [_restoring(wish, node) for node in nodes if node.setup.records.get(RECORD)]
    elif wish.spec.npu_addresses is None:
        works = []
    else:
        works = _settings(wish, wish.spec.npu_addresses, nodes)
    return [replace(made, changes=(), variables={}) if refused(made) else made for made in works]


def _settings(wish: Wish, spec: NpuAddresses, nodes: Sequence[Node]) -> list[Work]:
    order = {name: place for place, name in enumerate(wish.nodes)}
    seen = [see(node, spec) for node in sorted(nodes, key=lambda node: order.get(node.name, len(order)))]
    unsure = unsure_nodes(wish, spec, seen)
    assigned = assign(spec, [port for one in seen for port in one.held], unsure=bool(unsure))
    works = {one.node.name: _setting(wish, spec, one, assigned, unsure) for one in seen}
    refuse_what_is_held(works, seen, assigned)
    return [made for made in works.values() if made.changes or made.notes or made.findings]


def _setting(wish: Wish, spec: NpuAddresses, seen: Seen, assigned: Assignment, unsure: Sequence[str]) -> Work:
    node = seen.node
    differences: list[_Difference] = []
    ports: list[dict[str, Any]] = []
    disturbed: dict[int, list[str]] = {}
    for port in seen.ports:
        address = assigned.addresses.get((node.name, port.chip))
        if address is None:
            continue
        wanted = wanted_settings(spec, spec.pools[port.plane], address)
        ports.append(_for_role(port.chip, wanted))
        differences += _differences(port, wanted)
        differing = [key for key in wanted if wanted[key] != port.runs[key]]
        if port.runs["address"] and DISRUPTIVE & set(differing):
            disturbed[port.chip] = differing
    notes = [*seen.notes, *_given_up(seen, assigned)]
    if differences and not all(detect_of(pool) for pool in spec.pools):
        notes.append("a pool without gateway and detect address: net health of its ports stays Init")
    findings = (
        *seen.findings,
        *unfit_addresses(spec, seen),
        *lacking_addresses(wish, spec, seen, assigned, unsure),
        *(another_clusters(wish, node) if differences else ()),
        *in_use(wish, node, disturbed),
    )
    variables = {f"{ROLE}_cluster": wish.spec.name, f"{ROLE}_ports": ports} if differences else {}
    return Work(
        node.name,
        "npu_network",
        ROLE,
        variables=variables,
        changes=_in_words(differences),
        notes=tuple(notes),
        findings=findings,
    )


def _for_role(chip: int, settings: Settings) -> dict[str, Any]:
    return {
        "chip": chip,
        **{key: int(value) if key in {"tls", "mtu"} else value for key, value in settings.items()},
    }


def _differences(port: PortState, wanted: Settings) -> Iterator[_Difference]:
    for key, value in wanted.items():
        if port.runs[key] != value:
            yield _Difference(port.chip, key, port.runs[key], value)
        elif port.saved.get(key, "") != value:
            yield _Difference(port.chip, f"{key} in {HCCN_CONF}", port.saved.get(key, ""), value)


def _in_words(differences: Sequence[_Difference]) -> tuple[Change, ...]:
    """One change for all chips that share it: a gateway stands there once and not sixteen times."""
    chips: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for one in differences:
        chips[one.what, one.was, one.wanted].append(one.chip)
    return tuple(
        Change(f"NPU {ranges(found)}: {what}", was, wanted) for (what, was, wanted), found in chips.items()
    )


def _given_up(seen: Seen, assigned: Assignment) -> Iterator[str]:
    for port in seen.held:
        if port.card in assigned.lost:
            name, chip = assigned.lost[port.card]
            yield f"NPU {port.chip} gives up {port.held[0]}: NPU {chip} of {name} has it as well"


def _restoring(wish: Wish, node: Node) -> Work:
    base = Work(node.name, "npu_network", ROLE, "restore")
    record = node.setup.records[RECORD]
    path = f"{RECORDS}/{RECORD}.json"
    if trouble := record_trouble(node):
        return replace(base, notes=(f"{path} cannot be read ({trouble}): the ports stay as they are",))
    if record.get("cluster") != wish.spec.name:
        owner = record.get("cluster")
        return replace(base, notes=(f"its ports were set for cluster {owner}: they stay as they are",))
    survey = node.facts.survey
    runs = {port.chip: running(port) for port in survey.ports} if survey else {}
    differences: list[_Difference] = []
    notes: list[str] = []
    disturbed: dict[int, list[str]] = defaultdict(list)
    staying: dict[str, list[int]] = defaultdict(list)
    for chip, keys in record_of(node).items():
        for key, noted in keys.items():
            now = runs.get(chip, {}).get(key, "")
            what = f"NPU {chip}: {key}"
            if now not in {"", noted.ours, noted.ran}:
                notes.append(f"{what} was set to {now} by somebody else since; it stays as it is")
                continue
            differences += _taken_back(chip, key, now, noted)
            if noted.ran and now not in {"", noted.ran} and key in DISRUPTIVE:
                disturbed[chip].append(key)
            if not noted.ran and now:
                staying[key].append(chip)
    by_chips: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key, chips in staying.items():
        by_chips[tuple(chips)].append(key)
    notes += [
        f"NPU {ranges(chips)}: hccn_tool cannot unset {', '.join(keys)}; the device keeps it until its next boot"
        for chips, keys in by_chips.items()
    ]
    return replace(
        base,
        variables={f"{ROLE}_cluster": wish.spec.name},
        changes=(*_in_words(differences), Change(path, "there", "absent")),
        notes=tuple(notes),
        findings=tuple(in_use(wish, node, disturbed)),
    )


def _taken_back(chip: int, key: str, now: str, noted: Noted) -> Iterator[_Difference]:
    if noted.ran and now != noted.ran:
        yield _Difference(chip, key, now, noted.ran)
    elif noted.saved != noted.ours:
        yield _Difference(chip, f"{key} in {HCCN_CONF}", noted.ours, noted.saved)
