"""Spec and facts → what provisioning has to do, stage by stage and node by node. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

from npuctl.facts.model import ClusterFacts, Unreachable
from npuctl.plan.model import Finding
from npuctl.plan.provision import (
    container_engine,
    driver,
    driver_unfinished,
    images,
    mirrors,
    npu_network,
    other_cluster,
    proxy,
    system,
    weights,
)
from npuctl.plan.provision._contract import STAGES, Change, Node, Questions, StageName, Wish, Work
from npuctl.plan.provision.settings import (
    RECORD,
    Noted,
    Reconciled,
    Setting,
    reconcile,
    record_data,
    record_trouble,
)

_ALL = (mirrors, system, driver, npu_network, container_engine, images, weights)
_OF_SETTINGS = (mirrors, system, container_engine)
_ROLES: Mapping[StageName, str] = {
    "mirrors": "package_mirror",
    "system": "os_tuning",
    "container_engine": "container_engine",
}
_PLACES: tuple[tuple[str, StageName], ...] = (
    ("/etc/docker/", "container_engine"),
    ("/etc/systemd/system/docker.service.d/", "container_engine"),
    ("/etc/sysctl.d/", "system"),
    ("/etc/tmpfiles.d/", "system"),
    ("/etc/security/limits.d/", "system"),
    ("/etc/systemd/system.conf.d/", "system"),
    ("/etc/chrony", "system"),
    ("/proc/", "system"),
    ("/sys/", "system"),
)


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What is noted on one node about its settings: now, before the first change, and after the last one."""

    noted: tuple[Noted, ...]
    before: tuple[Noted, ...]
    after: tuple[Noted, ...]


@dataclass(frozen=True, slots=True)
class ProvisionPlan:
    """What has to be done so that the nodes are as the spec says.

    Attributes:
        works: only those that change something or have something to say, in the order of the stages.
        records: node → its record of settings, where settings change.
    """

    cluster: str
    simulated: bool
    works: tuple[Work, ...]
    records: Mapping[str, NodeRecord] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    unreachable: Mapping[str, Unreachable] = field(default_factory=dict)

    @property
    def changes(self) -> tuple[Work, ...]:
        """What changes something."""
        return tuple(work for work in self.works if work.changes)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What refuses."""
        return tuple(finding for finding in self.findings if finding.refuses)

    def of(self, *stages: StageName) -> tuple[Work, ...]:
        """What these stages change."""
        return tuple(work for work in self.changes if work.stage in stages)

    def only(self, stages: Iterable[StageName]) -> ProvisionPlan:
        """The same plan without the other stages."""
        chosen = set(stages)
        works = tuple(work for work in self.works if work.stage in chosen)
        return replace(self, works=works, findings=_findings(works))

    def to_json(self) -> dict[str, Any]:
        """The plan as data, without the variables of roles: they hold whole files."""
        return {
            "schema": 1,
            "cluster": self.cluster,
            "simulated": self.simulated,
            "changes": [
                {"node": work.node, "stage": work.stage, **asdict(change)}
                for work in self.works
                for change in work.changes
            ],
            "notes": [
                {"node": work.node, "stage": work.stage, "note": note}
                for work in self.works
                for note in work.notes
            ],
            "findings": [finding.to_json() for finding in self.findings],
            "unreachable": {name: node.model_dump() for name, node in self.unreachable.items()},
        }


def questions_of(wish: Wish, stages: Sequence[StageName] = STAGES) -> Questions:
    """Everything that these stages want to know of the nodes.

    Stages that make settings are always asked for: two of them may set keys of one file.
    """
    own = Questions(records=frozenset({RECORD}))
    settings = {*_ROLES, "images"}
    asked = [module for name, module in zip(STAGES, _ALL, strict=True) if name in {*stages, *settings}]
    return reduce(or_, (stage.questions(wish) for stage in (*asked, driver_unfinished)), own)


def provision_plan(wish: Wish, facts: ClusterFacts, stages: Sequence[StageName] = STAGES) -> ProvisionPlan:
    """What has to be done in these stages. `facts` are of a look that asked what they want to know."""
    nodes = [Node(name, node, node.setup) for name, node in facts.nodes.items() if node.setup is not None]
    free = [node for node in nodes if not other_cluster.keeps_out(wish, node)]
    works: list[Work] = []
    for name, stage in zip(STAGES, _ALL, strict=True):
        if name in stages:
            works += stage.work(wish, free if stage in _OF_SETTINGS else nodes)
    records: dict[str, NodeRecord] = {}
    for node in nodes:
        works += driver_unfinished.unfinished(wish, node)
        if node not in free:
            works += _kept_out(wish, node)
            continue
        reconciled = reconcile(_settings(wish, node), container_engine.as_meant(node.setup))
        works += _settings_works(node.name, reconciled)
        works += container_engine.after_settings(wish, node, reconciled)
        if reconciled.writes or reconciled.values or reconciled.record != reconciled.settled:
            records[node.name] = NodeRecord(reconciled.noted, reconciled.record, reconciled.settled)
    merged = _merged([work for work in works if work.stage in stages])
    return ProvisionPlan(
        cluster=wish.spec.name,
        simulated=facts.simulated,
        works=merged,
        records=records,
        findings=_findings(merged),
        unreachable=facts.unreachable,
    )


def _settings(wish: Wish, node: Node) -> list[Setting]:
    return [setting for stage in (*_OF_SETTINGS, images) for setting in stage.settings(wish, node)]


def _kept_out(wish: Wish, node: Node) -> list[Work]:
    """What is said of a node whose settings are not this cluster's, stage by stage: nothing of it is done."""
    if trouble := record_trouble(node.setup.records[RECORD]):
        finding = other_cluster.unreadable(node, trouble)
        return [Work(node.name, stage, role, findings=(finding,)) for stage, role in _ROLES.items()]
    if wish.removing:
        return [Work(node.name, "mirrors", _ROLES["mirrors"], notes=(other_cluster.stays(node),))]
    lacking: dict[StageName, list[str]] = defaultdict(list)
    for file, changes in other_cluster.lacking_settings(_settings(wish, node), node).items():
        lacking[stage_of(file)] += [change.what for change in changes]
    # What follows from the other cluster's record alone, as its certificates, is not this one's to wish.
    asked = [
        system.work(wish, [node]),
        container_engine.work(wish, [node]) if wish.spec.container_engine else [],
    ]
    for work in (one for works in asked for one in works):
        lacking[work.stage] += [change.what for change in work.changes]
    ways_out = proxy.environment_file(wish, node)
    if ways_out and ways_out.environment:
        lacking["container_engine"].append(ways_out.path)
    return [
        Work(node.name, stage, _ROLES[stage], findings=(other_cluster.refused(node, what),))
        for stage, what in lacking.items()
        if what
    ]


