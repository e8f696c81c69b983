"""`python -m benchmarks.weights`: one file to 8 and 16 nodes over links of 400 Mbit/s, handed on, by star, by Ansible."""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.look.nodes import LightNode, light_nodes
from benchmarks.report import write_between_markers
from benchmarks.weights import report
from benchmarks.weights.links import shape
from npuctl.paths import content_root
from npuctl.remote.inventory import Inventory, load_inventory
from npuctl.remote.transfer import Copied, Copy, copy
from npuctl.sandbox import docker

NAME, FOLDER, PARTIAL = "weights.bin", "/data/models/bench", "/data/models/.bench.npuctl-partial"
_PORT, _STAR_PORT = 7356, 7357
_MB, _MBIT = 200, 400
_COUNTS, _ROUNDS = (8, 16), 3
_PLAY = """
- hosts: serving
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {src: FILE, dest: /data/models/arrived.bin, mode: "0644"}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """The nodes of one measurement; the first one has the file."""

    folder: Path
    inventory: Inventory
    nodes: Sequence[LightNode]
    sha256: str
    size: int

    def names(self, count: int) -> list[str]:
        """The first so many nodes after the one that has the file, and that one before them."""
        return [node.name for node in self.nodes[: count + 1]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 when every goal is met, 1 when one is not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weights", description=__doc__)
    parser.add_argument("--mb", type=int, default=_MB, metavar="N", help=f"size of the file, default {_MB}")
    parser.add_argument("--mbit", type=int, default=_MBIT, metavar="N", help=f"of each link, default {_MBIT}")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"default {_ROUNDS}")
    parser.add_argument("--no-docs", action="store_true", help="leave the documentation as it is")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="npuctl-weights-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder  # connections of this measurement only
        measured = _measure(Path(folder), options.mb * 1_000_000, options.mbit, options.rounds)
    print(report.markdown(measured, "en"))
    if not options.no_docs:
        for page, language in (("benchmarks.md", "en"), ("benchmarks.zh.md", "zh")):
            text = report.markdown(measured, language)
            write_between_markers(content_root() / "docs" / page, text, begin=report.BEGIN, end=report.END)
    return 0 if all(goal["met"] for goal in report.goals(measured)) else 1


def _measure(folder: Path, size: int, mbit: int, rounds: int) -> dict[str, Any]:
    machine = results.machine()
    (folder / "inventory").mkdir()
    file = folder / NAME
    file.write_bytes(os.urandom(size))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with light_nodes(max(_COUNTS) + 1, folder / "inventory", npus=False) as nodes:
        docker.run("exec", nodes[0].container, "mkdir", "-p", FOLDER)
        docker.run("cp", str(file), f"{nodes[0].container}:{FOLDER}/{NAME}")
        shape(nodes, mbit)
        scene = Scene(folder, load_inventory(folder / "inventory"), nodes, digest, size)
        _copy(scene, scene.names(max(_COUNTS)))  # opens the connections, and has the first node hash its file
        _clean(scene)
        rows: dict[str, list[float]] = {"one": _rounds(scene, rounds, 1, _chain)}
        for count in _COUNTS:
            rows[f"chain-{count}"] = _rounds(scene, rounds, count, _chain)
            rows[f"star-{count}"] = _rounds(scene, 1, count, _star)
            rows[f"ansible-{count}"] = _rounds(scene, 1, count, _ansible)
        rows["killed"] = _rounds(scene, rounds, max(_COUNTS), _killed)
    return {
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "machine": machine,
        "mb": size / 1e6,
        "mbit": mbit,
        "ideal": size * 8 / (mbit * 1e6),
        "counts": list(_COUNTS),
        "rows": rows,
    }


def _rounds(
    scene: Scene, rounds: int, count: int, variant: Callable[[Scene, int], Sequence[str]]
) -> list[float]:
    """Seconds of each round; every node that was meant must hold the right bytes.

    Raises:
        RuntimeError: one does not.
    """
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        arrived = variant(scene, count)
        taken.append(time.perf_counter() - began)
        _verify(scene, arrived, count)
        _clean(scene)
        print(f"{variant.__name__[1:]} to {count}: {taken[-1]:.1f} s", file=sys.stderr, flush=True)
    return taken


def _copy(scene: Scene, names: Sequence[str]) -> Copied:
    hosts = scene.inventory.hosts
    wanted = Copy(
        path=FOLDER,
        files={NAME: {"size": scene.size, "sha256": scene.sha256}},
        nodes=names,
        hosts=hosts,
        ours={},
        addresses={name: hosts[name].address for name in names},
        port=_PORT,
    )
    return copy(scene.inventory, wanted, None, lambda _text: None)


def _chain(scene: Scene, count: int) -> list[str]:
    """What npuctl does: from node to node, with hashes."""
    copied = _copy(scene, scene.names(count))
    if copied.failed or copied.cut_off:
        raise RuntimeError(f"{copied.failed} {copied.cut_off}")
    return [f"{PARTIAL}/{NAME}"]


def _killed(scene: Scene, count: int) -> list[str]:
    """The same, and a node in the middle dies when it has half."""
    names = scene.names(count)
    middle = scene.nodes[count // 2]
    # By its own command line: ours is the only program of this node that carries this name.
    script = (
        f"until [ $(stat -c %s {PARTIAL}/{NAME} 2>/dev/null || echo 0) -gt {scene.size // 2} ]; do sleep 0.05; done;"
        f" kill -9 $(ss -Hltnp 'sport = :{_PORT}' | grep -o 'pid=[0-9]*' | cut -d= -f2)"
    )
    killer = threading.Thread(target=docker.run, args=["exec", middle.container, "sh", "-c", script])
    killer.start()
    copied = _copy(scene, names)
    killer.join()
    if set(copied.failed) != {middle.name} or any(
        copied.received[name] != scene.size for name in names[1:] if name != middle.name
    ):
        raise RuntimeError(f"{copied.failed} {copied.received}")
    return [f"{PARTIAL}/{NAME}"]


def _star(scene: Scene, count: int) -> list[str]:
    """Every node fetches the file from the first one by HTTP; no hashes."""
    first, others = scene.nodes[0], scene.nodes[1 : count + 1]
    serve = ["python3", "-m", "http.server", str(_STAR_PORT), "--directory", FOLDER]
    docker.run("exec", "--detach", first.container, "timeout", "600", *serve)
    url = f"http://{first.address}:{_STAR_PORT}/{NAME}"
    fetch = ["curl", "--fail", "--silent", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
    with ThreadPoolExecutor(count) as pool:
        list(
            pool.map(
                lambda node: docker.run(
                    "exec", node.container, *fetch, "-o", "/data/models/arrived.bin", url
                ),
                others,
            )
        )
    end = f"kill $(ss -Hltnp 'sport = :{_STAR_PORT}' | grep -o 'pid=[0-9]*' | cut -d= -f2)"
    docker.run("exec", first.container, "sh", "-c", end)
    return ["/data/models/arrived.bin"]


def _ansible(scene: Scene, count: int) -> list[str]:
    """ansible.builtin.copy from this machine to all at once, with its own default connections."""
    play = scene.folder / "play.yml"
    play.write_text(_PLAY.replace("FILE", str(scene.folder / NAME)), encoding="utf-8")
    known = scene.inventory.known_hosts
    environment = {**os.environ, "ANSIBLE_SSH_COMMON_ARGS": f"-o UserKnownHostsFile={known}"}
    limit = ",".join(scene.names(count)[1:])
    argv = [
        "ansible-playbook",
        "-i",
        str(scene.inventory.folder),
        "-f",
        str(count),
        "--limit",
        limit,
        str(play),
    ]
    argv[0] = str(Path(sys.executable).parent / argv[0])
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    return ["/data/models/arrived.bin"]


def _verify(scene: Scene, places: Sequence[str], count: int) -> None:
    wrong = []
    for node in scene.nodes[1 : count + 1]:
        found = docker.run("exec", node.container, "sh", "-c", f"sha256sum {places[0]} || true")
        wrong += [] if found.startswith(scene.sha256) else [node.name]
    if len(wrong) > 1:  # of a round in which one was killed, it alone has not got the file
        raise RuntimeError(f"{', '.join(wrong)}: not the right bytes in {places[0]}")


def _clean(scene: Scene) -> None:
    for node in scene.nodes:
        docker.run(
            "exec", node.container, "sh", "-c", f"rm -rf {PARTIAL} /data/models/arrived.bin /root/.ansible"
        )


if __name__ == "__main__":
    sys.exit(main())
