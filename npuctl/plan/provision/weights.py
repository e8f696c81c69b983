"""Weights: which folders should hold which model, what each node lacks, and in which order they are handed on. Pure.

The bytes come by themselves (operate/weights.py): beside the final name first. What is planned here as a role's
work is the last step, which gives them their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from npuctl.facts.setup import StoreFacts
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Change, Node, Questions, Wish, Work
from npuctl.plan.provision.weights_findings import conflict, foreign, no_room, unknown_node, wrong_format
from npuctl.plan.provision.weights_manifest import (
    Manifest,
    State,
    chosen,
    compare,
    format_of,
    is_converted,
    missing_bytes,
    placed,
    read_manifest,
    source_name,
)
from npuctl.plan.wording import masked, several, size
from npuctl.spec.models import Model

ROLE = "model_store"
_WHERE = {"modelscope": "ModelScope", "huggingface": "Hugging Face", "path": "this machine"}
# Beside the weights a node's disk holds other things that grow.
_SPARE_BYTES = 256 * 2**20
_WHOLE_SEEDS = 2
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Store:
    """One model's folder on the nodes that should have it."""

    path: str
    model: Model
    nodes: tuple[str, ...]
    services: tuple[str, ...]

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        where = _WHERE.get(self.model.source, masked(source_name(self.model)))
        return where if where == source_name(self.model) else f"{masked(source_name(self.model))} of {where}"


def stores(wish: Wish) -> tuple[Store, ...]:
    """The folders that provisioning fills; a model without a path, or with local weights, is none of them."""
    found: dict[str, Store] = {}
    for service in wish.spec.services:
        model = service.model
        if model.path is None or model.source == "local":
            continue
        path = model.path.rstrip("/")
        there = found.get(path)
        nodes = [*(there.nodes if there else ()), *wish.hosts.get(service.name, ())]
        found[path] = Store(
            path,
            there.model if there else model,
            tuple(name for name in wish.nodes if name in nodes) or tuple(dict.fromkeys(nodes)),
            (*(there.services if there else ()), service.name),
        )
    return tuple(found.values())


def conflicts(wish: Wish) -> tuple[Finding, ...]:
    """What cannot be meant: two models in one folder, a download on a node that is not there."""
    found = []
    for store in stores(wish):
        for service in wish.spec.services:
            if service.name in store.services and not _same_weights(service.model, store.model):
                found += [conflict(store.path, store.services[0], service.name)]
        names = wish.seen.get(store.path)
        if names is not None and store.model.convert is None and format_of(names) != "safetensors":
            found.append(wrong_format(store.model, store.services[0], format_of(names)))
    where = wish.spec.model_store.download_on
    if where is not None and where not in wish.nodes:
        found.append(unknown_node(where))
    return tuple(found)


def _same_weights(one: Model, other: Model) -> bool:
    return (one.source, source_name(one), one.revision, one.convert) == (
        other.source,
        source_name(other),
        other.revision,
        other.convert,
    )


def questions(wish: Wish) -> Questions:
    """The folders, on every node."""
    return Questions(stores=frozenset(store.path for store in stores(wish)))


def noted_manifest(store: Store, nodes: Sequence[Node]) -> Manifest | None:
    """The manifest of what the spec asks for that most nodes have; a branch stays at the commit it was fetched at."""
    found = [
        manifest
        for node in nodes
        if (facts := node.setup.stores.get(store.path)) is not None
        and (manifest := read_manifest(facts.manifest)) is not None
        and manifest.describes(store.model)
    ]
    return max(found, key=found.count) if found else None


def work(wish: Wish, nodes: Sequence[Node], manifests: Mapping[str, Manifest] | None = None) -> list[Work]:
    """What each node lacks.

    Args:
        wish: what was written.
        nodes: as they are.
        manifests: folder → what should be in it, where the source was asked; else what the nodes noted.
    """
    if wish.removing:
        return removal(wish, nodes) if "weights" in wish.remove else []
    works: list[Work] = []
    wrong = conflicts(wish)
    if wrong and nodes:
        works.append(Work(nodes[0].name, "weights", ROLE, findings=wrong))
    for store in stores(wish):
        mine = [node for node in nodes if node.name in store.nodes]
        manifest = (manifests or {}).get(store.path) or noted_manifest(store, mine)
        if manifest is not None and _changed_here(wish, store, manifest):
            manifest = None
        seen = wish.seen.get(store.path, {})
        works += [_one(store, manifest, seen, node) for node in representatives(store, mine)]
    return [whole for node in nodes for whole in _by_node(wish, node.name, works)]


def _changed_here(wish: Wish, store: Store, manifest: Manifest) -> bool:
    """Whether the folder of this machine that the nodes were filled from is another one now."""
    seen = wish.seen.get(store.path)
    return seen is not None and {name: seen[name] for name in chosen(store.model, seen)} != manifest.seen


def _by_node(wish: Wish, name: str, works: Sequence[Work]) -> list[Work]:
    """All folders of a node as one work: a role takes them as a list."""
    own = [entry for entry in works if entry.node == name]
    if not own:
        return []
    folders = [folder for entry in own for folder in entry.variables.get("model_store_folders", [])]
    return [
        Work(
            name,
            "weights",
            ROLE,
            variables=role_variables(wish, folders) if folders else {},
            changes=tuple(change for entry in own for change in entry.changes),
            notes=tuple(note for entry in own for note in entry.notes),
            findings=tuple(finding for entry in own for finding in entry.findings),
        )
    ]


