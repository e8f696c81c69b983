"""From what is on a node to what should be: the steps, with reasons and a readable difference."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from npuctl.facts.model import ContainerFacts, FileFacts, NodeFacts
from npuctl.plan.model import Action, Replica, Step, cluster_root

_RUNNING = frozenset({"running", "restarting"})
_KEEP_RUNNING = "always"
DEFAULT_GRACE_SECONDS = 30


def steps_of_node(
    node: str, facts: NodeFacts, replicas: Sequence[Replica], expected: AbstractSet[str], cluster: str
) -> Iterator[Step]:
    """One step a replica that should be here, and one for each of ours that should not.

    `expected` names every replica that the spec wants here, placed or not: one that cannot be placed (its
    chips cannot be read, say) may well be serving, and is no reason to remove it.

    A node whose container engine does not answer yields no steps: what runs there is unknown, and the
    checks name it.
    """
    if facts.docker.error:
        return
    present = {container.name: container for container in facts.containers}
    yield from _removals(node, facts, expected, cluster)
    for replica in replicas:
        yield _step(replica, present.get(replica.container.name), facts)


def _step(replica: Replica, container: ContainerFacts | None, facts: NodeFacts) -> Step:
    file_reasons, file_diff = _files(replica, facts)
    if container is None:
        return _of(replica, "create", ("the container is absent", *file_reasons), _created(replica))
    wanted = replica.container.labels["npuctl.config"]
    if container.config != wanted:
        changed = tuple(_container_diff(container.spec, replica.container.described()))
        reasons = ("the configuration changed",) if changed or not file_reasons else ()
        return _of(replica, "recreate", (*reasons, *file_reasons), (*changed, *file_diff))
    if file_reasons:
        return _of(replica, "recreate", file_reasons, file_diff)
    if container.state not in _RUNNING:
        stopped = container.restart_policy == "no" and container.state == "exited"
        state = "was stopped by npuctl stop" if stopped else f"is {container.state}"
        why = f"the container {state} (exit code {container.exit_code})"
        return _of(replica, "start", (why,), ())
    if container.restart_policy != _KEEP_RUNNING:
        return _of(replica, "start", (f"its restart policy is {container.restart_policy!r}",), ())
    return _of(replica, "none", (), ())


def _of(replica: Replica, action: Action, reasons: tuple[str, ...], diff: tuple[str, ...]) -> Step:
    return Step(
        node=replica.node,
        action=action,
        name=replica.name,
        container=replica.container.name,
        engine=replica.engine,
        directory=replica.directory,
        stop_grace_seconds=replica.container.stop_grace_seconds,
        reasons=reasons,
        diff=diff,
        replica=replica,
    )


def _removals(node: str, facts: NodeFacts, expected: AbstractSet[str], cluster: str) -> Iterator[Step]:
    root = cluster_root(cluster)
    wanted = {f"npuctl-{cluster}-{name}" for name in expected}
    folders = {f"{root}/{name}" for name in expected}
    for container in facts.containers:
        if container.name not in wanted:
            step = step_for_container(node, container, "remove", cluster)
            folders.add(step.directory)
            yield replace(step, reasons=("the spec has no such replica here",))
    for path, file in sorted(facts.files.items()):
        if file.kind == "directory" and path.rpartition("/")[0] == root and path not in folders:
            name = path.rpartition("/")[2]
            yield Step(
                node=node,
                action="remove",
                name=name,
                container="",
                engine="",
                directory=path,
                reasons=("a folder of a replica that the spec does not have",),
            )


def step_for_container(node: str, container: ContainerFacts, action: Action, cluster: str) -> Step:
    """A step for a container as it is there, whatever the spec says."""
    name = f"{container.service}-{container.replica}"
    try:
        grace = int(json.loads(container.spec)["stop_grace_seconds"])
    except (ValueError, TypeError, KeyError):
        grace = DEFAULT_GRACE_SECONDS
    return Step(
        node=node,
        action=action,
        name=name,
        container=container.name,
        engine=container.engine,
        directory=f"{cluster_root(cluster)}/{name}",
        stop_grace_seconds=grace,
    )


def _files(replica: Replica, facts: NodeFacts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reasons: list[str] = []
    diff: list[str] = []
    for file in replica.files:
        there = facts.files.get(file.path)
        if there is None:
            reasons.append(f"{file.path} is absent")
            continue
        what = _file_difference(there, kind=file.kind, mode=file.mode, owner=file.owner, sha256=file.sha256)
        if what:
            reasons.append(f"{file.path} changed")
            diff += [f"  {file.path}: {line}" for line in what]
    return tuple(reasons), tuple(diff)


def _file_difference(there: FileFacts, *, kind: str, mode: str, owner: str, sha256: str) -> list[str]:
    pairs = [("kind", there.kind, kind), ("mode", there.mode, mode), ("owner", there.owner, owner)]
    lines = [f"{name} {old} → {new}" for name, old, new in pairs if old != new]
    if there.sha256 != sha256:
        lines.append("content differs")
    return lines


def _created(replica: Replica) -> tuple[str, ...]:
    return tuple(f"+ {line}" for line in _lines(replica.container.described()))


def _container_diff(label: str, wanted: dict[str, Any]) -> Iterator[str]:
    try:
        old = _lines(json.loads(label))
    except (ValueError, TypeError, KeyError, AttributeError):
        old = []
    new = _lines(wanted)
    yield from (f"- {line}" for line in old if line not in new)
    yield from (f"+ {line}" for line in new if line not in old)


def _lines(container: dict[str, Any]) -> list[str]:
    """A container as lines that a person compares: one a flag, a variable, a device, a mount."""
    lines = [f"image {container['image']}"]
    lines += _flag_lines([str(word) for word in container["argv"]])
    lines += [f"env {name}={value}" for name, value in sorted(container["env"].items())]
    lines += [f"device {device}" for device in container["devices"]]
    for mount in container["mounts"]:
        suffix = " (read-only)" if mount["read_only"] else ""
        lines.append(f"mount {mount['source']} → {mount['target']}{suffix}")
    lines.append(f"shm {container['shm_bytes'] // 2**30} GiB")
    lines.append(f"stop grace {container['stop_grace_seconds']} s")
    return lines


def _flag_lines(argv: list[str]) -> list[str]:
    """The words of a command line, each flag together with its value."""
    first = next((index for index, word in enumerate(argv) if word.startswith("--")), len(argv))
    lines: list[str] = []
    for word in argv[first:]:
        if word.startswith("--") or not lines:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}"
    return [shlex.join(argv[:first]), *(f"  {line}" for line in lines)]
