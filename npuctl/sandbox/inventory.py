"""The inventory folder of a sandbox: how npuctl, Ansible and ssh reach its nodes."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError
from npuctl.sandbox.model import MODEL_PATH, NPUSIM_STATE, SIMULATED, Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEADER = f"# Written by `npuctl sandbox up`: {SIMULATED}.\n"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Where the files of an inventory lie."""

    folder: Path

    @property
    def key(self) -> Path:
        """The private key for root and ops on every node."""
        return self.folder / ".ssh" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The nodes' host keys."""
        return self.folder / ".ssh" / "known_hosts"

    @property
    def hosts(self) -> Path:
        """The nodes and their addresses."""
        return self.folder / "hosts.yml"

    @property
    def seal(self) -> Path:
        """The hash of the cluster.yml that was written here: another one was edited by its user."""
        return self.folder / ".ssh" / "cluster.sha256"

    @property
    def cluster(self) -> Path:
        """What to serve; the user's own once it is there."""
        return self.folder / "group_vars" / "all" / "cluster.yml"


def default_folder(name: str, current: Path) -> Path:
    """Return the inventory folder of a sandbox when none is asked for."""
    parent = current / "inventories"
    return parent / name if parent.is_dir() else current / f"{name}-inventory"


def ensure_key(inventory: Inventory) -> str:
    """Return the public key, made if there is none.

    Raises:
        PlayFailedError: ssh-keygen failed or is not installed.
    """
    inventory.key.parent.mkdir(parents=True, exist_ok=True)
    inventory.key.parent.chmod(0o700)
    public = inventory.key.with_suffix(".pub")
    try:
        if not inventory.key.exists():
            _keygen("-q", "-t", "ed25519", "-N", "", "-C", "npuctl-sandbox", "-f", str(inventory.key))
        elif not public.exists():
            public.write_text(_keygen("-y", "-f", str(inventory.key)))
    except (OSError, subprocess.CalledProcessError) as error:
        raise PlayFailedError(
            f"cannot make an SSH key in {inventory.key.parent}: {error}",
            hint="is ssh-keygen installed (package openssh-client), and the folder writable?",
        ) from error
    inventory.key.chmod(0o600)
    return public.read_text()


def write(inventory: Inventory, sandbox: Sandbox, host_keys: Mapping[str, str]) -> None:
    """Write hosts.yml and known_hosts; `host_keys` by node name."""
    inventory.hosts.write_text(hosts_yaml(inventory, sandbox))
    inventory.known_hosts.write_text(
        "".join(f"{node.address},{node.name} {host_keys[node.name]}\n" for node in sandbox.members)
    )


def write_cluster(inventory: Inventory, text: str, *, force: bool) -> bool:
    """Write cluster.yml, unless somebody edited the one that is there; tell whether it is `text` now."""
    if inventory.cluster.exists() and not force:
        present = inventory.cluster.read_text()
        ours = inventory.seal.exists() and inventory.seal.read_text() == _seal(present)
        if not ours:
            return present == text
    inventory.cluster.parent.mkdir(parents=True, exist_ok=True)
    inventory.cluster.write_text(text)
    inventory.seal.write_text(_seal(text))
    return True


def hosts_yaml(inventory: Inventory, sandbox: Sandbox) -> str:
    """Return hosts.yml."""
    hosts = "".join(f"    {node.name}:\n      ansible_host: {node.address}\n" for node in sandbox.members)
    return (
        f"{_HEADER}serving:\n  hosts:\n{hosts}  vars:\n    ansible_user: root\n"
        f"    ansible_ssh_private_key_file: {_quoted(str(inventory.key.resolve()))}\n"
        "    ansible_python_interpreter: /usr/bin/python3\n"
    )


def cluster_yaml(sandbox: Sandbox, *, engine: str, image: str, version: str) -> str:
    """Return cluster.yml for the engine `sim` or `cpu`, or one without services for `none`."""
    if engine == "none":
        return f"{_HEADER}npuctl_cluster:\n  name: {sandbox.name}\n{_npu_network(sandbox)}  services: []\n"
    replicas, parallel = (sandbox.nodes, 2) if engine == "sim" else (1, 1)
    remark = "" if engine == "sim" else "  # chooses the flag table; the image holds the vLLM for CPU"
    hosts = "serving" if engine == "sim" else "[node-1]"
    return f"""{_HEADER}npuctl_cluster:
  name: {sandbox.name}
{_npu_network(sandbox)}  services:
    - name: chat
      engine: vllm
      version: {version}{remark}
      image: {image}
      model: {{id: npuctl/tiny, path: {MODEL_PATH}}}
      hosts: {hosts}
      replicas: {replicas}
      topology: {{tensor_parallel: {parallel}}}
      port: 8000
      # How `npuctl sandbox fault NODE engine-…` reaches the engine.
      mounts: ["{NPUSIM_STATE}:{NPUSIM_STATE}:ro"]
"""


def _npu_network(sandbox: Sandbox) -> str:
    """The line that makes faults of the NPU network errors, where the simulated NPUs have one."""
    return "  npu_network: required\n" if sandbox.nodes > 1 and sandbox.product != "310p" else ""


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _keygen(*arguments: str) -> str:
    command = ["ssh-keygen", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
