"""The cluster that is measured: a sandbox, deployed once by npuctl, and its state as the other tools need it."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import node_cpu
from benchmarks.measure import Meters, processes_naming
from npuctl import engines
from npuctl.health.probe import Target
from npuctl.operate.look import View, look, target_of
from npuctl.paths import content_root
from npuctl.plan.build import find_service, secrets_text
from npuctl.plan.checks import paths_to_look_at
from npuctl.plan.model import Replica, cluster_root
from npuctl.remote.inventory import Inventory
from npuctl.remote.ssh import options
from npuctl.sandbox import cluster
from npuctl.sandbox.progress import Progress

SANDBOX = "bench"
_SECRET = "bench_key"  # noqa: S105  its name
_ADDED_TO_SPEC = f"      api_key: {{secret: {_SECRET}}}\n"


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a variant needs.

    Attributes:
        expected: the state of every node for the other tools: node → {"reach": …, "bench": …}.
        work: a private folder for generated files and logs.
        environment: of every command; the SSH connections' sockets lie below it.
        ssh_args: options of ssh for all of them, npuctl's own.
    """

    inventory: Inventory
    expected: Mapping[str, dict[str, Any]]
    work: Path
    environment: Mapping[str, str]
    ssh_args: str
    meters: Meters

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.expected)

    @property
    def expected_file(self) -> Path:
        """The expected state, for pyinfra."""
        return self.work / "expected.json"

    @property
    def ansible_source(self) -> Path:
        """The expected state as a second inventory, for Ansible."""
        return self.work / "expected_inventory.json"

    def close_connections(self) -> None:
        """End every kept connection, so that the next command opens its own."""
        for node in self.expected.values():
            words = [*shlex.split(self.ssh_args), "-l", node["reach"]["user"], node["reach"]["address"]]
            subprocess.run(["ssh", "-O", "exit", *words], check=False, capture_output=True)


@contextmanager
def prepared(nodes: int, *, keep: bool, say: Callable[[str], None]) -> Iterator[Scene]:
    """A sandbox with that many nodes, deployed; taken down at the end unless `keep`."""
    # Short: the path of a connection's socket has at most 107 bytes.
    work = Path(tempfile.mkdtemp(prefix="npuctl-bench-"))
    os.environ["XDG_RUNTIME_DIR"] = str(work)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    scene: Scene | None = None
    try:
        folder = _bring_up(nodes)
        say("deploying once")
        _deploy(folder, work)
        scene = _scene(folder, work)
        yield scene
    finally:
        if scene is not None:
            scene.close_connections()
        if not keep:
            cluster.down([SANDBOX], Progress())
        shutil.rmtree(work)


def _bring_up(nodes: int) -> Path:
    found = cluster.find(SANDBOX)
    if found is not None and found.nodes != nodes:
        cluster.down([SANDBOX], Progress())
    # The name of the folder keeps it out of git.
    folder = content_root() / "inventories" / f"sandbox-{SANDBOX}"
    cluster.up(cluster.Wanted(SANDBOX, nodes, None, "sim", folder, force=True), Progress())
    variables = folder / "group_vars" / "all"
    spec = variables / "cluster.yml"
    spec.write_text(spec.read_text(encoding="utf-8") + _ADDED_TO_SPEC, encoding="utf-8")
    key = variables / "secrets.yml"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(f"npuctl_secrets:\n  {_SECRET}: {secrets.token_hex(16)}\n", encoding="utf-8")
    return folder


def _deploy(folder: Path, work: Path) -> None:
    log = work / "deploy.log"
    with log.open("wb") as sink:
        done = subprocess.run(["npuctl", "deploy", str(folder)], check=False, stdout=sink, stderr=sink)
    if done.returncode != 0:
        raise RuntimeError(f"npuctl deploy ended with {done.returncode}:\n{log.read_text(encoding='utf-8')}")


def _scene(folder: Path, work: Path) -> Scene:
    view = look(folder, lambda _progress: None)
    inventory = view.inventory
    expected = {replica.node: _expected(view, replica) for replica in view.plan.replicas}
    _write_private(work / "expected.json", expected)
    hosts = {node: {"bench": own["bench"]} for node, own in expected.items()}
    _write_private(work / "expected_inventory.json", {"all": {"hosts": hosts}})
    containers = [f"npuctl-{SANDBOX}-{node}" for node in expected]
    groups = node_cpu.meters_of(containers)
    meters = Meters(
        # A kept connection is a process of its own: "ssh: SOCKET [mux]".
        background=lambda: processes_naming(f"ssh: {work}/"),
        nodes=lambda: node_cpu.read(groups),
    )
    # Both go to the nodes' own accounts as every tool does; nothing of the user's agent or configuration.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "SSH_AUTH_SOCK" and not name.startswith(("ANSIBLE_", "NPUCTL_", "PYINFRA_"))
    }
    return Scene(inventory, expected, work, environment, shlex.join(options(inventory)), meters)


