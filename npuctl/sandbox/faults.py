"""Faults on request, and their undoing: `npuctl sandbox fault NODE FAULT`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import PlayFailedError, UsageError
from npuctl.paths import content_root
from npuctl.sandbox import (
    docker,
    engine,
    fault_scripts,
    host_faults,
    mirror_faults,
    nodes,
    version_faults,
    weights_faults,
)
from npuctl.sandbox.fault_scripts import Script
from npuctl.sandbox.images import File
from npuctl.sandbox.model import NPUSIM_STATE, Node, Sandbox

if TYPE_CHECKING:
    from npuctl.sandbox.progress import Progress

ENGINE_PREFIX = "engine-"
EVERYTHING = "all"
ENGINE_FAULTS = {
    "exit-at-start": "the engine exits at once when it is started",
    "never-ready": "the engine starts and never answers /health",
    "hang": "the engine accepts requests and never answers them",
    "slow": "the engine answers slowly; --value SECONDS a token",
    "http-500": "the engine answers with errors; --value SHARE of the requests, 0 to 1",
    "ignore-sigterm": "the engine does not stop when asked to",
    "die-after": "the engine core dies after --value REQUESTS (default 1)",
}
_ENGINE_PARAMETERS = {"slow": "seconds_per_token", "http-500": "share", "die-after": "requests"}
_ENGINE_FILE = f"{NPUSIM_STATE}/engine-faults.json"
_NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
_EXPLAINED = re.compile(r"(?P<name>[a-z][a-z0-9-]+)\s+(?P<meaning>\S.*[^:])")
_PORTS = range(1, 65536)


SCRIPTS: dict[str, Script] = {
    **fault_scripts.SCRIPTS,
    **host_faults.SCRIPTS,
    **version_faults.SCRIPTS,
    **weights_faults.SCRIPTS,
}


@dataclass(frozen=True, slots=True)
class Request:
    """One fault to put on a node, or to take off it."""

    fault: str
    chip: int | None = None
    value: str | None = None
    clear: bool = False


Outer = Callable[[Sandbox, Node, Request], None]


def put(sandbox: Sandbox, node: Node, request: Request, progress: Progress) -> str:
    """Put a fault on a node, or take it off; return what was done, in words.

    Raises:
        UsageError: no such fault, or a value that does not fit it.
        PlayFailedError: the node does not obey.
    """
    if not _NAME.fullmatch(request.fault):
        raise _unknown(request.fault)
    if request.fault == EVERYTHING:
        return _clear_everything(sandbox, node, request, progress)
    _require_alive(sandbox, node, request)
    if request.fault == "image-missing":
        _image_missing(node, request, progress)
    elif request.fault in _OUTER:
        _OUTER[request.fault][0](sandbox, node, request)
    elif request.fault in SCRIPTS:
        _run_script(node, SCRIPTS[request.fault], request)
    elif request.fault.startswith(ENGINE_PREFIX):
        _engine_fault(node, request)
    else:
        _npu_fault(node, request)
    return f"{request.fault} {'cleared on' if request.clear else 'put on'} {node.name}"


def _require_alive(sandbox: Sandbox, node: Node, request: Request) -> None:
    container = nodes.existing(sandbox.name).get(node.name)
    state = container.state if container else "missing"
    if state == "missing" or (request.fault not in _OUTER and state != "running"):
        raise PlayFailedError(
            f"{node.name} is {state}: {request.fault} needs a running node",
            hint=f"npuctl sandbox fault {node.name} all --clear mends it"
            if container
            else "npuctl sandbox up brings it back",
        )


def explained() -> list[tuple[str, str]]:
    """Return every fault, with what it does; those of the NPUs as the nodes' own tool explains them."""
    rows = [(name, script.explanation) for name, script in SCRIPTS.items()]
    rows += [(name, explanation) for name, (_, explanation) in _OUTER.items()]
    rows.append(("image-missing", "the engine images are gone from the node's Docker engine"))
    rows += [(f"{ENGINE_PREFIX}{name}", text) for name, text in ENGINE_FAULTS.items()]
    rows += mirror_faults.explained()
    return [*sorted(rows), *_npu_faults_explained()]


