"""The inventory folder of a sandbox: how npuctl, Ansible and ssh reach its nodes."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError
from npuctl.sandbox import mirror as mirrors
from npuctl.sandbox.model import MIRROR_HOST, MODEL_ID, MODEL_PATH, NPUSIM_STATE, SIMULATED, Sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from npuctl.sandbox.apt import Mirrors
    from npuctl.sandbox.mirror import Mirror

_CA = ".mirror/ca.pem"  # Ansible reads whatever else lies in the folder as hosts, but nothing that begins with a dot
_PASSWORD, _TOKEN = "mirror_registry_password", "mirror_hub_token"
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
    def ca(self) -> Path:
        """The certificate of the mirror's authority, where there is a mirror."""
        return self.folder / _CA

    @property
    def vault(self) -> Path:
        """The secrets; the user's own once they are there."""
        return self.folder / "group_vars" / "all" / "vault.yml"

    @property
    def cluster(self) -> Path:
        """What to serve; the user's own once it is there."""
        return self.folder / "group_vars" / "all" / "cluster.yml"


@dataclass(frozen=True, slots=True)
class Supply:
    """What bare nodes are provisioned from.

    Attributes:
        machines: lines of cluster.yml that say how the machines are to be.
        image_file: file of this machine with the engine's image.
        weights: folder with the model, beside hosts.yml.
    """

    machines: str = ""
    image_file: str = ""
    weights: str = ""


NOTHING = Supply()


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
    return _write_unless_edited(inventory.cluster, inventory.seal, text, force=force)


def write_mirror(inventory: Inventory, mirror: Mirror, *, force: bool) -> bool:
    """Write the mirror's certificate and the vault; tell whether the vault holds the mirror's secrets now."""
    inventory.ca.parent.mkdir(parents=True, exist_ok=True)
    inventory.ca.write_text(mirror.ca)
    text = (
        f"{_HEADER}npuctl_secrets:\n  {_PASSWORD}: {_quoted(mirror.password)}\n"
        f"  {_TOKEN}: {_quoted(mirror.token)}\n"
    )
    seal = inventory.seal.with_name("vault.sha256")
    inventory.vault.parent.mkdir(parents=True, exist_ok=True)
    if not inventory.vault.exists():
        inventory.vault.touch(mode=0o600)
        inventory.vault.write_text(text)
        seal.write_text(_seal(text))
    return _write_unless_edited(inventory.vault, seal, text, force=force)


def _write_unless_edited(path: Path, seal: Path, text: str, *, force: bool) -> bool:
    """Write `text`, unless somebody edited what the seal was put on; tell whether it is `text` now."""
    if path.exists() and not force:
        present = path.read_text()
        ours = seal.exists() and seal.read_text() == _seal(present)
        if not ours:
            return present == text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    seal.write_text(_seal(text))
    return True


def hosts_yaml(inventory: Inventory, sandbox: Sandbox) -> str:
    """Return hosts.yml."""
    hosts = "".join(f"    {node.name}:\n      ansible_host: {node.address}\n" for node in sandbox.members)
    return (
        f"{_HEADER}serving:\n  hosts:\n{hosts}  vars:\n    ansible_user: root\n"
        f"    ansible_ssh_private_key_file: {_quoted(str(inventory.key.resolve()))}\n"
        "    ansible_python_interpreter: /usr/bin/python3\n"
    )


def mirror_yaml(mirror: Mirror, archive: Mirrors) -> str:
    """Return the part of cluster.yml that points at the mirror; `archive`: where nodes have packages from.

    What npuctl itself may fetch on this machine is named by address, for only nodes know the mirror's name.
    """
    apt = {archive.archive: "debian"} | ({archive.security: "debian-security"} if archive.security else {})
    apt_lines = "".join(
        f"      {address}: https://{MIRROR_HOST}/{folder}\n" for address, folder in apt.items()
    )
    login_host = mirrors.LOGIN_IMAGE.partition("/")[0]
    return f"""  mirrors:
    pip:
      index: https://{MIRROR_HOST}/pypi/simple
      extra_index: ["https://{MIRROR_HOST}/extra/simple"]
    git:
      https://github.com/: https://{MIRROR_HOST}/git/github.com/
    docker:
      registry_mirrors: ["https://{mirrors.REGISTRY}"]
      images:
        quay.io: {mirrors.REGISTRY}/quay.io
        {login_host}: {mirrors.LOGIN_REGISTRY}/{login_host}
    huggingface: https://{mirror.address}/huggingface
    modelscope: https://{mirror.address}/modelscope
    apt:
{apt_lines}    ca: {_CA}
  registries:
    {mirrors.LOGIN_REGISTRY}:
      username: {mirror.user}
      password: {{secret: {_PASSWORD}}}
  hub_tokens:
    huggingface: {{secret: {_TOKEN}}}
    modelscope: {{secret: {_TOKEN}}}
"""


def cluster_yaml(
    sandbox: Sandbox,
    *,
    engine: str,
    image: str,
    version: str,
    mirror: str = "",
    supply: Supply = NOTHING,
) -> str:
    """Return cluster.yml for the engine `sim` or `cpu`, or one without services for `none`.

    With `mirror` (its part of the file) the nodes have no weights yet: provisioning brings them. `supply` says
    what bare nodes are made from.
    """
    head = (
        f"{_HEADER}npuctl_cluster:\n  name: {sandbox.name}\n{_npu_network(sandbox)}{mirror}{supply.machines}"
    )
    if engine == "none":
        return f"{head}  services: []\n"
    replicas, parallel = (sandbox.nodes, 2) if engine == "sim" else (1, 1)
    remark = "" if engine == "sim" else "  # chooses the flag table; the image holds the vLLM for CPU"
    hosts = "serving" if engine == "sim" else "[node-1]"
    source = f", source: path, from: {supply.weights}" if supply.weights else ""
    source = ", source: huggingface" if mirror else source
    image_file = f"      image_file: {_quoted(supply.image_file)}\n" if supply.image_file else ""
    return f"""{head}  services:
    - name: chat
      engine: vllm
      version: {version}{remark}
      image: {image}
{image_file}      model: {{id: {MODEL_ID}, path: {MODEL_PATH}{source}}}
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
