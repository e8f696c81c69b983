"""Can a sandbox run on this machine? Asked before anything is made."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from npuctl.errors import UsageError
from npuctl.sandbox import docker

_ENSURE = "`sudo tools/ensure-docker` in npuctl's checkout installs and starts one on Debian and Ubuntu"
_ANSWER_SECONDS = 20
# Measured: systemd holds five, dbus, logind and containerd one each. Changing the machine's setting is not
# the sandbox's to do.
INOTIFY_A_NODE = 8
_INOTIFY_SETTING = Path("/proc/sys/fs/inotify/max_user_instances")
NO_INOTIFY = (
    f"a node needs {INOTIFY_A_NODE} inotify instances; where they run out, take other sandboxes down, or as"
    " root: sysctl fs.inotify.max_user_instances=1024"
)


def require_engine() -> None:
    """Return if a local Docker engine answers this user.

    Raises:
        UsageError: what is missing, and what to do about it.
    """
    if sys.platform != "linux":
        raise UsageError(
            f"a sandbox needs Linux; this is {sys.platform}",
            hint="nodes are reached at their container's address: run npuctl inside a Linux machine",
        )
    endpoint = os.environ.get("DOCKER_HOST", "")
    if endpoint and not endpoint.startswith("unix://"):
        raise UsageError(
            f"a sandbox needs a local Docker engine; DOCKER_HOST is {endpoint}",
            hint="unset DOCKER_HOST, or run npuctl on that machine",
        )
    if shutil.which("docker") is None:
        raise UsageError("no Docker client: `docker` is not in PATH", hint=f"install Docker; {_ENSURE}")
    try:
        answer = docker.attempt("version", "--format", "{{.Server.Version}}", timeout=_ANSWER_SECONDS)
    except docker.DockerError as error:
        raise UsageError(
            f"the Docker engine does not answer within {_ANSWER_SECONDS} s",
            hint="look at its log (journalctl -u docker), restart it",
        ) from error
    if answer.returncode != 0:
        raise why_no_answer(answer.stderr.decode(errors="replace"))


def require_inotify(nodes: int) -> None:
    """Return if the machine has inotify instances for that many nodes, as far as can be told beforehand.

    Raises:
        UsageError: even without anything else running they would not suffice.
    """
    try:
        limit = int(_INOTIFY_SETTING.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    if nodes * INOTIFY_A_NODE > limit:
        raise UsageError(
            f"{nodes} nodes need {nodes * INOTIFY_A_NODE} inotify instances; this machine allows {limit} a user",
            hint="fewer nodes, or as root: sysctl fs.inotify.max_user_instances=1024",
        )


def why_no_answer(complaint: str) -> UsageError:
    """Turn the client's complaint about an engine that does not answer into a remedy."""
    if "permission denied" in complaint.lower():
        return UsageError(
            "this user may not use the Docker engine: permission denied on its socket",
            hint='`sudo usermod -aG docker "$USER"`, then log in again (or run npuctl as root)',
        )
    if "cannot connect" in complaint.lower() or "is the docker daemon running" in complaint.lower():
        return UsageError(
            "the Docker engine does not run: its client finds no daemon",
            hint=f"`sudo systemctl start docker`; {_ENSURE}",
        )
    last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
    return UsageError(f"the Docker engine does not answer: {last}", hint="`docker info` shows more")


def why_no_node(complaint: str) -> str:
    """Return a remedy for a node that could not be created or started; "" if none is known."""
    text = complaint.lower()
    if "operation not permitted" in text or "unable to apply caps" in text or "permission denied" in text:
        return (
            "this machine lets its containers do less than a node needs (CAP_SYS_ADMIN, mounting "
            "cgroups): it may itself be an unprivileged container, or its engine rootless. "
            "Use a virtual or physical machine"
        )
    if "no space left" in text:
        return "the engine's disk is full: `docker system df` shows what uses it"
    return ""
