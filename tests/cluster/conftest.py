"""A sandbox of three nodes for the whole folder."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from npuctl.sandbox import cluster as sandboxes
from tests.cluster.harness import NODES, PREFIX, Cluster, Node, Sandbox, run_sandbox
from tests.engine import skip_without_engine


def _remove_leftovers() -> None:
    """Sandboxes of this folder whose test run is dead."""
    for name in sandboxes.names():
        owner = re.fullmatch(rf"{PREFIX}(\d+)-[0-9a-f]+", name)
        if owner and not _is_pytest(int(owner[1])):
            run_sandbox("down", "--name", name)


def _is_pytest(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    # A worker of pytest-xdist is started by execnet, which reads its program from standard input.
    return b"pytest" in line or b"sys.stdin.readline" in line


@contextlib.contextmanager
def _nodes_up(engine: str, nodes: int, folder: Path, *more: str) -> Iterator[Sandbox]:
    skip_without_engine()
    _remove_leftovers()
    name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(2)}"
    try:
        wanted = ["--nodes", str(nodes), "--product", "a2", "--engine", engine, *more]
        up = run_sandbox("up", "--name", name, *wanted, "--inventory", str(folder), "--output", "json")
        members = json.loads(up)["nodes"]
        spec = yaml.safe_load((folder / "group_vars/all/cluster.yml").read_text())
        yield Sandbox(
            name,
            folder,
            tuple(Node(entry["node"], entry["container"], entry["address"]) for entry in members),
            spec["npuctl_cluster"]["services"][0],
        )
    finally:
        run_sandbox("down", "--name", name)


@contextlib.contextmanager
def _one_test(sandbox: Sandbox, folder: Path) -> Iterator[Cluster]:
    inventory = folder / "inventory"
    shutil.copytree(sandbox.inventory, inventory)
    work = folder / "work"
    work.mkdir()
    # A socket's path has at most 107 bytes: pytest's folders are too long for one.
    with tempfile.TemporaryDirectory(prefix="ct-", dir="/tmp") as sockets:
        cluster = Cluster(sandbox, inventory, work, Path(sockets))
        cluster.write()
        try:
            yield cluster
        finally:
            cluster.reset()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Three nodes with eight simulated NPUs each."""
    with _nodes_up("sim", len(NODES), tmp_path_factory.mktemp("sandbox") / "inventory") as found:
        yield found


@pytest.fixture(scope="session")
def lone_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One node, for tests that change a machine and need no second one."""
    with _nodes_up("sim", 1, tmp_path_factory.mktemp("lone") / "inventory") as found:
        yield found


@pytest.fixture
def cluster(sandbox: Sandbox, tmp_path: Path) -> Iterator[Cluster]:
    """The three nodes, empty before the test and after it."""
    with _one_test(sandbox, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def watched(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The three nodes, for the tests of a module that only look at them and take back what they break."""
    with _one_test(sandbox, tmp_path_factory.mktemp("watched")) as found:
        yield found


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One bare node, and a mirror that has everything it lacks."""
    folder = tmp_path_factory.mktemp("mirrored") / "inventory"
    with _nodes_up("sim", 1, folder, "--mirror", "--mirror-model", "8") as found:
        yield found


@pytest.fixture
def bare(mirrored: Sandbox, tmp_path: Path) -> Iterator[Cluster]:
    """The bare node with its mirror and the inventory that the sandbox wrote; given back after the test."""
    spec = yaml.safe_load((mirrored.inventory / "group_vars/all/cluster.yml").read_text())["npuctl_cluster"]
    vault = (mirrored.inventory / "group_vars/all/vault.yml").read_text()
    with _one_test(mirrored, tmp_path) as found:
        found.rewrite(spec)
        yield found
        found.env.clear()
        (found.inventory / "group_vars/all/vault.yml").write_text(vault)
        found.rewrite(spec)
        found.run("teardown", "--provision", "--images", "--weights", "--yes")


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Cluster]:
    """One node with an operating system and nothing else, a mirror, and the inventory that leads on."""
    folder = tmp_path_factory.mktemp("machine") / "inventory"
    with _nodes_up("sim", 1, folder, "--bare", "--mirror") as sandbox, _one_test(sandbox, tmp_path) as found:
        found.rewrite(yaml.safe_load((folder / "group_vars/all/cluster.yml").read_text())["npuctl_cluster"])
        yield found


@pytest.fixture(scope="module")
def super_pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two A3 nodes, for the tests of a module."""
    folder = tmp_path_factory.mktemp("super-pod")
    with (
        _nodes_up("sim", 2, folder / "inventory", "--product", "a3") as sandbox,
        _one_test(sandbox, tmp_path_factory.mktemp("pod")) as found,
    ):
        yield found


@pytest.fixture(scope="session")
def real_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One node with the real vLLM for CPU."""
    with _nodes_up("cpu", 1, tmp_path_factory.mktemp("real") / "inventory") as found:
        yield found


@pytest.fixture
def real_cluster(real_sandbox: Sandbox, tmp_path: Path) -> Iterator[Cluster]:
    """The node with the real engine, empty before the test and after it."""
    with _one_test(real_sandbox, tmp_path) as found:
        yield found
