"""The way out for Docker: a file of environment variables that only root may read, and a drop-in that names it. Pure.

Docker's own documentation sets a proxy by a drop-in of its unit. The addresses stand in a file of their own, for a
drop-in may be read by everybody (`systemctl show` too), and a proxy's address often has a password in it.
Engine containers get theirs from the plan of services (npuctl/plan/fetching.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from npuctl.plan.build import secrets_text
from npuctl.plan.fetching import Environment, proxy_environment
from npuctl.plan.provision._contract import Node, Wish
from npuctl.plan.provision.settings import Setting

ENVIRONMENT_FILE = "/etc/docker/npuctl-proxy.env"
DROP_IN = "/etc/systemd/system/docker.service.d/npuctl-proxy.conf"


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """The file as it should be; no `environment`: it is not there."""

    path: str
    environment: Environment | None


def settings(wish: Wish, node: Node) -> list[Setting]:
    """The drop-in. `-`: between the removal of the file and that of the drop-in Docker still starts."""
    if not _wanted(wish, node):
        return []
    return [Setting(DROP_IN, "", f"[Service]\nEnvironmentFile=-{ENVIRONMENT_FILE}\n")]


def environment_file(wish: Wish, node: Node) -> EnvironmentFile | None:
    """The file of variables where it has to change; None where it is as it should be."""
    there = node.setup.files.get(ENVIRONMENT_FILE)
    exists = there is not None and not there.absent
    if not _wanted(wish, node):
        return EnvironmentFile(ENVIRONMENT_FILE, None) if exists else None
    wanted = proxy_environment(wish.spec.proxy)
    values = {**wanted.plain, **{name: wish.secrets[secret] for name, secret in wanted.secret.items()}}
    text = secrets_text({name: name for name in values}, values)
    if there is not None and (there.text, there.mode, there.owner) == (text, "0600", "root:root"):
        return None
    return EnvironmentFile(ENVIRONMENT_FILE, wanted)


def _wanted(wish: Wish, node: Node) -> bool:
    if wish.removing or not proxy_environment(wish.spec.proxy).plain:
        return False
    return bool(node.setup.programs.get("dockerd")) or wish.spec.container_engine is not None
