"""Files handed on along a chain of programs: each runs here as it would on a node, in a folder of its own."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from npuctl.remote import transfer
from npuctl.remote.inventory import Host, Inventory
from npuctl.remote.live import Live, LiveEvent
from npuctl.remote.program import load_live_program
from npuctl.remote.transfer import HERE, Copied, Copy, LocalFolder, RemoteFolder, WorkError, copy, work_on
from tests.making import inventory_of, service_data, spec_of

MODEL = "models/M"
PARTIAL = "models/.M.npuctl-partial"


@dataclass
class Field:
    """Nodes that are folders of this machine, and a source with three files."""

    folder: Path
    inventory: Inventory
    files: dict[str, bytes] = field(
        default_factory=lambda: {
            "a.safetensors": os.urandom(3_000_000),
            "b/nested.json": b"{}",
            "c.safetensors": os.urandom(1_500_000),
            "empty.txt": b"",
        }
    )
    told: list[str] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)

    def node(self, name: str) -> Path:
        root = self.folder / name
        if name not in self.hosts:
            (root / "models").mkdir(parents=True)
            python = self.folder / f"{name}.sh"
            python.write_text(f'#!/bin/sh\necho $$ > {root}/pid\ncd {root} && exec {sys.executable} "$@"\n')
            python.chmod(0o755)
            self.hosts[name] = Host(name, "127.0.0.1", connection="local", python=str(python))
        return root

    def source(self) -> LocalFolder:
        root = self.folder / "source"
        for name, data in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        return LocalFolder(root)

    def wanted(self, nodes: Sequence[str], **more: Any) -> Copy:
        for name in nodes:
            self.node(name)
        files = {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in self.files.items()
        }
        own: dict[str, Any] = {
            "path": MODEL,
            "files": files,
            "nodes": list(nodes),
            "hosts": self.hosts,
            "ours": {},
            "addresses": dict.fromkeys(nodes, "127.0.0.1"),
            "port": 0,
        }
        return Copy(**(own | more))

    def copy(self, *nodes: str, source: LocalFolder | None = None, **more: Any) -> Copied:
        return copy(self.inventory, self.wanted(nodes, **more), source, self.told.append)

    def holds(self, name: str, below: str = PARTIAL) -> bool:
        root = self.folder / name / below
        return all(
            (root / file).is_file() and (root / file).read_bytes() == data
            for file, data in self.files.items()
        )

    def put(self, name: str, below: str, files: dict[str, bytes] | None = None) -> None:
        for file, data in (self.files if files is None else files).items():
            path = self.node(name) / below / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def pid(self, name: str) -> int:
        return int((self.folder / name / "pid").read_text())

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))


@pytest.fixture
def scene(tmp_path: Path) -> Field:
    return Field(tmp_path, inventory_of(tmp_path, spec_of(service_data())))


def test_every_node_gets_every_file_from_the_one_before(scene: Field) -> None:
    names = [f"node-{number}" for number in range(1, 6)]
    copied = scene.copy(*names, source=scene.source())
    assert copied.failed == {}
    assert copied.received == dict.fromkeys(names, scene.size)
    assert copied.cut_off == {}
    assert all(scene.holds(name) for name in names)
    assert not any((scene.folder / name / MODEL).exists() for name in names)


def test_nothing_is_left_running_and_the_partial_folder_is_private(scene: Field) -> None:
    scene.copy("node-1", "node-2", source=scene.source())
    assert (scene.folder / "node-1" / PARTIAL).stat().st_mode & 0o777 == 0o700
    for name in ("node-1", "node-2"):
        with pytest.raises(ProcessLookupError):
            os.kill(scene.pid(name), 0)


def test_a_second_copy_sends_nothing(scene: Field) -> None:
    scene.copy("node-1", "node-2", source=scene.source())
    again = scene.copy("node-1", "node-2", source=scene.source())
    assert again.received == {"node-1": 0, "node-2": 0}


def test_a_node_that_has_the_files_is_the_source(scene: Field) -> None:
    scene.put("node-1", MODEL)
    copied = scene.copy("node-1", "node-2", "node-3")
    assert copied.received == {"node-1": 0, "node-2": scene.size, "node-3": scene.size}
    assert scene.holds("node-3")
    assert scene.holds("node-1", MODEL)


def test_what_has_arrived_is_not_sent_again(scene: Field) -> None:
    half = {
        "a.safetensors": scene.files["a.safetensors"][:1_000_000],
        "c.safetensors": scene.files["c.safetensors"],
    }
    scene.put("node-2", PARTIAL, half)
    copied = scene.copy("node-1", "node-2", source=scene.source())
    assert copied.received["node-2"] == scene.size - 1_000_000 - 1_500_000
    assert scene.holds("node-2")


def test_a_wrong_beginning_is_found_by_its_hash_and_fetched_anew(scene: Field) -> None:
    scene.put("node-1", PARTIAL, {"a.safetensors": bytes(1_000_000)})
    scene.put("node-2", PARTIAL, {"c.safetensors": bytes(1_500_000)})
    copied = scene.copy("node-1", "node-2", "node-3", source=scene.source())
    assert copied.failed == {}
    assert scene.holds("node-1")
    assert scene.holds("node-2")
    assert scene.holds("node-3")
    assert any("another sha256" in line for line in scene.told)


def test_a_source_that_is_not_what_the_manifest_says_fails_all_and_ends(scene: Field) -> None:
    source = scene.source()
    (source.path / "a.safetensors").write_bytes(bytes(3_000_000))
    copied = scene.copy("node-1", "node-2", source=source)
    assert set(copied.failed) == {"node-1", "node-2"}
    assert "sha256" in copied.failed["node-1"]


def test_a_source_that_is_too_short_fails_and_ends(scene: Field) -> None:
    source = scene.source()
    (source.path / "a.safetensors").write_bytes(b"short")
    assert "shorter" in scene.copy("node-1", source=source).failed["node-1"]


def kill_when_half(scene: Field, name: str, number: int = signal.SIGKILL) -> threading.Thread:
    def wait() -> None:
        path = scene.folder / name / PARTIAL / "a.safetensors"
        while not path.is_file() or path.stat().st_size < 1_000_000:
            time.sleep(0.005)
        os.kill(scene.pid(name), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_relay_that_dies_costs_the_others_nothing_that_they_have(scene: Field) -> None:
    names = [f"node-{number}" for number in range(1, 6)]
    scene.wanted(names)
    killer = kill_when_half(scene, "node-3")
    copied = scene.copy(*names, source=scene.source(), bytes_per_second=4_000_000)
    killer.join()
    assert set(copied.failed) == {"node-3"}
    assert copied.received == {name: scene.size for name in names if name != "node-3"}
    assert copied.cut_off == {}
    assert scene.holds("node-5")


def test_the_first_node_may_die_too(scene: Field) -> None:
    scene.wanted(["node-1", "node-2", "node-3"])
    killer = kill_when_half(scene, "node-1")
    copied = scene.copy("node-1", "node-2", "node-3", source=scene.source(), bytes_per_second=4_000_000)
    killer.join()
    assert set(copied.failed) == {"node-1"}
    assert copied.received == {"node-2": scene.size, "node-3": scene.size}
    assert copied.cut_off == {}


def test_a_relay_that_freezes_is_left_by_the_one_after_it_only(
    scene: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"node-{number}" for number in range(1, 5)]
    scene.wanted(names)
    freezer = kill_when_half(scene, "node-2", signal.SIGSTOP)

    def thaw() -> None:
        freezer.join()
        while not (scene.holds("node-4") and scene.holds("node-3")):
            time.sleep(0.05)
        os.kill(scene.pid("node-2"), signal.SIGCONT)

    thawer = threading.Thread(target=thaw)
    thawer.start()
    copied = scene.copy(*names, source=scene.source(), bytes_per_second=4_000_000)
    thawer.join()
    assert copied.failed == {}
    assert any("node-3: node-2 does not hand on" in line for line in scene.told)
    assert not any(line.startswith("node-4: node-3 does not") for line in scene.told)
    assert copied.received["node-4"] == scene.size


def test_nodes_that_cannot_reach_each_other_are_fed_from_here(scene: Field) -> None:
    # 192.0.2.1 is no address of this machine: nobody can listen there (RFC 5737).
    copied = scene.copy(
        "node-1", "node-2", source=scene.source(), addresses={"node-1": "192.0.2.1", "node-2": "192.0.2.1"}
    )
    assert copied.failed == {}
    assert set(copied.cut_off) == {"node-2"}
    assert scene.holds("node-2")


def test_without_a_source_here_a_cut_off_node_gets_files_through_here_from_one_that_has_them(
    scene: Field,
) -> None:
    scene.put("node-1", MODEL)
    copied = scene.copy("node-1", "node-2", addresses={"node-1": "192.0.2.1", "node-2": "127.0.0.1"})
    assert copied.failed == {}
    assert set(copied.cut_off) == {"node-2"}
    assert scene.holds("node-2")


def test_files_that_nobody_has_fail_instead_of_waiting(scene: Field) -> None:
    copied = scene.copy("node-1", "node-2")
    assert set(copied.failed) == {"node-1", "node-2"}
    assert "no node that can be reached has" in copied.failed["node-1"]


def test_a_port_that_is_taken_is_said(scene: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        copied = scene.copy("node-1", source=scene.source(), port=port)
    assert copied.failed == {}
    assert any(f"port {port}: Address already in use" in line for line in scene.told)


def test_what_somebody_else_put_there_is_never_replaced(scene: Field) -> None:
    scene.put("node-1", MODEL, {"a.safetensors": b"somebody's"})
    copied = scene.copy("node-1", "node-2", source=scene.source())
    assert "npuctl did not put it there" in copied.failed["node-1"]
    assert (scene.folder / "node-1" / MODEL / "a.safetensors").read_bytes() == b"somebody's"
    assert scene.holds("node-2")


def test_a_partial_folder_that_is_a_link_is_refused(scene: Field, tmp_path: Path) -> None:
    root = scene.node("node-1")
    (tmp_path / "elsewhere").mkdir()
    (root / PARTIAL).symlink_to(tmp_path / "elsewhere")
    copied = scene.copy("node-1", source=scene.source())
    assert "no folder of npuctl's" in copied.failed["node-1"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_is_said_and_the_others_go_on(scene: Field) -> None:
    limited = scene.wanted(["node-1", "node-2", "node-3"]).hosts["node-2"]
    script = Path(limited.python)
    # A file that may not grow stands for a disk that is full: the write fails in the same place.
    script.write_text(script.read_text().replace("&& exec", "&& ulimit -f 1000 && trap '' XFSZ && exec"))
    copied = scene.copy("node-1", "node-2", "node-3", source=scene.source())
    assert set(copied.failed) == {"node-2"}
    assert "File too large" in copied.failed["node-2"]
    assert scene.holds("node-3")


def test_a_node_that_does_not_begin_is_left_out(scene: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_READY_SECONDS", 2.0)
    scene.wanted(["node-1", "node-2", "node-3"])
    Path(scene.hosts["node-2"].python).write_text("#!/bin/sh\nexec sleep 60\n")
    copied = scene.copy("node-1", "node-2", "node-3", source=scene.source())
    assert copied.failed == {"node-2": "did not begin within 2 s"}
    assert scene.holds("node-3")


def test_a_bandwidth_limit_holds(scene: Field) -> None:
    began = time.monotonic()
    scene.copy("node-1", "node-2", source=scene.source(), bytes_per_second=3_000_000)
    assert time.monotonic() - began > 0.9 * scene.size / 3_000_000


@contextlib.contextmanager
def one_relay(scene: Field, token: str) -> Iterator[int]:
    events: queue.Queue[LiveEvent] = queue.Queue()
    wanted = scene.wanted(["node-1"])
    request = {
        "work": "relay",
        "path": MODEL,
        "files": wanted.files,
        "token": token,
        "address": "127.0.0.1",
        "port": 0,
    }
    live = Live(scene.hosts["node-1"], [], load_live_program("npuctl_relay"), request, events)
    try:
        port = events.get(timeout=20).data["port"]
        live.send({"command": "go", "upstreams": []})
        while events.get(timeout=20).kind != "whole":
            continue
        yield port
    finally:
        live.close()


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [(None, "/0", 403), ("", "/0", 403), ("wrong", "/0", 403), ("right", "/0", 206), ("right", "/99", 404)]
    + [("right", path, 404) for path in ("/../../pid", "/a.safetensors", "/-1", "/")],
)
def test_files_are_handed_to_whoever_knows_the_token_only(
    scene: Field, token: str | None, path: str, status: int
) -> None:
    scene.put("node-1", MODEL)
    with (
        one_relay(scene, "right") as port,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as client,
    ):
        client.request("GET", path, headers={} if token is None else {"Authorization": token})
        assert client.getresponse().status == status


def test_the_program_ends_when_its_input_does(scene: Field) -> None:
    scene.put("node-1", MODEL)
    with one_relay(scene, "t"):
        os.kill(scene.pid("node-1"), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(scene.pid("node-1"), 0)


def test_a_folder_is_listed_hashed_and_read(scene: Field) -> None:
    root = scene.source().path
    listed = work_on(scene.inventory, HERE, {"work": "list", "path": str(root)}, scene.told.append)["files"]
    assert {name: entry["size"] for name, entry in listed.items()} == {
        name: len(data) for name, data in scene.files.items()
    }
    blocks = RemoteFolder(scene.inventory, HERE, str(root)).blocks("a.safetensors", 1000)
    assert b"".join(blocks) == scene.files["a.safetensors"][1000:]
    with pytest.raises(WorkError, match="is no folder"):
        work_on(scene.inventory, HERE, {"work": "list", "path": "/nowhere"}, scene.told.append)
    with pytest.raises(WorkError, match="is no name"):
        list(RemoteFolder(scene.inventory, HERE, str(root)).blocks("../pid", 0))
