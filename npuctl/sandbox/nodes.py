"""One node's container: made, started, waited for, given files."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError
from npuctl.sandbox import docker, preflight
from npuctl.sandbox.images import File, Files, tar_of
from npuctl.sandbox.model import LABEL, LABEL_NODE, LABEL_PRODUCT, Node, Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARKER = "/etc/npuctl-sandbox"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
KEY_FILES = ("root/.ssh/authorized_keys", "home/ops/.ssh/authorized_keys")

_CAPABILITIES = (
    *("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_NICE", "SYSLOG", "IPC_LOCK", "DAC_READ_SEARCH"),
    *("SYS_TTY_CONFIG", "AUDIT_CONTROL", "SYS_BOOT"),
)
# A node that reboots itself ends its container (the kernel kills its first process), and Docker starts it again.
REBOOTS, STAYS_OFF = "on-failure", "no"
_RESTARTS_OF_A_BOOT = 2  # a node that ends again and again while it boots does not come up
_BOOT_SECONDS = 90
_STOP_SECONDS = "20"


@dataclass(frozen=True, slots=True)
class Container:
    """A node's container as the outer engine sees it; `attached` to its network or cut off."""

    name: str
    node: str
    state: str
    image: str
    attached: bool


def existing(sandbox: str) -> dict[str, Container]:
    """Return the containers of a sandbox by node name."""
    ours = ("--filter", f"label={LABEL}={sandbox}", "--filter", f"label={LABEL_NODE}")
    ids = docker.lines("ps", "--all", "--quiet", *ours)
    if not ids:
        return {}
    found = (_container(entry) for entry in json.loads(docker.run("inspect", *ids)))
    return {container.node: container for container in sorted(found, key=lambda each: each.name)}


def create(sandbox: Sandbox, node: Node, image: str) -> None:
    """Make a node's container, not started; its volume carries the sandbox's label too."""
    docker.run(
        *("create", "--name", node.container, "--hostname", node.name),
        *("--label", f"{LABEL}={sandbox.name}", "--label", f"{LABEL_NODE}={node.name}"),
        *("--label", f"{LABEL_PRODUCT}={sandbox.product}"),
        *("--network", sandbox.network, "--ip", node.address, "--restart", REBOOTS),
        *(word for capability in _CAPABILITIES for word in ("--cap-add", capability)),
        *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
        *("--device-cgroup-rule", "c *:* rwm", "--cgroupns", "private"),
        *(
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "--stop-signal",
            "SIGRTMIN+3",
            "--stop-timeout",
            _STOP_SECONDS,
        ),
        *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec,mode=1777"),  # noqa: S108
        *("--mount", f"type=volume,dst=/var/lib/docker,volume-label={LABEL}={sandbox.name}"),
        image,
    )


def start(container: str) -> None:
    """Start a node's container; does not wait until it has booted.

    Raises:
        PlayFailedError: it does not start; the hint says why, where that is known.
    """
    try:
        docker.run("start", container)
    except docker.DockerError as error:
        raise PlayFailedError(str(error), hint=preflight.why_no_node(str(error))) from error


def start_services(container: str) -> None:
    """Start again what somebody stopped on a running node."""
    docker.attempt("exec", container, "systemctl", "start", "ssh", "docker.socket", "docker", timeout=60)


def wait_until_up(node: Node, *, engine: bool = True, seconds: float = _BOOT_SECONDS) -> None:
    """Return when systemd has booted, sshd greets and, with `engine`, the inner Docker engine answers.

    Raises:
        PlayFailedError: not within `seconds`; the message says what is missing.
    """
    deadline = time.monotonic() + seconds
    _wait(node, "sshd", lambda: greets(node.address), deadline)
    if engine:
        _wait(node, "its Docker engine", lambda: inner_docker(node.container), deadline)


def greets(address: str) -> bool:
    """Tell whether an SSH server greets at that address."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def inner_docker(container: str) -> bool:
    """Tell whether the Docker engine inside a node answers."""
    return docker.succeeds("exec", container, "docker", "version", "--format", "ok", timeout=15)


def give_files(container: str, files: Files) -> None:
    """Write files into a node, running or not; they belong to root."""
    docker.run("cp", "-", f"{container}:/", stdin=tar_of(files))


def identity_files(sandbox: Sandbox, node: Node, public_key: str) -> Files:
    """Return what makes a container this node: its marker and who may log in."""
    marker = {
        "sandbox": sandbox.name,
        "name": node.name,
        "node": node.index,
        "nodes": sandbox.nodes,
        "address": node.address,
        "product": sandbox.product,
        "simulated": True,
    }
    options = "--bare" if sandbox.bare else f"--driver {sandbox.driver}"
    npusim = f"NPUSIM_PRODUCT={sandbox.product}\nNPUSIM_NODE_INDEX={node.index}\nNPUSIM_OPTIONS={options}\n"
    return {
        MARKER.lstrip("/"): File((json.dumps(marker, indent=2) + "\n").encode()),
        "etc/default/npusim": File(npusim.encode()),
        # sshd reads them as the user who logs in, and accepts root as their owner.
        **{name: File(public_key.encode()) for name in KEY_FILES},
    }


def host_key(container: str) -> str:
    """Return a node's public host key, read through the engine: nobody on the network can lie about it."""
    kind, key = docker.run("exec", container, "cat", f"{HOST_KEY}.pub").split()[:2]
    return f"{kind} {key}"


def copy_out(image: str, path: str, target: Path) -> None:
    """Copy a folder out of an image into `target`, which does not exist yet."""
    container = docker.run("create", image).strip()
    try:
        docker.run("cp", f"{container}:{path}", str(target))
    finally:
        docker.attempt("rm", "--force", "--volumes", container)


def _container(entry: dict[str, object]) -> Container:
    config, state = _mapping(entry["Config"]), _mapping(entry["State"])
    networks = _mapping(_mapping(entry["NetworkSettings"])["Networks"])
    return Container(
        name=str(entry["Name"]).lstrip("/"),
        node=str(_mapping(config["Labels"]).get(LABEL_NODE, "")),
        state=str(state["Status"]),
        image=str(config["Image"]),
        attached=bool(networks),
    )


def _wait(node: Node, what: str, is_up: Callable[[], bool], deadline: float) -> None:
    before = _life(node)[1]
    while not is_up():
        state, restarts = _life(node)
        if state == "exited" or restarts - before >= _RESTARTS_OF_A_BOOT:
            raise PlayFailedError(
                f"{node.name} ended while it booted\n{_last_words(node)}", hint=preflight.NO_INOTIFY
            )
        if time.monotonic() > deadline:
            raise PlayFailedError(f"{node.name}: {what} is not up in time\n{_last_words(node)}")
        time.sleep(0.3)


def _life(node: Node) -> tuple[str, int]:
    """A node's state, and how often Docker has started it again by itself since somebody started it."""
    template = "{{.State.Status}} {{.RestartCount}}"
    words = docker.attempt("container", "inspect", "--format", template, node.container).stdout.split()
    return (words[0].decode(), int(words[1])) if words else ("", 0)


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _last_words(node: Node) -> str:
    failed = docker.attempt("exec", node.container, "systemctl", "--failed", "--no-legend", "--plain")
    log = docker.attempt("logs", "--tail", "5", node.container)
    text = (failed.stdout + log.stdout + log.stderr).decode(errors="replace").strip()
    return f"  its last words: {text or 'none'}"
