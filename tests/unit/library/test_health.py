"""library/npuctl_health.py: container, port, token - against small servers of the test's own."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from npuctl.engines import load
from npuctl.health.verdict import judge
from tests.making import service
from tests.unit.library.conftest import Engine, container

Module = Callable[[str], Any]
NAME = "npuctl-prod-chat-0"


class Replica(http.server.ThreadingHTTPServer):
    """An engine's HTTP server; tests set how it answers."""

    daemon_threads = True
    alive = 200
    status = 200
    body: object = {"usage": {"completion_tokens": 1}}
    delay = 0.0
    heard: list[tuple[str, str, str | None]] = []  # noqa: RUF012


class Handler(http.server.BaseHTTPRequestHandler):
    server: Replica

    def do_GET(self) -> None:
        self.answer(self.server.alive, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, body.decode(), self.headers.get("Authorization")))
        time.sleep(self.server.delay)
        self.answer(self.server.status, json.dumps(self.server.body).encode())

    def answer(self, status: int, raw: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def replica() -> Iterator[Replica]:
    with Replica(("127.0.0.1", 0), Handler) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def seen(module: Module, tmp_path: Path) -> Callable[..., tuple[dict[str, Any], str]]:
    """What is observed of the replica on a port, and the state that it is called."""
    health = module("npuctl_health")
    own = service(token_within_seconds=1)
    probe = load("vllm").token_probe(own)

    def observe(port: int = 1, **changes: Any) -> tuple[dict[str, Any], str]:
        request = {
            "name": "chat-0",
            "container": NAME,
            "directory": str(tmp_path),
            "port": port,
            "alive_path": probe.alive_path,
            "token_path": probe.token_path,
            "body": probe.body,
            "seconds": 0.3,
            "api_key": "",
        } | changes
        (found,) = health.collect({"replicas": [request]})["replicas"]
        return found, judge(found, own, "node-1", probe, simulated=False).state

    return observe


Seen = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def running(engine: Engine) -> Engine:
    engine.containers[NAME] = container(NAME)
    engine.logs = b"\x01\0\0\0\0\0\0\x05boom\n"
    return engine


def test_a_token_came_out(running: Engine, replica: Replica, seen: Seen) -> None:
    found, state = seen(replica.server_port)
    assert state == "ready"
    assert (found["token"]["tokens"], found["container"]["state"]) == (1, "running")
    assert found["container"]["up_seconds"] > 1000
    assert "log" not in found
    path, body, key = replica.heard[0]
    assert (path, json.loads(body)["max_tokens"], key) == ("/v1/completions", 1, None)


def test_the_key_is_presented(running: Engine, replica: Replica, seen: Seen) -> None:
    seen(replica.server_port, api_key="s3cret")
    assert replica.heard[0][2] == "Bearer s3cret"


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        ({"alive": 503}, "dead"),
        ({"alive": 500}, "degraded"),
        ({"status": 401}, "degraded"),
        ({"status": 500, "body": "oops"}, "degraded"),
        ({"body": {"usage": {"completion_tokens": 0}}}, "degraded"),
        ({"body": {"usage": {}}}, "degraded"),
        ({"body": []}, "degraded"),
        ({"delay": 1.0}, "hung"),
    ],
)
def test_no_token_came_out(
    running: Engine, replica: Replica, seen: Seen, settings: dict[str, Any], state: str
) -> None:
    for name, value in settings.items():
        setattr(replica, name, value)
    found, word = seen(replica.server_port)
    assert word == state
    assert found["log"] == ["boom"]


def test_no_port_yet(running: Engine, seen: Seen) -> None:
    found, _state = seen(1)
    assert found["alive"]["status"] is None
    assert "refused" in found["alive"]["error"]


def test_a_container_that_ended(running: Engine, seen: Seen) -> None:
    running.containers[NAME]["State"]["Status"] = "exited"
    found, state = seen()
    assert state == "dead"
    assert "alive" not in found
    assert found["log"] == ["boom"]


def test_a_container_that_is_gone(engine: Engine, seen: Seen, tmp_path: Path) -> None:
    assert seen()[1] == "dead"
    assert seen(directory=str(tmp_path / "no"))[1] == "stopped"


def test_an_engine_that_is_silent(engine: Engine, seen: Seen) -> None:
    engine.broken = "out of order"
    found, _state = seen()
    assert (found["engine_error"], found["container"]) == ("out of order", None)


@pytest.mark.parametrize("started", ["", "0001-01-01T00:00:00Z", "never"])
def test_a_time_of_start_that_cannot_be_read(running: Engine, seen: Seen, started: str) -> None:
    running.containers[NAME]["State"]["StartedAt"] = started
    assert seen()[0]["container"]["up_seconds"] >= 0


def test_a_key_of_any_letters_is_presented(running: Engine, replica: Replica, seen: Seen) -> None:
    found, state = seen(replica.server_port, api_key="日本")
    assert state == "ready"
    assert (replica.heard[0][2] or "").encode("latin-1").decode() == "Bearer 日本"
    assert found["name"] == "chat-0"
