"""The plan as a second inventory source: each node with the variables that the plan computed for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from npuctl import engines
from npuctl.errors import PlayFailedError
from npuctl.plan.model import Step

GROUP = "npuctl_changed"
_ENTRY = {"create": "start", "recreate": "start", "start": "start", "stop": "stop", "remove": "remove"}


def inventory_source(
    steps: Sequence[Step], cluster: str, folders_to_remove: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """An Ansible inventory in which the group npuctl_changed holds every node with something to do.

    Args:
        steps: what to do; steps without an engine only remove their folder.
        cluster: name of the cluster.
        folders_to_remove: node → more folders to remove at the end.
    """
    hosts: dict[str, dict[str, Any]] = {}
    for node in {step.node for step in steps} | set(folders_to_remove or {}):
        own = [step for step in steps if step.node == node]
        orphans = [step.directory for step in own if not step.engine]
        hosts[node] = {
            # Removals first: a replica that goes may hold the chips and the port of one that comes.
            "npuctl_steps": [
                step_variables(step, cluster)
                for step in sorted(own, key=lambda step: step.action != "remove")
                if step.engine
            ],
            "npuctl_folders_to_remove": orphans + (folders_to_remove or {}).get(node, []),
        }
    named = {node: literal(variables) for node, variables in sorted(hosts.items())}
    return {"all": {"children": {GROUP: {"hosts": named}}}}


def literal(value: Any) -> Any:
    """The value with every text that Ansible would take for a template marked as none.

    Labels and folder names come from nodes: `{{ lookup('pipe', …) }}` in one would run on the controller.
    """
    if isinstance(value, dict):
        return {key: literal(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [literal(entry) for entry in value]
    if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")):
        return {"__ansible_unsafe": value}
    return value


def without_texts(source: dict[str, Any]) -> dict[str, Any]:
    """The source as it may be kept: without texts of files that others own too, for these may hold their passwords.

    Whole variables go, so that a play by hand leaves such files alone and does not write half of them.
    """
    hosts = source["all"]["children"][GROUP]["hosts"]
    kept = {
        node: {name: value for name, value in variables.items() if not _holds_texts(name, value)}
        for node, variables in hosts.items()
    }
    return {"all": {"children": {GROUP: {"hosts": kept}}}}


def _holds_texts(name: str, value: Any) -> bool:
    if name.startswith("node_record_"):  # what stood in these files before
        return True
    return name.endswith("_files") and any(isinstance(entry, dict) and "text" in entry for entry in value)


def step_variables(step: Step, cluster: str) -> dict[str, Any]:
    """One step as the roles engine_* take it (npuctl_step in their argument_specs).

    Raises:
        PlayFailedError: a node's container names an engine that npuctl does not have.
    """
    if step.engine not in engines.names():
        raise PlayFailedError(
            f"{step.node}: container {step.container} says that its engine is {step.engine!r}",
            hint="npuctl has no such engine; remove that container by hand if it is not wanted",
        )
    variables: dict[str, Any] = {
        "name": step.name,
        "engine": step.engine,
        "entry": _ENTRY[step.action],
        "cluster": cluster,
        "container": step.container,
        "directory": step.directory,
        "stop_grace_seconds": step.stop_grace_seconds,
    }
    if step.replica is not None:
        container = step.replica.container
        variables["files"] = [
            {key: value for key, value in asdict(file).items() if key != "sha256" and value is not None}
            for file in step.replica.files
        ]
        spec = {**container.described(), "labels": container.labels}
        del spec["name"]
        variables["spec"] = spec
        variables["pull"] = asdict(container.pull)
        # A changed file that is mounted into the container is seen by a new container only.
        variables["recreate"] = step.action == "recreate"
    return variables
