"""A program that goes on at a node: it lives as long as this process holds its standard input.

Unlike ask() in ssh.py, which waits for one answer: commands go there and events come back while it works. When
this process ends, however it ends, the connection closes and the program with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from npuctl.remote.inventory import Host
from npuctl.remote.program import LIVE_BOOTSTRAP, PYTHON_OPTIONS, Program
from npuctl.remote.ssh import command, explain

_END_SECONDS = 5.0
_MOST_WORDS = 65536


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """What a program told: the fields of `data`, and the bytes that came with it.

    The last one of every program is "ended", with `error` and `hint` where nobody had asked it to end.
    """

    node: str
    data: dict[str, Any]
    block: bytes = b""

    @property
    def kind(self) -> str:
        """What it is about."""
        return str(self.data.get("event", ""))


class Live:
    """One running program. Its events go into the queue that it is given, which several may share."""

    def __init__(
        self,
        host: Host,
        base: Sequence[str],
        program: Program,
        request: dict[str, Any],
        events: queue.Queue[LiveEvent],
    ) -> None:
        self.node = host.name
        self._host = host
        self._events = events
        self._closing = False
        self._sending = threading.Lock()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        try:
            self._process = subprocess.Popen(
                command(host, base, [host.python, *PYTHON_OPTIONS, LIVE_BOOTSTRAP]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,  # closing must not wait for a write that hangs
            )
        except OSError as error:
            self._errors.close()
            raise ConnectionError(f"cannot start the connection: {error}") from None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        password = f"{host.become_password}\n".encode() if host.become and host.become_password else b""
        # Held until the request is through: commands come after it. Not waited for: a node that hangs reads nothing.
        self._sending.acquire()
        opening = password + program.standard_input(request) + b"\n"
        threading.Thread(target=self._begin, args=[opening], daemon=True).start()

    def send(self, told: dict[str, Any], block: bytes = b"") -> None:
        """Give the program a command, and bytes that belong to it.

        Raises:
            OSError: it has ended.
        """
        line = json.dumps({**told, "length": len(block)} if block else told).encode()
        with self._sending:
            self._write(line + b"\n" + block)

    def close(self) -> None:
        """End it: it sees the end of its input; a connection that hangs is cut."""
        self._closing = True
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101  a pipe was asked for
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_END_SECONDS)
        self._errors.close()

    def _begin(self, opening: bytes) -> None:
        try:
            self._write(opening)
        except OSError:
            return  # its end tells why
        finally:
            self._sending.release()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101  a pipe was asked for
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._process.stdin.write(rest) :]
        except ValueError:
            raise BrokenPipeError("the program was ended") from None

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  a pipe was asked for
        with io.BufferedReader(cast("io.FileIO", self._process.stdout)) as stream:  # raw, by bufsize=0
            for line in stream:
                try:
                    told = json.loads(line)
                except ValueError:
                    continue  # what a login shell prints
                if isinstance(told, dict):
                    length = int(told.get("length") or 0)
                    self._events.put(LiveEvent(self.node, told, stream.read(length) if length else b""))
        code = self._process.wait()
        self._events.put(LiveEvent(self.node, {"event": "ended", **self._reason(code)}))

    def _reason(self, code: int) -> dict[str, str]:
        if self._closing:
            return {"error": "", "hint": ""}
        self._errors.seek(0)
        answer = explain(self._host, code, self._errors.read(_MOST_WORDS).decode("utf-8", "replace"))
        return {"error": answer.error, "hint": answer.hint}
