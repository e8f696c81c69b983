"""Programs on many nodes at once, over OpenSSH connections that are kept.

The same options go to Ansible (npuctl/runner/run.py), so that both use one connection a node. Host keys are
always checked; no option turns that off.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from npuctl.errors import UsageError
from npuctl.remote import pythons
from npuctl.remote.inventory import Host, Inventory
from npuctl.remote.program import BOOTSTRAP, PYTHON_OPTIONS, Program

CONNECT_SECONDS = 10
KEEP_SECONDS = 300
AT_ONCE = 64
_TELL_SECONDS = 3.0
_MOST_NAMES = 5
_SSH_FAILED = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node said: data, or why it could not be asked.

    `error` is empty exactly when `data` is the program's answer. `sent` and `received` are this machine's
    clock before and after the call, between which the node's clock was read.
    """

    node: str
    data: Any = None
    error: str = ""
    hint: str = ""
    sent: float = 0.0
    received: float = 0.0


def options(inventory: Inventory) -> list[str]:
    """Options of ssh for every connection to this cluster."""
    # Quoted: ssh takes the value apart at blanks.
    known = [f'"{inventory.known_hosts}"'] if inventory.known_hosts.is_file() else []
    known.append("~/.ssh/known_hosts")
    return [
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", f"UserKnownHostsFile={' '.join(known)}"),
        *("-o", f"ConnectTimeout={CONNECT_SECONDS}"),
        *("-o", "ServerAliveInterval=10"),
        *("-o", "ServerAliveCountMax=3"),
        *("-o", "ControlMaster=auto"),
        *("-o", f"ControlPersist={KEEP_SECONDS}s"),
        *("-o", f"ControlPath={_control_folder()}/%C"),
    ]


def ask(
    inventory: Inventory,
    program: Program,
    requests: Mapping[str, dict[str, Any]],
    *,
    seconds: float,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Answer]:
    """Run a program on each node named in `requests`; answers come as they arrive.

    Args:
        inventory: how to reach the nodes.
        program: what to run.
        requests: node → the program's request.
        seconds: time-out of each call, the connection included.
        tell: takes a sentence about who is waited for, when for a while nobody answered.
    """
    if not requests:
        return
    base = options(inventory)
    with ThreadPoolExecutor(min(len(requests), AT_ONCE)) as pool:
        waiting = {
            pool.submit(_ask_one, inventory.hosts[node], base, program, request, seconds): node
            for node, request in requests.items()
        }
        while waiting:
            done, _ = wait(waiting, _TELL_SECONDS, FIRST_COMPLETED)
            if not done and tell:
                tell(_awaited(list(waiting.values()), len(requests)))
            for future in done:
                del waiting[future]
                yield future.result()


def _awaited(nodes: Sequence[str], of: int) -> str:
    more = f" and {len(nodes) - _MOST_NAMES} more" if len(nodes) > _MOST_NAMES else ""
    return f"{of - len(nodes)} of {of} answered; waiting for {', '.join(nodes[:_MOST_NAMES])}{more}"


def close_connection(inventory: Inventory, node: str) -> None:
    """End the kept connection to a node that reboots: over it the next call would wait for nothing."""
    host = inventory.hosts[node]
    if host.connection == "local":
        return
    argv = command(host, options(inventory), ["true"])
    own = argv[: argv.index("--")]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(
            [*own, "-O", "exit", "--", host.address],
            capture_output=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )


def command(host: Host, base: Sequence[str], words: Sequence[str], *, terminal: bool = False) -> list[str]:
    """The argument list that runs `words` on a host, by ssh or here."""
    privileged = [*_sudo(host), *words]
    if host.connection == "local":
        return privileged
    argv = ["ssh", "-tt" if terminal else "-T", "-o", "BatchMode=yes", *base, *host.ssh_args]
    argv += ["-l", host.user] if host.user else []
    argv += ["-p", str(host.port)] if host.port else []
    argv += ["-o", "IdentitiesOnly=yes", "-i", host.key_file] if host.key_file else []
    return [*argv, "--", host.address, shlex.join(privileged)]


