"""A model hub on this machine that speaks as Hugging Face and as ModelScope do, with troubles on demand."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

COMMIT = "c" * 40
SHARD = bytes(range(256)) * 8000
CONFIG = b'{"model_type": "qwen2"}'


def git_name(content: bytes) -> str:
    return hashlib.new("sha1", b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324  as git does


@dataclass
class Fake:
    """One hub: files, and what goes wrong. `log` has (path, Range, Authorization) of each request."""

    files: dict[str, bytes] = field(default_factory=lambda: {"config.json": CONFIG, "m.safetensors": SHARD})
    token: str = ""
    cut_after: int = 0
    cuts: int = 0
    wrong: dict[str, bytes] = field(default_factory=dict)
    busy: int = 0
    ranges: bool = True
    page: int = 100
    redirect_to: str = ""
    log: list[tuple[str, str, str]] = field(default_factory=list)
    address: str = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        given = handler.headers.get("Authorization", "")
        self.log.append((handler.path, handler.headers.get("Range", ""), given))
        path, _, query = handler.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        if self.busy:
            self.busy -= 1
            self._send(handler, 503, b"")
        elif self.token and given != f"Bearer {self.token}":
            self._send(handler, 401, b"")
        elif path == "/api/models/o/m/revision/main":
            self._json(handler, {"sha": COMMIT})
        elif path == f"/api/models/o/m/tree/{COMMIT}":
            self._tree(handler, int(asked.get("cursor", 0)))
        elif path == "/api/v1/models/o/m/repo/files":
            self._json(handler, {"Code": 200, "Data": {"Files": self._entries()}})
        elif found := re.match(rf"^(?:/o/m/resolve/{COMMIT}|/cdn)/(.+)$", path):
            if self.redirect_to and not path.startswith("/cdn"):
                handler.send_response(302)
                handler.send_header("Location", f"{self.redirect_to}/cdn/{found[1]}")
                handler.end_headers()
            else:
                self._file(handler, found[1])
        elif path == "/api/v1/models/o/m/repo":
            self._file(handler, asked["FilePath"])
        else:
            self._send(handler, 404, b"")

    def _entries(self) -> list[dict[str, Any]]:
        files = [
            {"Path": name, "Type": "blob", "Size": len(data), "Sha256": hashlib.sha256(data).hexdigest(),
             "Revision": COMMIT, "CommittedDate": 5}
            for name, data in self.files.items()
        ]  # fmt: skip
        return [{"Path": "assets", "Type": "tree", "Size": 0}, *files]

    def _tree(self, handler: http.server.BaseHTTPRequestHandler, start: int) -> None:
        entries = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": git_name(data)}
            if name.endswith(".safetensors"):
                entry["oid"] = "0" * 40
                entry["lfs"] = {
                    "oid": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 130,
                }
            entries.append(entry)
        headers = {}
        if start + self.page < len(entries):
            following = (
                f"{self.address}/api/models/o/m/tree/{COMMIT}?recursive=true&cursor={start + self.page}"
            )
            headers = {"Link": f'<{following}>; rel="next"'}
        self._json(handler, entries[start : start + self.page], headers)

    def _file(self, handler: http.server.BaseHTTPRequestHandler, name: str) -> None:
        data = self.wrong.get(name, self.files[name])
        asked = handler.headers.get("Range", "")
        start = int(asked[len("bytes=") : -1]) if asked and self.ranges else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        if self.cuts and name.endswith(".safetensors"):
            self.cuts -= 1
            handler.wfile.write(data[start : start + self.cut_after])
            return
        handler.wfile.write(data[start:])

    def _json(self, handler: Any, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(handler, 200, json.dumps(value).encode(), headers)

    def _send(self, handler: Any, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def serving(fake: Fake, address: str = "127.0.0.1") -> Iterator[Fake]:
    """The hub answers while the block lasts; `fake.address` says where."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.answer(self)

        def log_message(self, *_given: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fake.address = f"http://{address}:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