def _npu_faults_explained() -> list[tuple[str, str]]:
    tool = content_root() / "sandbox" / "node" / "npusim" / "bin" / "npusim"
    command = [sys.executable, str(tool), "fault", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = (_EXPLAINED.fullmatch(line) for line in done.stdout.splitlines())
    return [(match["name"], f"NPU: {match['meaning']}") for match in found if match]


def _unreachable(sandbox: Sandbox, node: Node, request: Request) -> None:
    attached = nodes.existing(sandbox.name)[node.name].attached
    if request.clear and not attached:
        docker.run("network", "connect", "--ip", node.address, sandbox.network, node.container)
    elif not request.clear and attached:
        docker.run("network", "disconnect", sandbox.network, node.container)


def _frozen(sandbox: Sandbox, node: Node, request: Request) -> None:
    paused = nodes.existing(sandbox.name)[node.name].state == "paused"
    if request.clear == paused:
        docker.run("unpause" if paused else "pause", node.container)


def _powered_off(sandbox: Sandbox, node: Node, request: Request) -> None:
    running = nodes.existing(sandbox.name)[node.name].state == "running"
    if request.clear and not running:
        _switch_on(sandbox, node)
    elif not request.clear and running:
        docker.run("stop", node.container)


def _never_returns(sandbox: Sandbox, node: Node, request: Request) -> None:
    docker.run("update", "--restart", nodes.REBOOTS if request.clear else nodes.STAYS_OFF, node.container)
    if request.clear and nodes.existing(sandbox.name)[node.name].state == "exited":
        _switch_on(sandbox, node)


def _reboot(sandbox: Sandbox, node: Node, request: Request) -> None:
    if not request.clear:
        docker.run("restart", node.container)
        nodes.wait_until_up(node, engine=not sandbox.bare)


def _switch_on(sandbox: Sandbox, node: Node) -> None:
    nodes.start(node.container)
    nodes.wait_until_up(node, engine=not sandbox.bare)


_OUTER: dict[str, tuple[Outer, str]] = {
    "unreachable": (_unreachable, "the node's network cable is pulled"),
    "frozen": (_frozen, "nothing on the node runs any more; SSH connects never or times out"),
    "powered-off": (_powered_off, "the node is shut down; --clear starts it"),
    "reboot-never-returns": (
        _never_returns,
        "the next reboot from within ends with a node that is off; --clear switches it on",
    ),
    "reboot": (_reboot, "the node restarts now and comes back with a new boot id"),
}


def _image_missing(node: Node, request: Request, progress: Progress) -> None:
    record = "/var/lib/npuctl-sandbox/images-taken"
    if request.clear:
        done = docker.attempt("exec", node.container, "cat", record)
        for image in done.stdout.decode().split():
            engine.load(node.container, image, progress)
        docker.run("exec", node.container, "rm", "-f", record)
        return
    images = engine.inner_images(node.container)
    if images:
        nodes.give_files(node.container, {record.lstrip("/"): File("\n".join(images).encode())})
        docker.run("exec", node.container, "docker", "rmi", "--force", *images)


def _run_script(node: Node, script: Script, request: Request) -> None:
    value = request.value or ""
    if script.takes_port and not _is_port(value) and not (request.clear and not value):
        raise UsageError(f"{request.fault} needs --value PORT, a number from 1 to 65535; got {value!r}")
    if script.value_pattern and value and not re.fullmatch(script.value_pattern, value, re.ASCII):
        raise UsageError(f"{request.fault} cannot have the value {value!r}", hint=script.explanation)
    text = script.clear if request.clear else script.put
    docker.run("exec", node.container, "sh", "-ec", text, "fault", value)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) in _PORTS


def _engine_fault(node: Node, request: Request) -> None:
    name = request.fault.removeprefix(ENGINE_PREFIX)
    if name not in ENGINE_FAULTS:
        raise _unknown(request.fault)
    present = [entry for entry in _engine_faults(node) if _engine_fault_name(entry) != name]
    if not request.clear:
        parameter = _ENGINE_PARAMETERS.get(name)
        if request.value is None or parameter is None:
            present.append(name)
        else:
            present.append({"fault": name, parameter: _number(request)})
    _write_engine_faults(node, present)


def _engine_faults(node: Node) -> list[object]:
    done = docker.attempt("exec", node.container, "cat", _ENGINE_FILE)
    try:
        data = json.loads(done.stdout) if done.returncode == 0 else []
    except ValueError:
        data = []
    return data if isinstance(data, list) else []


def _write_engine_faults(node: Node, faults: list[object]) -> None:
    content = (json.dumps(faults) + "\n").encode()
    nodes.give_files(node.container, {_ENGINE_FILE.lstrip("/"): File(content)})


def _engine_fault_name(entry: object) -> object:
    return entry.get("fault") if isinstance(entry, dict) else entry


def _npu_fault(node: Node, request: Request) -> None:
    command = ["npusim", "clear" if request.clear else "fault", request.fault]
    if request.chip is not None:
        command += ["--chip", str(request.chip)]
    if request.value is not None and not request.clear:
        command.append(f"--value={request.value}")
    done = docker.attempt("exec", node.container, *command)
    if done.returncode != 0:
        raise UsageError(
            f"{node.name} refused {request.fault!r}: {(done.stderr or done.stdout).decode().strip()[-400:]}",
            hint="npuctl sandbox fault --list",
        )


def _clear_everything(sandbox: Sandbox, node: Node, request: Request, progress: Progress) -> str:
    if not request.clear:
        raise UsageError(f"{EVERYTHING!r} goes with --clear only")
    for name in _OUTER:
        put(sandbox, node, Request(name, clear=True), progress)
    every = "\n".join(f"({script.clear}\n)" for script in SCRIPTS.values())
    docker.run("exec", node.container, "sh", "-ec", every, "fault", "")
    put(sandbox, node, Request("image-missing", clear=True), progress)
    _write_engine_faults(node, [])
    docker.run("exec", node.container, "npusim", "clear")
    return f"all faults cleared on {node.name}"


def _number(request: Request) -> float:
    try:
        return float(request.value or "")
    except ValueError as error:
        raise UsageError(f"{request.fault}: --value {request.value!r} is not a number") from error


def _unknown(fault: str) -> UsageError:
    return UsageError(f"no such fault: {fault!r}", hint="npuctl sandbox fault --list shows all")
