"""library/npuctl_facts.py on this machine, and with a Docker engine of the test's own."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.read import read_node
from tests.unit.library.conftest import Engine, container

Module = Callable[[str], Any]


@pytest.fixture
def facts(module: Module) -> Any:
    return module("npuctl_facts")


def test_a_socket_that_listens_is_found_with_its_process(facts: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in [number for number, _inode in facts.listening_sockets()]
        (entry,) = [found for found in facts.read_processes()["listeners"] if found["port"] == port]
    assert entry["pid"] == os.getpid()
    assert "python" in entry["command"]
    assert port not in [number for number, _inode in facts.listening_sockets()]


def test_a_socket_of_ip_6_is_found_too(facts: Any) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("not run: this machine has no IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6) as server:
        assert server.getsockname()[1] in [number for number, _inode in facts.listening_sockets()]


def test_who_holds_a_device_node_is_found_once(
    facts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "DEVICE", re.compile(re.escape(str(tmp_path)) + r"/davinci(\d+)$"))
    for name in ("davinci3", "davinci_manager"):
        (tmp_path / name).touch()
    with (
        (tmp_path / "davinci3").open("rb"),
        (tmp_path / "davinci3").open("rb"),
        (tmp_path / "davinci_manager").open("rb"),
    ):
        (holder,) = facts.read_processes()["holders"]
    assert (holder["chip"], holder["pid"]) == (3, os.getpid())


def test_the_files_below_a_folder(facts: Any, tmp_path: Path) -> None:
    (tmp_path / "chat-0").mkdir(mode=0o750)
    (tmp_path / "chat-0/secrets.env").write_text("A=1\n", encoding="utf-8")
    (tmp_path / "chat-0/secrets.env").chmod(0o600)
    found = facts.read_files(str(tmp_path))
    assert set(found) == {str(tmp_path), f"{tmp_path}/chat-0", f"{tmp_path}/chat-0/secrets.env"}
    file = found[f"{tmp_path}/chat-0/secrets.env"]
    assert (file["kind"], file["mode"]) == ("file", "0600")
    assert file["sha256"] == hashlib.sha256(b"A=1\n").hexdigest()
    assert (found[f"{tmp_path}/chat-0"]["kind"], found[f"{tmp_path}/chat-0"]["sha256"]) == ("directory", "")
    assert facts.read_files(str(tmp_path / "nowhere")) == {}


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "directory"), ("/etc/passwd", "file"), ("/dev/null", "other"), ("/no", "absent")]
)
def test_the_kind_of_a_path(facts: Any, path: str, kind: str) -> None:
    assert facts.kind(path) == kind


def test_a_path_that_hangs_is_left_out(facts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "PATH_SECONDS", 0.1)
    monkeypatch.setattr(facts, "kind", lambda path: time.sleep(5) if path == "/dead" else "directory")
    assert facts.read_kinds(["/dead", "/"]) == {"/": "directory"}


def test_free_space_is_read_where_folders_will_be(facts: Any, tmp_path: Path) -> None:
    free = facts.read_free_space(str(tmp_path / "not/yet"))
    assert free["/"] > 0
    assert str(tmp_path) in free


def test_a_process_tells_its_container(facts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "/proc/7/cmdline": "vllm\0serve\0",
        "/proc/7/cgroup": "0::/system.slice/docker-" + "ab" * 32 + ".scope\n",
    }
    monkeypatch.setattr(facts.files, "text", lambda path: texts.get(path, ""))
    assert facts.process("7") == {"pid": 7, "command": "vllm serve", "container_id": "ab" * 32}


def test_docker_is_read_whole(engine: Engine, facts: Any) -> None:
    labels = {
        "npuctl.cluster": "prod",
        "npuctl.engine": "vllm",
        "npuctl.service": "chat",
        "npuctl.replica": "1",
        "npuctl.port": "8001",
        "npuctl.config": "abc",
        "npuctl.spec": "{}",
    }
    engine.containers = {
        "npuctl-prod-chat-1": container("npuctl-prod-chat-1", labels=labels),
        "other": container("other", labels={"npuctl.cluster": "other"}),
    }
    engine.images = {"a:1"}
    found = facts.read_docker("prod")
    assert found["docker"] == {"version": "24.0.9", "error": ""}
    assert found["images"] == ["a:1"]
    assert sorted(found["container_names"].values()) == ["npuctl-prod-chat-1", "other"]
    (ours,) = found["containers"]
    assert (ours["name"], ours["service"], ours["replica"], ours["port"]) == (
        "npuctl-prod-chat-1",
        "chat",
        1,
        8001,
    )
    assert (ours["state"], ours["restart_policy"], ours["config"]) == ("running", "always", "abc")


def test_a_docker_that_is_silent_is_a_fact(engine: Engine, facts: Any) -> None:
    engine.broken = "out of order"
    found = facts.read_docker("prod")
    assert found["docker"]["error"] == "out of order"
    assert found["containers"] == []


def test_a_label_that_is_no_number_does_not_hide_the_node(engine: Engine, facts: Any) -> None:
    engine.containers = {"x": container("x", labels={"npuctl.cluster": "prod", "npuctl.replica": "many"})}
    assert facts.read_docker("prod")["containers"][0]["replica"] == 0


def test_all_of_it_is_typed_by_the_controller(engine: Engine, facts: Any, tmp_path: Path) -> None:
    (tmp_path / "prod").mkdir()
    raw = facts.collect({"cluster": "prod", "root": str(tmp_path / "prod"), "paths": ["/"]})
    found = read_node(raw)
    assert found.docker.version == "24.0.9"
    assert found.memory_total_mb > 0
    assert found.paths == {"/": "directory"}
    assert found.clusters == ["prod"]
    assert found.kernel == os.uname().release
