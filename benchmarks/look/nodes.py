"""Many light nodes: the sandbox's node image with sshd and simulated NPUs, without systemd and inner Docker.

64 whole sandbox nodes do not fit into one machine's inotify limits. What a look needs of a node is sshd, Python,
the NPU tools and a Docker API; the last is the machine's own, so all nodes show the same images.
"""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from npuctl.sandbox import docker, images
from npuctl.sandbox.nodes import MARKER, greets
from npuctl.sandbox.progress import Progress

LABEL = "npuctl.benchmark=look"
NETWORK = "npuctl-look"
SUBNET = "10.77.240.0/24"
_FIRST_HOST = 10
_START = """
set -e
mkdir -p /run/sshd /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
npusim init --product a2 --node-index "$1"
npusim boot
exec /usr/sbin/sshd -D -e
"""


@dataclass(frozen=True, slots=True)
class LightNode:
    """One light node."""

    index: int

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return f"node-{self.index}"

    @property
    def container(self) -> str:
        """Its container."""
        return f"npuctl-look-{self.index}"

    @property
    def address(self) -> str:
        """Where it is reached."""
        return SUBNET.replace("0/24", str(_FIRST_HOST + self.index))


@contextmanager
def light_nodes(count: int, folder: Path) -> Iterator[list[LightNode]]:
    """That many nodes and an inventory for them in `folder`; gone at the end."""
    nodes = [LightNode(index) for index in range(1, count + 1)]
    remove()
    image = images.ensure_node_image(Progress())
    docker.run("network", "create", "--label", LABEL, "--subnet", SUBNET, NETWORK)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda node: _start(node, image, count), nodes))
        key = _make_key(folder)
        with ThreadPoolExecutor(4) as pool:
            keys = list(pool.map(lambda node: _let_in(node, key), nodes))
        _write_inventory(folder, nodes, keys)
        yield nodes
    finally:
        remove()


def remove() -> None:
    """Take away what an earlier run left, and this one's nodes."""
    containers = docker.lines("ps", "--all", "--quiet", "--filter", f"label={LABEL}")
    if containers:
        docker.run("rm", "--force", "--volumes", *containers)
    docker.attempt("network", "rm", NETWORK)


def _start(node: LightNode, image: str, count: int) -> None:
    marker = f'{{"sandbox": "look", "node": {node.index}, "nodes": {count}, "simulated": true}}'
    docker.run(
        *("run", "--detach", "--name", node.container, "--hostname", node.name, "--label", LABEL),
        *("--network", NETWORK, "--ip", node.address, "--device-cgroup-rule", "c *:* rwm"),
        *("--volume", "/var/run/docker.sock:/var/run/docker.sock", "--entrypoint", "/bin/sh"),
        *(image, "-c", f"echo '{marker}' > {MARKER}\n{textwrap.dedent(_START)}", "node", str(node.index)),
    )


def _make_key(folder: Path) -> str:
    (folder / ".ssh").mkdir(mode=0o700)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / ".ssh" / "key")], check=True
    )
    return (folder / ".ssh" / "key.pub").read_text(encoding="utf-8").strip()


def _let_in(node: LightNode, key: str) -> str:
    """Give the node the key; return its host key."""
    while not greets(node.address):
        pass
    script = f"umask 077; echo '{key}' > /root/.ssh/authorized_keys"
    docker.run("exec", node.container, "sh", "-ec", script)
    found = docker.run("exec", node.container, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
    return f"{node.address} {found[0]} {found[1]}"


def _write_inventory(folder: Path, nodes: Sequence[LightNode], keys: Sequence[str]) -> None:
    hosts = {node.name: {"ansible_host": node.address} for node in nodes}
    variables = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(folder / ".ssh" / "key"),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"serving": {"hosts": hosts, "vars": variables}}))
    (folder / ".ssh" / "known_hosts").write_text("\n".join(keys) + "\n")
    spec = {
        "name": "look",
        "npu_network": "required",
        "services": [
            {
                "name": "chat",
                "engine": "vllm",
                "version": "v0.18.0",
                "model": {"id": "npuctl/tiny", "path": "/data/models/tiny"},
                "hosts": "serving",
                "replicas": len(nodes),
                "topology": {"tensor_parallel": 8},
            }
        ],
    }
    variables_folder = folder / "group_vars" / "all"
    variables_folder.mkdir(parents=True)
    (variables_folder / "cluster.yml").write_text(yaml.safe_dump({"npuctl_cluster": spec}, sort_keys=False))
