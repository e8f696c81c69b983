"""Files of one model to many nodes: each hands on what it receives, while it receives it.

The programs on the nodes are library/module_utils/npuctl_relay.py. A copy to N nodes takes little longer than one
to a single node: every link carries the bytes once. Who has the files comes first; where no node has them, this
machine feeds the first one over SSH. A node that cannot take them from another one is fed the same way.
"""

from __future__ import annotations

import contextlib
import queue
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from npuctl.errors import NpuctlError, PlayFailedError
from npuctl.remote.inventory import Host, Inventory
from npuctl.remote.live import Live, LiveEvent
from npuctl.remote.program import load_live_program
from npuctl.remote.ssh import options

PROGRAM = "npuctl_relay"
HERE = Host(name="this machine", address="localhost", connection="local", python=sys.executable)
_READY_SECONDS = 45.0
_BLOCK = 2**20
_TELL_SECONDS = 5.0
_PERCENT = 100

Tell = Callable[[str], None]


class WorkError(PlayFailedError):
    """What a program could not do, and what to do about it."""


class Source(Protocol):
    """Where this machine takes bytes from to feed a node."""

    def blocks(self, name: str, offset: int) -> Iterator[bytes]:
        """The bytes of a file from one on.

        Raises:
            OSError, WorkError: it cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine."""

    path: Path

    def blocks(self, name: str, offset: int) -> Iterator[bytes]:
        """The bytes of a file from one on."""
        with (self.path / name).open("rb") as stream:
            stream.seek(offset)
            while block := stream.read(_BLOCK):
                yield block


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder of another machine, read over SSH."""

    inventory: Inventory
    host: Host
    path: str

    def blocks(self, name: str, offset: int) -> Iterator[bytes]:
        """The bytes of a file from one on."""
        events: queue.Queue[LiveEvent] = queue.Queue(maxsize=16)
        live = _start(self.inventory, self.host, {"work": "read", "path": self.path}, events)
        try:
            live.send({"command": "read", "name": name, "offset": offset})
            while True:
                event = events.get()
                if event.kind in {"failed", "ended"}:
                    raise WorkError(
                        f"{self.host.name}: {event.data.get('error')}", hint=event.data.get("hint", "")
                    )
                if event.kind == "block":
                    if not event.block:
                        return
                    yield event.block
        finally:
            _drain(events)
            live.close()


def _drain(events: queue.Queue[LiveEvent]) -> None:
    """Take what a reader still puts into a queue that nobody reads any more."""

    def take() -> None:
        while events.get().kind != "ended":
            continue

    threading.Thread(target=take, daemon=True).start()


def _start(inventory: Inventory, host: Host, request: dict[str, Any], events: queue.Queue[LiveEvent]) -> Live:
    try:
        return Live(host, options(inventory), load_live_program(PROGRAM), request, events)
    except OSError as error:
        raise WorkError(str(error), hint="install the OpenSSH client") from None


def work_on(inventory: Inventory, host: Host, request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Run one piece of work of the relay's program to its end; what it found.

    Args:
        inventory: whose SSH options count.
        host: where.
        request: "work" is one of the program's WORKS, without "relay" and "read".
        tell: takes how far it is, now and then.

    Raises:
        WorkError: it could not be done.
    """
    events: queue.Queue[LiveEvent] = queue.Queue()
    live = _start(inventory, host, request, events)
    told = time.monotonic()
    try:
        while True:
            event = events.get()
            if event.kind == "done":
                return event.data
            if event.kind in {"failed", "ended"}:
                raise WorkError(
                    event.data.get("error") or "it ended without an answer", hint=event.data.get("hint", "")
                )
            if event.kind == "progress" and time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                tell(f"{_share(event.data)} of {_amount(event.data['size'])}")
    finally:
        live.close()


def _share(data: Mapping[str, Any]) -> str:
    return f"{_PERCENT * data['bytes'] // max(data['size'], 1)} %"