def _findings(works: Sequence[Work]) -> tuple[Finding, ...]:
    """Each once: what concerns several stages is said by each of them."""
    return tuple(dict.fromkeys(finding for work in works for finding in work.findings))


def stage_of(file: str) -> StageName:
    """The stage whose role writes a file."""
    return next((stage for place, stage in _PLACES if file.startswith(place)), "mirrors")


def _settings_works(node: str, reconciled: Reconciled) -> list[Work]:
    """The settings of a node as the works of the roles that write them."""
    files: dict[StageName, list[dict[str, Any]]] = defaultdict(list)
    changes: dict[StageName, list[Change]] = defaultdict(list)
    for asked, write in sorted(reconciled.writes.items()):
        files[stage_of(asked)].append(asdict(write))
    for asked, made in reconciled.changes.items():
        changes[stage_of(asked)] += made
    works = []
    for stage, role in _ROLES.items():
        variables: dict[str, Any] = {f"{role}_files": files[stage]} if files[stage] else {}
        if stage == "system" and reconciled.values:
            variables["os_tuning_values"] = dict(sorted(reconciled.values.items()))
        notes = [*reconciled.kept, *reconciled.unset]
        mine = tuple(note for note in notes if stage_of(note) == stage)
        if variables or mine:
            works.append(
                Work(node, stage, role, variables=variables, changes=tuple(changes[stage]), notes=mine)
            )
    return works


def _merged(works: Sequence[Work]) -> tuple[Work, ...]:
    """One work a node and stage where they use the same entry of the same role, in the order of the stages."""
    merged: dict[tuple[str, StageName, str, str], Work] = {}
    for work in works:
        key = (work.node, work.stage, work.role, work.entry)
        there = merged.get(key)
        merged[key] = work if there is None else _both(there, work)
    told = [work for work in merged.values() if work.changes or work.notes or work.findings]
    return tuple(sorted(told, key=lambda work: STAGES.index(work.stage)))


def _both(first: Work, second: Work) -> Work:
    return replace(
        first,
        variables={**first.variables, **second.variables},
        secret_variables={**first.secret_variables, **second.secret_variables},
        changes=(*first.changes, *second.changes),
        notes=(*first.notes, *second.notes),
        findings=(*first.findings, *second.findings),
    )


def record_texts(
    plan: ProvisionPlan, node: str, played: Iterable[StageName]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of a node before and after a play of some stages, as JSON.

    Of the other stages it says what it says now: what they will find before their change may be another value then.
    """
    record = plan.records.get(node, NodeRecord((), (), ()))
    stages = set(played)
    others = [entry for entry in record.noted if stage_of(entry.file) not in stages]
    before, after = (
        record_data([*others, *(entry for entry in entries if stage_of(entry.file) in stages)], plan.cluster)
        for entries in (record.before, record.after)
    )
    return before, after
