"""The inventory folder, read as Ansible reads it: hosts, groups, how to reach them, secrets."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npuctl.errors import UsageError
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import parse_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEC_FILE = Path("group_vars/all/cluster.yml")
SECRETS_KEY = "npuctl_secrets"
# As in ansible.cfg: what a spec may name beside hosts.yml.
NO_INVENTORY = r"\.(run|cms|crl|p7s|tar|tgz|gz|xz|zst|zip|deb|rpm|pem|crt|safetensors|ckpt)$"
_HOST_KEY_SWITCHES = (
    "stricthostkeychecking",
    "userknownhostsfile",
    "globalknownhostsfile",
    "knownhostscommand",
)
_ANSIBLE_SWITCHES = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
_SSH_ARGS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
# Not ours to pass on: in a play it takes the place of the options that npuctl gives.
_REFUSED_ARGS = "ansible_ssh_args"


@dataclass(frozen=True, slots=True)
class Host:
    """One node and how to reach it.

    Attributes:
        connection: "ssh" or "local".
        become: run as another user by sudo; `become_password` is never put on a command line.
        ssh_args: more arguments of ssh, from ansible_ssh_common_args and ansible_ssh_extra_args.
    """

    name: str
    address: str
    connection: str = "ssh"
    user: str = ""
    port: int | None = None
    key_file: str = ""
    python: str = "python3"
    become: bool = False
    become_user: str = "root"
    become_password: str = field(default="", repr=False)
    ssh_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """One cluster's folder, read.

    Attributes:
        folder: absolute path.
        spec: the parsed cluster.yml; `spec_file` is its path as people would type it.
        groups: group → hosts, in the inventory's order.
    """

    folder: Path
    spec: ClusterSpec
    spec_file: str
    hosts: dict[str, Host]
    groups: dict[str, list[str]]
    secrets: dict[str, str] = field(repr=False)

    @property
    def known_hosts(self) -> Path:
        """The pinned host keys of this cluster."""
        return self.folder / ".ssh" / "known_hosts"

    @property
    def state(self) -> Path:
        """Where npuctl keeps journal, lock and run directories of this cluster."""
        return state_folder(self.folder)


def state_folder(folder: Path) -> Path:
    """Journal, lock and run folders of the cluster in that inventory folder; Ansible skips hidden names."""
    return folder.resolve() / ".npuctl"


def find_folder(given: str | None) -> Path:
    """The inventory folder: what was given, $NPUCTL_INVENTORY, or the only folder in inventories/.

    Raises:
        UsageError: there is none, or several to choose from.
    """
    chosen = given or os.environ.get("NPUCTL_INVENTORY")
    if chosen is None:
        folders = sorted(path.parent.parent.parent for path in Path("inventories").glob(f"*/{SPEC_FILE}"))
        if len(folders) != 1:
            names = ", ".join(str(folder) for folder in folders) or "none"
            raise UsageError(
                f"which inventory? Folders found below inventories/: {names}",
                hint="name one, as in `npuctl plan inventories/prod`, or set NPUCTL_INVENTORY",
            )
        chosen = str(folders[0])
    folder = Path(chosen)
    if not folder.is_dir():
        raise UsageError(
            f"there is no inventory folder {chosen}", hint="write one as docs/guides/deploy.md shows"
        )
    if not (folder / SPEC_FILE).is_file():
        raise UsageError(f"{chosen} has no {SPEC_FILE}", hint="the cluster spec belongs there")
    return folder


def load_inventory(folder: Path) -> Inventory:
    """Read spec, hosts, groups and secrets.

    Raises:
        UsageError: Ansible cannot read the inventory or its vault, or it would turn host keys off.
        SpecError: the spec has problems.
    """
    spec_path = folder / SPEC_FILE
    try:
        text = spec_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {spec_path}: {error}") from None
    spec = parse_cluster(text, file=str(spec_path))
    groups, variables = _read_with_ansible(folder, _folders_of_files(spec))
    hosts = {name: _host(name, own) for name, own in variables.items()}
    return Inventory(
        folder=folder.resolve(),
        spec=spec,
        spec_file=str(spec_path),
        hosts=hosts,
        groups=groups,
        secrets=_secrets(variables, folder),
    )


def _folders_of_files(spec: ClusterSpec) -> set[str]:
    """Folders beside hosts.yml in which the spec has files, as packages: no inventories."""
    named = [spec.driver.packages] if spec.driver else []
    if spec.container_engine:
        runtime = spec.container_engine.ascend_runtime
        named += [*spec.container_engine.packages, *([runtime.package] if runtime else [])]
    for service in spec.services:
        named += [path for path in (service.image_file, service.model.from_) if path]
    return {
        parts[0] for path in named if (parts := Path(path).parts) and not path.startswith(("/", "~", "."))
    }


def _read_with_ansible(
    folder: Path, no_inventories: set[str]
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    # Ansible's own reader: ranges, INI files, host_vars, vault and precedence are its, not ours to repeat.
    # Imported here: it costs 0.14 s of CPU that `--help` need not pay.
    from ansible.errors import AnsibleError  # noqa: PLC0415
    from ansible.inventory import manager as reading  # noqa: PLC0415
    from ansible.parsing.dataloader import DataLoader  # noqa: PLC0415
    from ansible.template import Templar  # noqa: PLC0415
    from ansible.vars.manager import VariableManager  # noqa: PLC0415

    loader = DataLoader()
    try:
        _unlock_vault(loader)
        reading.IGNORED = _no_inventories(
            [*reading.IGNORED_ALWAYS, *reading.IGNORED_PATTERNS, *reading.IGNORED_EXTS], no_inventories
        )
        manager = reading.InventoryManager(loader=loader, sources=[str(folder)])
        reader = VariableManager(loader=loader, inventory=manager)
        groups = {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()}
        variables = {}
        for host in manager.get_hosts():
            own = reader.get_vars(host=host, include_hostvars=False)
            templar = Templar(loader=loader, variables=own)
            wanted = {key: value for key, value in own.items() if _is_read(key)}
            variables[host.name] = {key: templar.template(value) for key, value in wanted.items()}
    except AnsibleError as error:
        raise UsageError(
            f"Ansible cannot read the inventory {folder}: {error}",
            hint="for a vault: set ANSIBLE_VAULT_PASSWORD_FILE to a file with its password",
        ) from None
    if not variables:
        raise UsageError(f"the inventory {folder} names no host", hint=f"write {folder}/hosts.yml")
    return groups, variables


def _no_inventories(ignored: list[bytes], folders: set[str]) -> re.Pattern[bytes]:
    """Ansible's own pattern of names that are no inventory, with those of packages and archives.

    It runs every executable file of an inventory's folder to ask it for hosts: a driver's installer beside
    hosts.yml would be run on this machine. For plays ansible.cfg says the same of files.
    """
    own = [NO_INVENTORY, *(f"^{re.escape(name)}$" for name in sorted(folders))]
    return re.compile(b"|".join([*ignored, *(pattern.encode() for pattern in own)]))


def _is_read(key: str) -> bool:
    return key == SECRETS_KEY or key.startswith("ansible_")


def _unlock_vault(loader: Any) -> None:
    path = os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE")
    if not path:
        return
    from ansible.parsing.vault import VaultSecretsContext, get_file_vault_secret  # noqa: PLC0415

    secret = get_file_vault_secret(filename=str(Path(path).expanduser()), loader=loader)
    secret.load()
    secrets = [("default", secret)]
    loader.set_vault_secrets(secrets)
    # A single value after !vault is decrypted when it is read, with the secrets of the process.
    context = VaultSecretsContext.current(optional=True)
    if context is None:
        VaultSecretsContext.initialize(VaultSecretsContext(secrets))
    else:
        context.secrets[:] = secrets


def _host(name: str, own: Mapping[str, Any]) -> Host:
    connection = str(own.get("ansible_connection", "ssh"))
    if connection not in {"ssh", "smart", "local"}:
        raise UsageError(
            f"{name}: ansible_connection is {connection!r}", hint="npuctl reaches nodes by ssh, or local"
        )
    _refuse_host_key_switches(name, own)
    ssh_args = [word for variable in _SSH_ARGS for word in shlex.split(str(own.get(variable, "")))]
    port = own.get("ansible_port")
    password = own.get("ansible_become_password", own.get("ansible_become_pass", ""))
    return Host(
        name=name,
        address=str(own.get("ansible_host", name)),
        connection="local" if connection == "local" else "ssh",
        user=str(own.get("ansible_user", "")),
        port=int(port) if port is not None else None,
        key_file=str(own.get("ansible_ssh_private_key_file", "")),
        python=_python(own),
        become=_truth(own.get("ansible_become", False)),
        become_user=str(own.get("ansible_become_user", "root")),
        become_password=str(password),
        ssh_args=tuple(ssh_args),
    )


def _refuse_host_key_switches(name: str, own: Mapping[str, Any]) -> None:
    for variable in (*_SSH_ARGS, _REFUSED_ARGS):
        text = str(own.get(variable, ""))
        if any(switch in text.lower() for switch in _HOST_KEY_SWITCHES):
            raise UsageError(
                f"{name}: {variable} ({text!r}) would change how host keys are checked",
                hint="take it out; pin the key in .ssh/known_hosts of the inventory",
            )
    for variable in _ANSIBLE_SWITCHES:
        if variable in own:
            raise UsageError(
                f"{name}: {variable} would change how host keys are checked",
                hint="take it out; pin the key in .ssh/known_hosts of the inventory",
            )
    if own.get(_REFUSED_ARGS):
        raise UsageError(
            f"{name}: {_REFUSED_ARGS} would take the place of npuctl's own options",
            hint="use ansible_ssh_common_args",
        )


def _python(own: Mapping[str, Any]) -> str:
    chosen = str(own.get("ansible_python_interpreter", "python3"))
    return "python3" if chosen.startswith("auto") else chosen


def _truth(value: object) -> bool:
    return str(value).lower() in {"true", "yes", "1", "on"}


def _secrets(variables: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, str]:
    secrets: dict[str, str] = {}
    for host, own in variables.items():
        found = own.get(SECRETS_KEY, {})
        if not isinstance(found, dict):
            raise UsageError(f"{folder}: {SECRETS_KEY} must be a mapping of names to values")
        for key, value in found.items():
            if secrets.setdefault(str(key), str(value)) != str(value):
                raise UsageError(
                    f"{folder}: the secret {key!r} has another value for {host}",
                    hint="a secret has one value in a cluster: write it in group_vars/all/vault.yml only",
                )
    return secrets
