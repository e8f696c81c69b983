"""A Docker Engine API on a Unix socket: what the modules of library/ ask is answered, anything else is 500."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import socketserver
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Answer = tuple[int, Any]


INFO = {
    "DockerRootDir": "/var/lib/docker",
    "Driver": "overlay2",
    "DefaultRuntime": "runc",
    "Runtimes": {"runc": {"path": "sh"}, "ascend": {"path": "/nowhere/ascend-docker-runtime"}, "odd": None},
}


class Engine:
    """The engine: `containers` and `images` by name, `calls` as (method, path, query, body) in order.

    `described`: what more it says of an image than its id; `platforms` what a registry says of a name;
    `logins` the X-Registry-Auth of each call that had one; `loads` the names that an archive brings.
    """

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: set[str] = set()
        self.described: dict[str, dict[str, Any]] = {}
        self.platforms: dict[str, list[str]] = {}
        self.logins: list[dict[str, str]] = []
        self.loads: list[str] = []
        self.calls: list[tuple[str, str, dict[str, str], Any]] = []
        self.pull_stream: list[dict[str, Any]] = [{"status": "Pulling"}, {"status": "Done"}]
        self.logs: bytes = b""
        self.broken = ""

    def changes(self) -> list[tuple[str, str]]:
        """What was asked for besides looks."""
        return [(method, path) for method, path, _query, _body in self.calls if method != "GET"]

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Answer:  # noqa: PLR0911
        self.calls.append((method, path, query, body))
        if self.broken:
            return 500, {"message": self.broken}
        match [method, *path.strip("/").split("/")]:
            case ["GET", "version"]:
                return 200, {"Version": "24.0.9", "Arch": "arm64"}
            case ["GET", "info"]:
                return 200, INFO
            case ["GET", "images", "json"]:
                return 200, [{"RepoTags": [name, "<none>:<none>"]} for name in sorted(self.images)] + [
                    {"RepoTags": None}
                ]
            case [_, "images" | "distribution", *what]:
                return self._images(method, what, query, registry=path.startswith("/distribution"))
            case ["GET", "containers", "json"]:
                return 200, [
                    {
                        "Id": found["Id"],
                        "Names": [found["Name"]],
                        "Labels": found["Config"]["Labels"],
                        "Image": found["Config"]["Image"],
                        "ImageID": found.get("Image", ""),
                    }
                    for found in self.containers.values()
                ]
            case ["POST", "containers", "create"]:
                return self._create(query["name"], body)
            case ["GET", "containers", name, "logs"]:
                return 200, self.logs
            case [_, "containers", name, *what]:
                return self._act(method, name, what, body)
        return 500, {"message": f"the test's engine does not know {method} {path}"}

    def _images(self, method: str, what: list[str], query: dict[str, str], *, registry: bool) -> Answer:
        if method == "GET":
            return self._describe("/".join(what[:-1]), registry=registry)
        match [method, *what]:
            case ["POST", "create"]:
                return self._pull(query)
            case ["POST", "load"]:
                self.images |= set(self.loads)
                said = [{"stream": f"Loaded image: {name}\n"} for name in self.loads]
                return 200, "\r\n".join(json.dumps(line) for line in said).encode()
            case ["POST", *name, "tag"]:
                made = f"{query['repo']}:{query['tag']}"
                self.images.add(made)
                self.described[made] = {"Id": "/".join(name)}
                return 201, None
            case ["DELETE", *name] if "/".join(name) in self.images:
                self.images.discard("/".join(name))
                return 200, []
        return 404, {"message": "No such image"}

    def _pull(self, query: dict[str, str]) -> Answer:
        if not any("error" in line for line in self.pull_stream):
            self.images.add(query["fromImage"] + (f":{query['tag']}" if "tag" in query else ""))
        return 200, "\r\n".join(json.dumps(line) for line in self.pull_stream).encode()

    def _describe(self, name: str, *, registry: bool) -> Answer:
        if registry:
            known = self.platforms.get(name)
            answer = {"Platforms": [{"architecture": one} for one in known or []]}
            return (200, answer) if known else (500, {"message": "the registry does not say"})
        if name not in self.images:
            return 404, {"message": "No such image"}
        return 200, {"Id": f"sha256:{name}", "Architecture": "arm64", **self.described.get(name, {})}

    def _create(self, name: str, body: dict[str, Any]) -> Answer:
        if name in self.containers:
            return 409, {"message": "Conflict: the name is in use"}
        self.containers[name] = container(
            name, state="created", config={**body, "HostConfig": body["HostConfig"]}
        )
        return 201, {"Id": "ab" * 32}

    def _act(self, method: str, name: str, what: list[str], body: Any) -> Answer:
        found = self.containers.get(name) or next(
            (c for c in self.containers.values() if c["Id"] == name), None
        )
        if found is None:
            return 404, {"message": f"No such container: {name}"}
        match [method, *what]:
            case ["GET", "json"]:
                return 200, found
            case ["POST", "start"]:
                found["State"]["Status"] = "running"
            case ["POST", "unpause"] if found["State"]["Status"] == "paused":
                found["State"]["Status"] = "running"
            case ["POST", "stop"]:
                found["State"]["Status"] = "exited"
            case ["POST", "update"]:
                found["HostConfig"].update(body)
            case ["DELETE"] if found["State"]["Status"] in {"exited", "created", "dead"}:
                del self.containers[name]
            case _:
                return 500, {
                    "message": f"the test's engine does not know {method} {what} of {found['State']}"
                }
        return 204, None


def container(
    name: str,
    *,
    state: str = "running",
    policy: str = "always",
    labels: dict[str, str] | None = None,
    config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A container as the engine describes it."""
    own = config or {
        "Image": "image:1",
        "Labels": labels or {},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
    }
    return {
        "Id": (name.encode().hex() + "0" * 64)[:64],
        "Name": f"/{name}",
        "Config": {"Image": own["Image"], "Labels": own["Labels"]},
        "HostConfig": own["HostConfig"],
        "State": {"Status": state, "ExitCode": 0, "StartedAt": "2024-01-01T00:00:00.5Z"},
        "RestartCount": 0,
    }


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    engine: Engine


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        raw_body = self.rfile.read(length)
        body = json.loads(raw_body) if self.headers.get("Content-Type") == "application/json" else None
        if "X-Registry-Auth" in self.headers:
            told = base64.urlsafe_b64decode(self.headers["X-Registry-Auth"])
            self.server.engine.logins.append(json.loads(told))
        target = urllib.parse.urlsplit(self.path)
        if not target.path.startswith("/v1.40/"):
            status, answer = 500, {"message": f"no API version in {self.path}"}
        else:
            query = dict(urllib.parse.parse_qsl(target.query))
            path = urllib.parse.unquote(target.path.removeprefix("/v1.40"))
            status, answer = self.server.engine.answer(self.command, path, query, body)
        raw = answer if isinstance(answer, bytes) else b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        logs = isinstance(answer, bytes) and "/logs" in self.path
        self.send_header("Content-Type", "application/vnd.docker.raw-stream" if logs else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815  the base class names them

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def engine_socket() -> Iterator[tuple[Engine, str]]:
    """A running engine, and its socket. The folder's path is short: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="npuctl-", dir="/tmp") as folder:
        path = str(Path(folder) / "docker.sock")
        with _Server(path, _Handler) as server:
            server.engine = Engine()
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
            )
            thread.start()
            yield server.engine, path
            server.shutdown()
            thread.join()


@pytest.fixture
def engine(
    engine_socket: tuple[Engine, str],
    library_module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> Engine:
    """The engine, asked by every module of library/ that is loaded by `module`."""
    return engine_socket[0]


@pytest.fixture
def module(
    engine_socket: tuple[Engine, str],
    library_module: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[[str], Any]:
    """A module of library/ that talks to the engine of this test."""

    def load(name: str) -> Any:
        loaded: Any = library_module(name)
        docker = sys.modules["ansible.module_utils.npuctl_docker"]
        for name_of in ("call", "messages"):
            partial = functools.partial(getattr(docker, name_of), socket_path=engine_socket[1])
            monkeypatch.setattr(docker, name_of, partial)
        pull: Any = sys.modules["ansible.module_utils.npuctl_pull"]
        monkeypatch.setattr(pull, "FOLDER", str(tmp_path / "run"))
        monkeypatch.setattr(pull, "NOTES", str(tmp_path / "notes/images.json"))
        # In this process: a fork of one that has threads is none to rely on.
        monkeypatch.setattr(pull, "start", pull.work_off)
        monkeypatch.setattr(pull, "PAUSES_SECONDS", (0, 0))
        return loaded

    return load


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str, str], None]:
    """Write a tool of the node as a shell script, into tmp_path/bin."""

    def write(name: str, script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)

    return write
