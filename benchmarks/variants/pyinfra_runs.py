"""The same state and the same questions by pyinfra, over its own SSH connector."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.scene import Scene
from benchmarks.variants.command import Command

_CONTENT = Path(__file__).resolve().parent.parent / "content"


def deploy(scene: Scene) -> Command:
    """The same state as a pyinfra deploy."""
    return _run(scene, "deploy-pyinfra", "pyinfra_deploy.py", operations=3)


def health(scene: Scene) -> Command:
    """Container, /health and a token as pyinfra facts."""
    return _run(scene, "health-pyinfra", "pyinfra_health.py", operations=0)


def argv(scene: Scene, script: str, *more: str) -> tuple[str, ...]:
    """A deploy of benchmarks/content, the quickest way: all nodes at once, none waits for another."""
    every = ("--json", "--no-wait", "--parallel", str(scene.nodes))
    return ("pyinfra", *every, *more, str(_CONTENT / "pyinfra_inventory.py"), str(_CONTENT / script))


def environment(scene: Scene) -> dict[str, str]:
    """Where the inventory finds the nodes and their state."""
    return {"BENCH_EXPECTED": str(scene.expected_file)}


def complaint(code: int, output: str, *, operations: int) -> str:
    """Why a run does not count: it failed, left an operation out, or changed something."""
    if code:
        return f"ended with {code}"
    answer = next((line for line in output.splitlines() if line.startswith('{"plan"')), "{}")
    totals = (json.loads(answer).get("results") or {}).get("totals", {})
    if totals.get("hosts") != operations:
        return f"{totals.get('hosts')} of {operations} operations"
    return "" if totals["no_change"] == operations else f"changed something: {totals}"


def _run(scene: Scene, key: str, script: str, operations: int) -> Command:
    return Command(
        key,
        argv(scene, script, "-y"),
        lambda code, output: complaint(code, output, operations=operations * scene.nodes),
        environment(scene),
    )
