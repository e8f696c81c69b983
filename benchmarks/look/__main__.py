"""`python -m benchmarks.look`: inspect and check on 64 nodes, also with one that does not answer."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.look import report
from benchmarks.look.meter import Measured, measure
from benchmarks.look.nodes import LightNode, light_nodes
from benchmarks.report import write_between_markers
from npuctl.paths import content_root
from npuctl.sandbox import docker

_NODES, _ROUNDS = 64, 3
_PLAY = """
- hosts: serving
  gather_facts: false
  tasks:
    - npuctl_facts:
        cluster: look
        root: /etc/npuctl/look
        survey: {models: [/data/models/tiny], images: [], caches: [], second_opinion: false}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 when every goal is met, 1 when one is not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.look", description=__doc__)
    parser.add_argument("--nodes", type=int, default=_NODES, metavar="N", help=f"default {_NODES}")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"default {_ROUNDS}")
    parser.add_argument("--no-docs", action="store_true", help="leave the documentation as it is")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="npuctl-look-") as folder:
        measured = _measure(Scene(Path(folder)), options.nodes, options.rounds)
    print(report.markdown(measured, "en"))
    if not options.no_docs:
        for page, language in (("benchmarks.md", "en"), ("benchmarks.zh.md", "zh")):
            text = report.markdown(measured, language)
            write_between_markers(content_root() / "docs" / page, text, begin=report.BEGIN, end=report.END)
    return 0 if all(goal["met"] for goal in report.goals(measured)) else 1


@dataclass(frozen=True, slots=True)
class Scene:
    """Where everything of one measurement lies; sockets of SSH connections too."""

    folder: Path

    @property
    def inventory(self) -> Path:
        """The inventory folder."""
        return self.folder / "inventory"

    def run(self, *argv: str) -> Measured:
        """Run a command with nothing of the user's own settings."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name != "SSH_AUTH_SOCK" and not name.startswith(("ANSIBLE_", "NPUCTL_"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        own = {
            "PATH": path,
            "XDG_RUNTIME_DIR": str(self.folder),
            "ANSIBLE_LIBRARY": str(content_root() / "library"),
            "ANSIBLE_MODULE_UTILS": str(content_root() / "library" / "module_utils"),
            "ANSIBLE_SSH_ARGS": f"-o UserKnownHostsFile={self.inventory}/.ssh/known_hosts -o ControlMaster=no",
        }
        return measure(argv, kept | own, self.folder / "log", beside=f"ssh: {self.folder}/")

    def close_connections(self) -> None:
        """End every kept connection, so that the next command opens its own."""
        for socket in self.folder.glob("npuctl-*/*"):
            words = ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "node"]
            subprocess.run(words, check=False, capture_output=True)


def _measure(scene: Scene, count: int, rounds: int) -> dict[str, Any]:
    scene.inventory.mkdir()
    machine = results.machine()
    with light_nodes(count, scene.inventory) as nodes:
        inspect = ("npuctl", "inspect", str(scene.inventory), "--output", "json")
        check = ("npuctl", "check", str(scene.inventory), "--output", "json")
        play = scene.folder / "play.yml"
        play.write_text(_PLAY, encoding="utf-8")
        ansible = ("ansible-playbook", "-i", str(scene.inventory), "-f", str(count), str(play))
        for warm_up in (inspect, check):
            scene.run(*warm_up)
        scene.close_connections()
        samples = {
            "inspect": _rounds(scene, inspect, rounds, expect=count),
            "check": _rounds(scene, check, rounds, expect=count),
            "ansible": [_succeeded(scene.run(*ansible))],
        }
        with _frozen(nodes[-1]):
            scene.run(*inspect)  # the kept connection to it has to be found dead first
            samples["inspect-frozen"] = _rounds(scene, inspect, rounds, expect=count - 1)
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine,
        "nodes": count,
        "reach": json.loads(samples["check"][-1].output)["reach"],
        "rows": {name: _figures(taken) for name, taken in samples.items()},
    }


def _rounds(scene: Scene, argv: Sequence[str], rounds: int, *, expect: int) -> list[Measured]:
    """Run it so often; the answer must be about that many nodes.

    Raises:
        RuntimeError: it was not.
    """
    taken = []
    for _ in range(rounds):
        done = scene.run(*argv)
        answer = json.loads(done.output) if done.output.startswith("{") else {}
        answered = len(answer.get("nodes", ())) or answer.get("checked", 0)
        if answered != expect:
            raise RuntimeError(f"{' '.join(argv)}: {answered} of {expect} nodes: {done.output[-2000:]}")
        print(f"{argv[1]}: {done.wall:.1f} s, {done.peak_mb:.0f} MB", file=sys.stderr, flush=True)
        taken.append(done)
    return taken


def _succeeded(done: Measured) -> Measured:
    if done.code != 0:
        raise RuntimeError(f"ansible-playbook ended with {done.code}: {done.output[-2000:]}")
    return done


def _figures(taken: Sequence[Measured]) -> dict[str, list[float]]:
    return {
        "wall": [done.wall for done in taken],
        "cpu": [done.cpu for done in taken],
        "peak_mb": [done.peak_mb for done in taken],
    }


@contextmanager
def _frozen(node: LightNode) -> Iterator[None]:
    """While it lasts, connections to the node are taken and nothing answers on them."""
    docker.run("pause", node.container)
    try:
        yield
    finally:
        docker.run("unpause", node.container)


if __name__ == "__main__":
    sys.exit(main())
