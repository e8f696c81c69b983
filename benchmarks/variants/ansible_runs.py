"""Ordinary Ansible tasks, tuned: pipelining, kept connections, no fact gathering, 20 forks."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.scene import Scene
from benchmarks.variants.command import Command
from npuctl.paths import content_root

FORKS = 20
_CONTENT = Path(__file__).resolve().parent.parent / "content"
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


def deploy(scene: Scene) -> Command:
    """The same state as ordinary tasks."""
    return _play(scene, "deploy-ansible", "deploy.yml")


def one_module(scene: Scene) -> Command:
    """What npuctl reads of a node, by its own module in one task."""
    return _play(scene, "deploy-ansible-one-module", "one_module.yml")


def health(scene: Scene) -> Command:
    """Container, /health and a token as ordinary tasks."""
    return _play(scene, "health-ansible", "health.yml")


def argv(scene: Scene, playbook: str, *more: str) -> tuple[str, ...]:
    """A play of benchmarks/content on the scene."""
    inventories = ("-i", str(scene.inventory.folder), "-i", str(scene.ansible_source))
    return ("ansible-playbook", *inventories, "--forks", str(FORKS), *more, str(_CONTENT / playbook))


def environment(scene: Scene) -> dict[str, str]:
    """The project's ansible.cfg (pipelining is in it) and the connections that npuctl keeps."""
    return {
        "ANSIBLE_CONFIG": str(content_root() / "ansible.cfg"),
        "ANSIBLE_SSH_ARGS": scene.ssh_args,
        "ANSIBLE_NOCOLOR": "1",
    }


def complaint(nodes: int, code: int, output: str) -> str:
    """Why a play does not count: it failed, left a node out, or changed something."""
    if code:
        return f"ended with {code}"
    recap = _RECAP.findall(output)
    if len(recap) != nodes:
        return f"{len(recap)} of {nodes} nodes in the recap"
    changed = [host for host, _ok, changed, _unreachable, _failed in recap if int(changed)]
    return f"changed {', '.join(changed)}" if changed else ""


def _play(scene: Scene, key: str, playbook: str) -> Command:
    return Command(
        key,
        argv(scene, playbook),
        lambda code, output: complaint(scene.nodes, code, output),
        environment(scene),
    )