def role_variables(wish: Wish, folders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What roles/model_store takes to publish folders, each with its path and its manifest."""
    return {f"{ROLE}_folders": list(folders), f"{ROLE}_cluster": wish.spec.name}


def representatives(store: Store, nodes: Sequence[Node]) -> list[Node]:
    """The nodes without those that see the folder of another one of them, on a file system that they share."""
    seen: set[str] = set()
    found = []
    for node in nodes:
        facts = node.setup.stores.get(store.path)
        if facts is None or (facts.filesystem and facts.filesystem in seen):
            continue
        seen.add(facts.filesystem)
        found.append(node)
    return found


def _one(store: Store, manifest: Manifest | None, seen: Mapping[str, tuple[int, int]], node: Node) -> Work:
    facts = node.setup.stores[store.path]
    if facts.error:
        return Work(node.name, "weights", ROLE, findings=(foreign(node.name, store, facts.error),))
    if manifest is None:
        theirs = _theirs_by_size(store, seen, facts)
        if theirs:
            what = f"{several(theirs, _MOST_NAMED)} differ"
            return Work(node.name, "weights", ROLE, findings=(foreign(node.name, store, what),))
        change = Change(store.path, _there(facts), f"{store.model.id} from {store.origin}")
        return Work(node.name, "weights", ROLE, changes=(change,))
    state = compare(manifest, facts)
    if state.theirs:
        names = several(state.theirs, _MOST_NAMED)
        return Work(node.name, "weights", ROLE, findings=(foreign(node.name, store, f"{names} differ"),))
    if state.whole and state.noted:
        return Work(node.name, "weights", ROLE)
    lacking = missing_bytes(manifest, state)
    findings: tuple[Finding, ...] = ()
    if lacking and facts.free_bytes < lacking + _SPARE_BYTES:
        findings = (no_room(node.name, store, lacking, facts.free_bytes, _SPARE_BYTES),)
    return Work(
        node.name,
        "weights",
        ROLE,
        variables={"model_store_folders": [{"path": store.path, "manifest": manifest.to_json()}]},
        changes=(Change(store.path, _was(state, manifest), _wanted(store, manifest)),),
        findings=findings,
    )


def _theirs_by_size(store: Store, seen: Mapping[str, tuple[int, int]], facts: StoreFacts) -> list[str]:
    """Files of others on the node that are not those of the folder here; known before anything was hashed."""
    if is_converted(store.model, seen):
        return []
    ours = placed(facts)
    return [
        name
        for name in chosen(store.model, seen)
        if name in facts.files and name not in ours and facts.files[name].size != seen[name][0]
    ]


def _there(facts: StoreFacts) -> str:
    return f"{len(facts.files)} files that npuctl did not fetch" if facts.files else "absent"


def _was(state: State, manifest: Manifest) -> str:
    lacking = len(state.missing) + len(state.differing)
    if state.absent:
        return "absent" + (f", {size(state.arrived_bytes)} have arrived" if state.arrived_bytes else "")
    if lacking:
        return f"{lacking} of {len(manifest.files)} files missing or different"
    return "never verified" if state.unknown else "without a manifest of ours, or with another"


def _wanted(store: Store, manifest: Manifest) -> str:
    revision = f" {manifest.revision[:12]}" if manifest.revision else ""
    return (
        f"{store.model.id}{revision} from {store.origin}: {len(manifest.files)} files, {size(manifest.size)}"
    )


def published(node: str, store: Store) -> Work:
    """The work of a node that downloaded a folder for others: it keeps it, so that nobody downloads it again."""
    return Work(
        node, "weights", ROLE, changes=(Change(store.path, "absent", f"kept, as {node} downloaded it"),)
    )


def chain(store: Store, manifest: Manifest, nodes: Sequence[Node], first: str = "") -> list[str]:
    """The nodes in the order in which files are handed on: who has most comes first.

    Of the nodes that are whole two take part, as there is nothing to bring to the others.

    Args:
        store: the folder.
        manifest: what should be in it.
        nodes: those that should have it, one for each file system.
        first: the node that downloaded it.
    """
    states = {node.name: compare(manifest, node.setup.stores[store.path]) for node in nodes}
    lacking = {name: missing_bytes(manifest, state) for name, state in states.items()}
    whole = [name for name, state in states.items() if state.whole]
    others = sorted((name for name in states if name not in whole), key=lambda name: lacking[name])
    order = [name for name in (*whole[:_WHOLE_SEEDS], *others) if name != first]
    return [first, *order] if first else order


def removal(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """Teardown, where weights were asked to go too: only what npuctl put there for this cluster, or for none that is noted."""
    works = []
    for node in nodes:
        owners = {
            store.path: _owner(facts) or wish.spec.name
            for store in stores(wish)
            if (facts := node.setup.stores.get(store.path)) and (facts.manifest or facts.partial)
        }
        there = [path for path, owner in owners.items() if owner == wish.spec.name]
        notes = tuple(
            f"{path} was filled for cluster {owner}: it stays"
            for path, owner in owners.items()
            if owner != wish.spec.name
        )
        if owners:
            variables = {f"{ROLE}_paths": there, f"{ROLE}_cluster": wish.spec.name} if there else {}
            changes = tuple(Change(path, "npuctl's", "removed") for path in there)
            works.append(
                Work(node.name, "weights", ROLE, "remove", variables=variables, changes=changes, notes=notes)
            )
    return works


def _owner(facts: StoreFacts) -> str:
    """The cluster that a folder was filled for; "" for none."""
    owner = (facts.manifest or {}).get("cluster")
    return owner if isinstance(owner, str) else ""