def _write_private(path: Path, data: Any) -> None:
    path.touch(mode=0o600)
    path.write_text(json.dumps(data), encoding="utf-8")


def _expected(view: View, replica: Replica) -> dict[str, Any]:
    inventory = view.inventory
    host = inventory.hosts[replica.node]
    return {
        "reach": {
            "address": host.address,
            "user": host.user,
            "key": host.key_file,
            "known_hosts": str(inventory.known_hosts),
        },
        "bench": {
            **_of_node(inventory, replica),
            **_of_container(replica),
            **_of_probe(inventory, target_of(inventory.spec, replica)),
        },
    }


def _of_node(inventory: Inventory, replica: Replica) -> dict[str, Any]:
    secret = next(file for file in replica.files if file.secret_env)
    cache = next(mount.source for mount in replica.container.mounts if mount.create)
    looked_at = [mount.source for mount in replica.container.mounts]
    named = [path for path in replica.container.devices if path.removeprefix("/dev/davinci").isdigit()]
    names = " -o ".join(f"-lname {path}" for path in named)
    return {
        "cluster": inventory.spec.name,
        "root": cluster_root(inventory.spec.name),
        "directory": replica.directory,
        "cache": cache,
        "model": find_service(inventory.spec, replica.service).model.path,
        "chips": list(replica.chips),
        "present": [
            *(path for path in looked_at if path not in {cache, secret.path}),
            *replica.container.devices,
        ],
        "secrets": {
            "path": secret.path,
            "mode": secret.mode,
            "content": secrets_text(secret.secret_env, inventory.secrets),
        },
        "holders_command": f"find /proc/[0-9]*/fd {names} 2>/dev/null | cut -d/ -f3 | sort -u",
        "facts_request": {
            "cluster": inventory.spec.name,
            "root": cluster_root(inventory.spec.name),
            "paths": paths_to_look_at(inventory.spec.services),
        },
    }


def _of_container(replica: Replica) -> dict[str, Any]:
    container = replica.container
    argv = _run_argv(replica)
    return {
        "container": container.name,
        "port": replica.port,
        "run": argv,
        "run_line": shlex.join(argv),
        "want": {
            "image": container.image,
            "argv": list(container.argv),
            "env": [f"{name}={value}" for name, value in sorted(container.env.items())],
            "labels": container.labels,
            "devices": list(container.devices),
            "mounts": [f"{mount.source}:{mount.target}:{not mount.read_only}" for mount in container.mounts],
            "shm_bytes": container.shm_bytes,
            "stop_timeout": container.stop_grace_seconds,
        },
    }


def _run_argv(replica: Replica) -> list[str]:
    container = replica.container
    argv = ["docker", "run", "--detach", "--name", container.name, "--init", "--network", "host"]
    argv += ["--restart", "always", "--shm-size", str(container.shm_bytes)]
    argv += ["--stop-timeout", str(container.stop_grace_seconds)]
    argv += ["--log-driver", "json-file", "--log-opt", "max-size=500m", "--log-opt", "max-file=3"]
    for name, value in sorted(container.env.items()):
        argv += ["--env", f"{name}={value}"]
    for name, value in container.labels.items():
        argv += ["--label", f"{name}={value}"]
    for path in container.devices:
        argv += ["--device", path]
    for mount in container.mounts:
        readonly = ",readonly" if mount.read_only else ""
        argv += ["--mount", f"type=bind,source={mount.source},target={mount.target}{readonly}"]
    return [*argv, container.image, *container.argv]


def _of_probe(inventory: Inventory, target: Target) -> dict[str, Any]:
    service = find_service(inventory.spec, target.service.name)
    probe = engines.load(service.engine).token_probe(service)
    return {
        "alive_path": probe.alive_path,
        "token_path": probe.token_path,
        "body": probe.body,
        "api_key": inventory.secrets[_SECRET],
    }
