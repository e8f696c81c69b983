"""Proof that the deploys check the same: each must notice what was broken on one node."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.scene import SANDBOX, Scene
from benchmarks.variants import ansible_runs, pyinfra_runs
from benchmarks.variants.command import WrongRunError
from npuctl.sandbox import docker

_READY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Drift:
    """Something that goes wrong on a node, as shell lines that break and mend it."""

    what: str
    breaks: str
    mends: str


def drifts(bench: Mapping[str, str], secrets: Mapping[str, str]) -> list[Drift]:
    """What every tool must notice, for a node's state."""
    path, model = secrets["path"], bench["model"]
    return [
        Drift("mode of a file", f"chmod 0644 {path}", f"chmod {secrets['mode']} {path}"),
        Drift("content of a file", f"cp -p {path} /run/b; echo >>{path}", f"mv -f /run/b {path}"),
        Drift(
            "restart policy of the container",
            f"docker update --restart no {bench['container']}",
            f"docker update --restart always {bench['container']}",
        ),
        Drift("model folder", f"mv {model} {model}.away", f"mv {model}.away {model}"),
    ]


def prove(scene: Scene, say: Callable[[str], None]) -> list[str]:
    """Break and mend node by node state; what was noticed by all three, in words.

    Raises:
        WrongRunError: a tool did not notice.
    """
    node = next(iter(scene.expected))
    state = scene.expected[node]["bench"]
    noticed = []
    for drift in drifts(state, state["secrets"]):
        say(f"proof: {drift.what}")
        for tool, notices in (("npuctl", _npuctl), ("pyinfra", _pyinfra), ("ordinary tasks", _ansible)):
            _on(node, drift.breaks)
            seen = notices(scene, node)
            _on(node, drift.mends)
            if not seen:
                raise WrongRunError(f"{tool} did not notice: {drift.what}")
        noticed.append(drift.what)
    _wait_until_ready(scene)
    return noticed


def _npuctl(scene: Scene, node: str) -> bool:
    code, output = _run(
        scene, ("npuctl", "plan", str(scene.inventory.folder), "--limit", node, "--output", "json"), {}
    )
    plan = json.loads(output)
    return code != 0 or any(step["action"] != "none" for step in plan["steps"])


def _pyinfra(scene: Scene, node: str) -> bool:
    argv = pyinfra_runs.argv(scene, "pyinfra_deploy.py", "--dry", "--limit", node)
    code, output = _run(scene, argv, pyinfra_runs.environment(scene))
    return code != 0 or any(node in entry["hosts_with_change"] for entry in json.loads(output)["plan"])


def _ansible(scene: Scene, node: str) -> bool:
    """For real: in check mode its command tasks would look at nothing. It mends what it can."""
    argv = ansible_runs.argv(scene, "deploy.yml", "--limit", node)
    code, output = _run(scene, argv, ansible_runs.environment(scene))
    return bool(ansible_runs.complaint(1, code, output))


def _run(scene: Scene, argv: tuple[str, ...], more: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, env={**scene.environment, **more}
    )
    return done.returncode, done.stdout


def _on(node: str, line: str) -> None:
    docker.run("exec", f"npuctl-{SANDBOX}-{node}", "sh", "-c", line)


def _wait_until_ready(scene: Scene) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while _run(scene, ("npuctl", "health", str(scene.inventory.folder)), {})[0] != 0:
        if time.monotonic() > deadline:
            raise WrongRunError("the replicas are not ready again after the proof")
        time.sleep(1)