def _sudo(host: Host) -> list[str]:
    if not host.become:
        return []
    ask_password = ["-S", "-p", ""] if host.become_password else ["-n"]
    return ["sudo", *ask_password, "-u", host.become_user, "--"]


def _ask_one(
    host: Host, base: Sequence[str], program: Program, request: dict[str, Any], seconds: float
) -> Answer:
    argv = command(host, base, [host.python, *PYTHON_OPTIONS, BOOTSTRAP])
    sent = time.time()
    password = f"{host.become_password}\n".encode() if host.become and host.become_password else b""
    try:
        done = subprocess.run(
            argv,
            input=password + program.standard_input(request),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(
            host.name, error=f"no answer within {seconds:g} s", hint="the node may be busy or frozen"
        )
    except OSError as error:
        return Answer(host.name, error=f"cannot start {argv[0]}: {error}", hint="install the OpenSSH client")
    received = time.time()
    if done.returncode == 0:
        try:
            return Answer(host.name, data=json.loads(done.stdout), sent=sent, received=received)
        except ValueError:
            return Answer(host.name, error=f"answered what is no JSON: {done.stdout[:200]!r}")
    return _with_pythons(host, base, explain(host, done.returncode, done.stderr.decode("utf-8", "replace")))


def _with_pythons(host: Host, base: Sequence[str], answer: Answer) -> Answer:
    """The same answer; where Python is the trouble, with the Pythons that the node has beside it."""
    if answer.hint != _NO_PYTHON:
        return answer
    argv = command(replace(host, become=False), base, ["sh", "-c", pythons.LIST_PYTHONS])
    try:
        done = subprocess.run(
            argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LIST_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return answer
    return replace(answer, hint=pythons.remedy(done.stdout.decode("utf-8", "replace"), host.name))


# What ssh itself says when it ends with 255, and what sudo or the shell say on the node otherwise.
_SSH_CAUSES = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "the host key is not the pinned one; nothing was sent",
     "find out why it changed; then pin the new key in .ssh/known_hosts of the inventory"),
    ("Host key verification failed", "the host key is not pinned; nothing was sent",
     "compare the fingerprint with the node's console, then add the key to .ssh/known_hosts of the inventory"),
    ("Permission denied", "SSH refused the key", "check ansible_user and the key; authorized_keys on the node"),
    ("Could not resolve", "the name cannot be resolved", "set ansible_host to the node's address"),
    ("Connection refused", "nothing listens on the SSH port", "is sshd running? check ansible_port"),
    ("Connection timed out", "the node does not answer", "is it up, and is its network reachable from here?"),
    ("No route to host", "the node does not answer", "is it up, and is its network reachable from here?"),
)  # fmt: skip
_NODE_CAUSES = (
    ("a password is required", "sudo wants a password", "set ansible_become_password in the vault"),
    ("incorrect password", "sudo refused the password", "check ansible_become_password"),
    ("sudo: command not found", "sudo is not on the node", "install it, or log in as root without ansible_become"),
    ("sudo: not found", "sudo is not on the node", "install it, or log in as root without ansible_become"),
)  # fmt: skip
_NO_PYTHON = "install Python 3.8 or newer on it, or name one by ansible_python_interpreter in hosts.yml"
_LIST_SECONDS = 30


def explain(host: Host, code: int, text: str) -> Answer:
    """Why ssh or the program failed, in words, with what to do."""
    trouble = "" if code == _SSH_FAILED else pythons.trouble(host.python, text)
    if trouble:
        return Answer(host.name, error=trouble, hint=_NO_PYTHON)
    for pattern, error, hint in _SSH_CAUSES if code == _SSH_FAILED else _NODE_CAUSES:
        if pattern in text:
            return Answer(host.name, error=error, hint=hint)
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no message"
    what = "ssh failed" if code == _SSH_FAILED else f"the program ended with {code}"
    return Answer(host.name, error=f"{what}: {last}")


def _control_folder() -> Path:
    """A folder of ours for the connections' sockets; short, for a socket's path has at most 107 bytes."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"npuctl-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o077:
        raise UsageError(
            f"{folder} is not a private folder of yours",
            hint="remove it; npuctl makes it anew with mode 0700",
        )
    return folder
