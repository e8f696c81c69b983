"""npuctl itself, and the plainest loop over the same connections."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

from benchmarks.scene import Scene
from benchmarks.variants.command import Command
from npuctl.health import probe
from npuctl.operate.look import expected_replicas

_PLAIN = Path(__file__).resolve().parent.parent / "content" / "plain_probe.py"


def deploy(scene: Scene, *, cold: bool = False) -> Command:
    """`npuctl deploy` where nothing has to change."""
    key = "deploy-npuctl-cold" if cold else "deploy-npuctl"
    return Command(key, ("npuctl", "deploy", str(scene.inventory.folder)), _changed, cold=cold)


def health(scene: Scene) -> Command:
    """`npuctl health`."""
    return Command("health-npuctl", ("npuctl", "health", str(scene.inventory.folder)), _failed)


def plain_health(scene: Scene) -> Command:
    """The same program with the same request to every node, by ssh over the kept connections."""
    calls = scene.work / "probes.json"
    calls.touch(mode=0o600)
    calls.write_text(json.dumps(_calls(scene)), encoding="utf-8")
    return Command("health-plain", (sys.executable, "-I", "-S", str(_PLAIN), str(calls)), _failed)


def _calls(scene: Scene) -> list[dict[str, object]]:
    """What npuctl would pipe to each node, caught where it would start ssh."""
    calls: list[dict[str, object]] = []

    def note(argv: list[str], *, input: bytes, **_rest: object) -> None:  # noqa: A002  subprocess.run's word
        calls.append({"argv": argv, "input": input.decode()})
        raise OSError("only noted")

    with mock.patch("subprocess.run", note):
        probe.ask_replicas(scene.inventory, expected_replicas(scene.inventory))
    return calls


def _changed(code: int, output: str) -> str:
    return _failed(code, output) or ("" if "nothing to do" in output else "something had to change")


def _failed(code: int, _output: str) -> str:
    return f"ended with {code}" if code else ""
