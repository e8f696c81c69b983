"""The mirror's listeners: HTTP with and without TLS, faults, and a note of every answer."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sandboxmirror import answers, faults
from sandboxmirror.answers import Answer, FilePart, Request, Service
from sandboxmirror.faults import Faults
from sandboxmirror.journal import Journal

_BLOCK = 1 << 16
_IDLE_SECONDS = 60
# What a proxy does not pass on (RFC 9110, 7.6.1), and what it says itself.
_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "content-length",
    "date",
    "server",
}


@dataclass(frozen=True, slots=True)
class Mount:
    """A service and the beginning of the paths that it answers."""

    prefix: str
    name: str
    service: Service

    def takes(self, path: str) -> bool:
        """Whether a path is this service's."""
        return path == self.prefix or path.startswith(f"{self.prefix}/") or not self.prefix


@dataclass(frozen=True, slots=True)
class Relay:
    """A server on the loopback that answers in place of services."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all listeners share."""

    journal: Journal
    faults_file: Path


class Listener(ThreadingHTTPServer):
    """One port; with `tls`, HTTPS."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        what: Sequence[Mount] | Relay,
        surroundings: Surroundings,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.what = what
        self.surroundings = surroundings
        self._tls = tls
        super().__init__(address, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection; the handshake is left to its own thread, so that nobody waits for it."""
        connection, client = super().get_request()
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, client

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """Note a connection that broke; a client that does not trust the authority is one."""
        error = sys.exc_info()[1]
        kind = "tls" if isinstance(error, ssl.SSLError) else "connection"
        self.surroundings.journal.write(service=kind, client=client_address[0], error=str(error))


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "npuctl-sandbox-mirror"
    sys_version = ""
    timeout = _IDLE_SECONDS
    server: Listener

    def do_GET(self) -> None:
        """Answer."""
        self._drain()
        request = Request.of(self.command, self.path, dict(self.headers))
        around = self.server.surroundings
        now = faults.read(around.faults_file)
        what = self.server.what
        if now.refuses():
            name = "fault"
            refused = answers.text("Service Unavailable\n", 503)
            answer, sent = refused, self._send(refused, now)
        elif isinstance(what, Relay):
            name = what.name
            answer, sent = self._relay(what, now)
        else:
            name, answer = _served(what, request)
            sent = self._send(answer, now)
        around.journal.write(
            service=name,
            client=self.client_address[0],
            method=self.command,
            target=self.path,
            status=answer.status,
            bytes=sent,
            range=request.headers.get("range", ""),
            user=request.user,
            authorized="authorization" in request.headers,
            agent=request.headers.get("user-agent", ""),
        )

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815  http.server looks for these

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing: the journal has it."""

    def _drain(self) -> None:
        length = self.headers.get("Content-Length", "0")
        left = int(length) if length.isascii() and length.isdecimal() else 0
        while left > 0 and (piece := self.rfile.read(min(left, _BLOCK))):
            left -= len(piece)

    def _send(self, answer: Answer, now: Faults) -> int:
        """Send an answer; return how many bytes of its body went out."""
        self._head(answer.status, answer.headers, answer.length)
        if self.command == "HEAD":
            return 0
        if isinstance(answer.body, FilePart):
            return self._body(faults.blocks(answer.body, now), answer.length)
        self.wfile.write(answer.body)
        return len(answer.body)

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != http.client.NOT_MODIFIED:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _body(self, pieces: Iterator[bytes], length: int) -> int:
        sent = 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):  # the client went away
            for piece in pieces:
                self.wfile.write(piece)
                sent += len(piece)
        if sent < length:
            self.close_connection = True
        return sent

    def _relay(self, to: Relay, now: Faults) -> tuple[Answer, int]:
        """Pass a reading request on, and what comes back; blobs are content, which faults damage."""
        if self.command not in {"GET", "HEAD"}:
            refused = answers.text("this mirror is read only\n", 405)
            return refused, self._send(refused, now)
        upstream = http.client.HTTPConnection("127.0.0.1", to.port, timeout=_IDLE_SECONDS)
        try:
            names = {name.lower() for name in self.headers} - _HOP
            # Docker says Accept once for each kind of manifest.
            kept = {name: ", ".join(self.headers.get_all(name, [])) for name in names}
            upstream.request(self.command, self.path, headers=kept | {"X-Forwarded-Proto": "https"})
            back = upstream.getresponse()
            headers = {name: value for name, value in back.getheaders() if name.lower() not in _HOP}
            length = int(back.getheader("Content-Length") or 0)
            if self.command == "HEAD" or "/blobs/" not in self.path:
                content = back.read()
                self._head(back.status, headers, length if self.command == "HEAD" else len(content))
                self.wfile.write(content)
                return Answer(back.status), len(content)
            self._head(back.status, headers, length)
            return Answer(back.status), self._body(_passed_on(back, length, now), length)
        finally:
            upstream.close()


def _served(mounts: Sequence[Mount], request: Request) -> tuple[str, Answer]:
    mount = next((mount for mount in mounts if mount.takes(request.path)), None)
    if mount is None:
        return "none", answers.not_found()
    return mount.name, mount.service(request.below(mount.prefix))


def _passed_on(back: http.client.HTTPResponse, length: int, now: Faults) -> Iterator[bytes]:
    told = back.getheader("Content-Range") or ""  # bytes FIRST-LAST/WHOLE
    position = int(told.removeprefix("bytes ").partition("-")[0]) if told else 0
    whole = int(told.rpartition("/")[2]) if told else length
    left = length if now.cut is None else min(now.cut, length)
    block = min(_BLOCK, max(now.slow // 10, 1)) if now.slow else _BLOCK
    while left and (piece := back.read(min(block, left))):
        yield faults.damaged(piece, position, whole) if now.wrong else piece
        faults.pace(len(piece), now)
        position += len(piece)
        left -= len(piece)


def files(root: Path) -> Service:
    """A service that serves the files below a folder as they are."""

    def serve(request: Request) -> Answer:
        path = answers.file_below(root, request.path)
        if path is None:
            return answers.not_found()
        state = path.stat()
        return answers.content(request, path, etag=f"{state.st_size:x}-{state.st_mtime_ns:x}")

    return serve


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server shows and asks of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