def _amount(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"  # noqa: PLR2004  as disks count


@dataclass(frozen=True, slots=True)
class Copy:
    """One model's folder on its way to nodes.

    Attributes:
        files: name → size and sha256.
        nodes: in the order in which they hand it on; `hosts` says how each is reached.
        ours: node → files under the final name that npuctl put there and may replace.
        addresses: node → address at which the others reach it.
        bytes_per_second: what a node sends at most; 0 for no limit.
    """

    path: str
    files: Mapping[str, Mapping[str, Any]]
    nodes: Sequence[str]
    hosts: Mapping[str, Host]
    ours: Mapping[str, Sequence[str]]
    addresses: Mapping[str, str]
    port: int
    bytes_per_second: int = 0


@dataclass(slots=True)
class Copied:
    """How it went.

    Attributes:
        received: node that has everything → bytes that came in this run.
        failed: node → why it has not.
        cut_off: node that this machine had to feed although others had the files → why.
    """

    received: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    cut_off: dict[str, str] = field(default_factory=dict)


def copy(inventory: Inventory, wanted: Copy, source: Source | None, tell: Tell) -> Copied:
    """Bring a folder's files to every node, into its unfinished copy; returns when each has them or has failed.

    Args:
        inventory: how to reach the nodes.
        wanted: what to bring where.
        source: what this machine feeds nodes from; without one, a node that has the files.
        tell: takes progress.
    """
    run = _Run(inventory, wanted, source, tell)
    try:
        run.start()
        run.follow()
    finally:
        run.close()
    # Whoever comes after nodes that died was not cut off from them.
    well = [node for node in run.order if node not in run.copied.failed]
    for node in [node for node in run.copied.cut_off if node not in well[1:]]:
        del run.copied.cut_off[node]
    return run.copied


class _Run:
    """One copy while it goes on; everything but feeding happens in the caller's thread."""

    def __init__(self, inventory: Inventory, wanted: Copy, source: Source | None, tell: Tell) -> None:
        self.inventory = inventory
        self.wanted = wanted
        self.source = source
        self.tell = tell
        self.copied = Copied()
        self.events: queue.Queue[LiveEvent] = queue.Queue()
        self.lives: dict[str, Live] = {}
        self.names = sorted(wanted.files)
        self.ports: dict[str, int] = {}
        self.order: list[str] = []
        self.held: dict[str, set[str]] = {node: set() for node in wanted.nodes}
        self.looked: set[str] = set()
        self.far: dict[str, int] = {}
        self.gone: dict[str, str] = {}
        self.waiting: dict[str, tuple[int, int]] = {}
        self.bucket = _Bucket(wanted.bytes_per_second)
        self.told = time.monotonic()

    @property
    def going(self) -> list[str]:
        """The nodes that neither have everything nor have failed."""
        return [
            node
            for node in self.wanted.nodes
            if node not in self.copied.received and node not in self.copied.failed
        ]

    def start(self) -> None:
        """Start the program on every node, and tell each from whom to take files once all listen."""
        token = secrets.token_hex(32)
        for node in self.wanted.nodes:
            request = {
                "work": "relay",
                "path": self.wanted.path,
                "files": {name: dict(entry) for name, entry in self.wanted.files.items()},
                "ours": list(self.wanted.ours.get(node, ())),
                "token": token,
                "address": self.wanted.addresses[node],
                "port": self.wanted.port,
                "bytes_per_second": self.wanted.bytes_per_second,
            }
            self.lives[node] = _start(self.inventory, self.wanted.hosts[node], request, self.events)
        deadline = time.monotonic() + _READY_SECONDS
        while any(node not in self.ports for node in self.going):
            try:
                self.take(self.events.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                for node in [node for node in self.going if node not in self.ports]:
                    self.fail(node, f"did not begin within {_READY_SECONDS:g} s")
        self.order = self.going
        for place, node in enumerate(self.order):
            before = [other for other in reversed(self.order[:place]) if self.ports[other]]
            upstreams = [[self.wanted.addresses[other], self.ports[other], other] for other in before]
            self.command(node, {"command": "go", "upstreams": upstreams})

    def follow(self) -> None:
        """Take events until no node is left to wait for."""
        while self.going:
            with contextlib.suppress(queue.Empty):
                self.take(self.events.get(timeout=1.0))
            self.feed_waiting()
            if time.monotonic() - self.told >= _TELL_SECONDS:
                self.told = time.monotonic()
                self.tell(self.progress())

    def progress(self) -> str:
        """How far the slowest is."""
        total = sum(int(entry["size"]) for entry in self.wanted.files.values())
        least = min((self.far.get(node, 0) for node in self.going), default=total)
        done = len(self.copied.received)
        return (
            f"{self.wanted.path}: {done} of {len(self.wanted.nodes)} nodes have all,"
            f" the slowest {_share({'bytes': least, 'size': total})} of {_amount(total)}"
        )

    def take(self, event: LiveEvent) -> None:
        """Act on what one node told."""
        node, data = event.node, event.data
        match event.kind:
            case "ready":
                self.ports[node] = int(data["port"])
                if data["error"]:
                    where = f"{self.wanted.addresses[node]} port {self.wanted.port}"
                    self.tell(f"{node}: cannot hand files on at {where}: {data['error']}")
            case "want":
                self.waiting[node] = (int(data["number"]), int(data["offset"]))
            case "gone":
                self.gone[node] = f"{data['node']}: {data['error']}"
                self.tell(f"{node}: {data['node']} does not hand on {data['file']}: {data['error']}")
            case "wrong":
                self.tell(f"{node}: {data['file']} arrived with another sha256; it is fetched again")
            case "failed" | "ended":
                self.fail(node, str(data.get("error") or "it ended"))
            case _:
                self.note(event)

    def note(self, event: LiveEvent) -> None:
        """Remember how far one node is."""
        node, data = event.node, event.data
        match event.kind:
            case "progress":
                self.far[node] = int(data["bytes"])
            case "looked":
                self.looked.add(node)
            case "verified":
                self.held[node].add(str(data["file"]))
            case "whole":
                self.copied.received[node] = int(data["received"])

    def fail(self, node: str, why: str) -> None:
        """The node takes no more part in what is waited for; what it has it goes on handing on."""
        self.waiting.pop(node, None)
        if node in self.going:
            self.copied.failed[node] = why
            # Nobody is to wait for what will not come; what is whole there is still handed on.
            if node in self.ports:
                self.command(node, {"command": "give_up", "error": why})
            self.tell(f"{node}: {why}")

    def command(self, node: str, told: dict[str, Any]) -> None:
        """Tell a node something; that it has ended is told by its last event."""
        try:
            self.lives[node].send(told)
        except OSError:
            return

    def feed_waiting(self) -> None:
        """Feed the nodes that ask for a file, from this machine's source or from a node that has it."""
        for node, (number, offset) in list(self.waiting.items()):
            source = self.source or self._holder(node, self.names[number])
            if source is None and self._nobody_before(node):
                self.fail(node, f"no node that can be reached has {self.names[number]}")
                continue
            if source is None:
                continue
            del self.waiting[node]
            if node != self.order[0] and node not in self.copied.cut_off:
                why = self.gone.get(node, "no node hands files on")
                self.copied.cut_off[node] = why
                self.tell(f"{node}: takes files from this machine, which is slower ({why})")
            threading.Thread(target=self.feed, args=[node, number, offset, source], daemon=True).start()

    def _nobody_before(self, node: str) -> bool:
        """Whether no node is left from which a file could still come to this one."""
        before = self.order[: self.order.index(node)]
        return self.looked >= set(self.going) and not set(before) & set(self.going)

    def _holder(self, node: str, name: str) -> Source | None:
        others = [other for other in self.order if other != node and name in self.held[other]]
        alive = [other for other in others if other not in self.copied.failed]
        if not alive:
            return None
        return RemoteFolder(self.inventory, self.wanted.hosts[alive[0]], self.wanted.path)

    def feed(self, node: str, number: int, offset: int, source: Source) -> None:
        """Send the rest of a file to a node."""
        left = int(self.wanted.files[self.names[number]]["size"]) - offset
        try:
            for whole in source.blocks(self.names[number], offset):
                block = whole[:left]
                self.bucket.take(len(block))
                self.lives[node].send({"command": "block", "number": number}, block)
                left -= len(block)
                if not left:
                    return
            why = f"{self.names[number]} is shorter than it was"
        except BrokenPipeError:
            return  # the node's last event tells why
        except (OSError, NpuctlError) as error:
            why = f"{self.names[number]} cannot be read: {error}"
        self.events.put(LiveEvent(node, {"event": "failed", "error": why}))

    def close(self) -> None:
        """End every program, side by side: one that hangs does not hold the others."""
        closing = [threading.Thread(target=live.close, daemon=True) for live in self.lives.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()


class _Bucket:
    """So many bytes a second over all that is fed; 0 for no limit."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._due = 0.0

    def take(self, count: int) -> None:
        """Wait until so many bytes may be sent."""
        if not self._rate:
            return
        with self._lock:
            self._due = max(self._due, time.monotonic()) + count / self._rate
            pause = self._due - time.monotonic()
        if pause > 0:
            time.sleep(pause)
