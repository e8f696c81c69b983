"""The same state and the same questions by pyinfra, over its own SSH connector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.scene import Scene
from benchmarks.variants.command import Command

_CONTENT = Path(__file__).resolve().parent.parent / "content"


def deploy(scene: Scene) -> Command:
    """The same state as a pyinfra deploy."""
    return _run(scene, "deploy-pyinfra", "pyinfra_deploy.py")


def health(scene: Scene) -> Command:
    """Container, /health and a token as pyinfra facts."""
    return _run(scene, "health-pyinfra", "pyinfra_health.py")


def argv(script: str, *more: str) -> tuple[str, ...]:
    """A deploy of benchmarks/content."""
    return ("pyinfra", "-y", *more, str(_CONTENT / "pyinfra_inventory.py"), str(_CONTENT / script))


def environment(scene: Scene) -> dict[str, str]:
    """Where the inventory finds the nodes and their state."""
    return {"BENCH_EXPECTED": str(scene.expected_file)}
