"""Many light nodes: the sandbox's node image with sshd and simulated NPUs, without systemd and inner Docker.

64 whole sandbox nodes do not fit into one machine's inotify limits. What a look needs of a node is sshd, Python,
the NPU tools and a Docker API; the last is the machine's own, so all nodes show the same images. A tool gives
an answer that it gave before from a file: the simulator's own work, 9 ms of CPU a call and 10,000 calls a round,
would be most of what is measured.
"""

from __future__ import annotations

import json
import subprocess
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
_REMEMBERING = """\
#!/bin/sh
answer="/run/answers/${0##*/} $*"
[ ! -e "$answer" ] || exec cat "$answer"
"$0.simulator" "$@" > "$answer.$$"
code=$?
cat "$answer.$$"
[ "$code" -ne 0 ] || mv "$answer.$$" "$answer"
exit "$code"
"""
_START = """
set -e
mkdir -p /run/answers
for tool in /usr/local/bin/npu-smi /usr/local/Ascend/driver/tools/hccn_tool; do
  mv "$tool" "$tool.simulator"
  cp /run/remembering "$tool"
done
mkdir -p /run/sshd /root/.ssh
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
npusim init --product a2 --node-index "$1"
npusim boot
setsid python3 -ISE -c 'import sys; sys.path.insert(0, "/usr/local/lib/npusim")
from npusim.responder import main
sys.exit(main())' > /dev/null 2>&1 &
exec /usr/sbin/sshd -D -e
"""

_START_BARE = """
set -e
mkdir -p /run/sshd /root/.ssh /data/models
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
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
def light_nodes(count: int, folder: Path, *, npus: bool = True) -> Iterator[list[LightNode]]:
    """That many nodes and an inventory for them in `folder`; gone at the end. Without `npus`, SSH and Python alone."""
    nodes = [LightNode(index) for index in range(1, count + 1)]
    remove()
    image = images.ensure_node_image(Progress())
    docker.run("network", "create", "--label", LABEL, "--subnet", SUBNET, NETWORK)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda node: _start(node, image, count, npus=npus), nodes))
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


def _start(node: LightNode, image: str, count: int, *, npus: bool) -> None:
    marker = json.dumps(
        {
            "sandbox": "look",
            "name": node.name,
            "node": node.index,
            "nodes": count,
            "address": node.address,
            "product": "a2",
            "simulated": True,
        }
    )
    script = f"echo '{marker}' > {MARKER}\ncat > /run/remembering <<'END'\n{_REMEMBERING}END\nchmod 755 /run/remembering\n"
    docker.run(
        *("run", "--detach", "--name", node.container, "--hostname", node.name, "--label", LABEL),
        *("--network", NETWORK, "--ip", node.address, "--device-cgroup-rule", "c *:* rwm"),
        *("--volume", "/var/run/docker.sock:/var/run/docker.sock", "--entrypoint", "/bin/sh"),
        *(image, "-c", script + _START if npus else _START_BARE, "node", str(node.index)),
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
