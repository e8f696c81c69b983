"""The HTTP side: OpenAI's API and vLLM's own paths, a thread a connection."""

from __future__ import annotations

import hmac
import json
import select
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

from simvllm import journal
from simvllm.answers import Chat, Completion, new_id
from simvllm.generation import AbandonedError
from simvllm.protocol import (
    RefusedError,
    bad_request,
    chat_call,
    check_model,
    check_tokens,
    completion_call,
    invalid,
    messages,
    parse_body,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from simvllm.protocol import Body
    from simvllm.service import Service

LARGEST_BODY = 64 << 20


class ApiServer(ThreadingHTTPServer):
    """A bound socket that answers nobody before `open`: a client's connection is refused until then."""

    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler, bind_and_activate=False)
        self.service: Service | None = None
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise

    def server_bind(self) -> None:
        """Bind without asking name servers who we are, as HTTPServer does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "vllm", self.server_address[1]

    def open(self, service: Service) -> None:
        """Take connections from now on."""
        self.service = service
        self.server_activate()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"
    sys_version = ""
    disable_nagle_algorithm = True
    server: ApiServer
    routes: ClassVar[dict[str, tuple[str, Callable[[Handler], None]]]] = {}

    @property
    def service(self) -> Service:
        """What answers are made from."""
        assert self.server.service is not None  # noqa: S101 - set before the socket listens
        return self.server.service

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer("GET")

    def do_POST(self) -> None:
        """Answer a POST."""
        self._answer("POST")

    def do_HEAD(self) -> None:
        """Answer a HEAD, which no path takes."""
        self._answer("HEAD")

    def do_PUT(self) -> None:
        """Answer a PUT, which no path takes."""
        self._answer("PUT")

    def do_DELETE(self) -> None:
        """Answer a DELETE, which no path takes."""
        self._answer("DELETE")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's words
        """Its own lines are written by `_log`."""

    def _answer(self, method: str) -> None:
        self._raw = self._read_body()
        path = self.path.partition("?")[0]
        allowed, handle = self.routes.get(path, ("", Handler._missing))
        try:
            if path.startswith("/v1") and not self._authorized():
                self._json(401, {"error": "Unauthorized"})
            elif allowed and allowed != method:
                self._json(405, {"detail": "Method Not Allowed"})
            else:
                handle(self)
        except RefusedError as refusal:
            self._json(refusal.status, refusal.body())
        except (AbandonedError, ConnectionError, TimeoutError):
            self.close_connection = True

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks()
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            return b""
        return self.rfile.read(int(length))

    def _read_chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(64).partition(b";")[0] or b"0", 16):
            found += self.rfile.read(size)
            self.rfile.readline(64)
        self.rfile.readline(64)
        return found

    def _authorized(self) -> bool:
        keys = self.service.settings.keys
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        return not keys or (
            scheme.lower() == "bearer"
            and any(hmac.compare_digest(given.encode(), key.encode()) for key in keys)
        )

    def _missing(self) -> None:
        self._json(404, {"detail": "Not Found"})

    def health(self) -> None:
        """GET /health: an empty body, 503 once the engine is dead."""
        self._send(503 if self.service.engine_dead else 200, b"", "")

    def version(self) -> None:
        """GET /version."""
        self._json(200, {"version": self.service.release})

    def metrics(self) -> None:
        """GET /metrics."""
        self._send(
            200, self.service.metrics.exposition().encode(), "text/plain; version=0.0.4; charset=utf-8"
        )

    def models(self) -> None:
        """GET /v1/models."""
        settings = self.service.settings
        data: list[Body] = [
            {
                "id": name,
                "object": "model",
                "created": self.service.created,
                "owned_by": "vllm",
                "root": settings.model,
                "parent": None,
                "max_model_len": settings.max_model_len,
                "permission": [],
            }
            for name in settings.names
        ]
        self._json(200, {"object": "list", "data": data})

    def tokenize(self) -> None:
        """POST /tokenize: of a prompt, or of a conversation."""
        body = parse_body(self._raw)
        check_model(body, self.service.settings)
        language = self.service.writer.language
        if body.get("messages") is not None:
            ask = body.get("add_generation_prompt") is not False
            tokens = language.turns(messages(body["messages"]), ask=ask)
        elif isinstance(body.get("prompt"), str):
            tokens = language.tokenizer.encode(body["prompt"])
        else:
            raise invalid("missing", ("prompt",), "Field required", body)
        names = (
            [language.tokenizer.label(token) for token in tokens] if body.get("return_token_strs") else None
        )
        length = self.service.settings.max_model_len
        self._json(
            200, {"count": len(tokens), "max_model_len": length, "tokens": tokens, "token_strs": names}
        )

    def detokenize(self) -> None:
        """POST /detokenize."""
        body = parse_body(self._raw)
        check_model(body, self.service.settings)
        tokens = body.get("tokens")
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise invalid("missing" if tokens is None else "list_type", ("tokens",), "Field required", body)
        language = self.service.writer.language
        self._json(200, {"prompt": language.tokenizer.decode_with_specials(check_tokens(tokens, language))})

    def completions(self) -> None:
        """POST /v1/completions."""
        self._generate(Completion, "cmpl")

    def chat(self) -> None:
        """POST /v1/chat/completions."""
        self._generate(Chat, "chatcmpl")

    def _generate(self, kind: type[Completion | Chat], name: str) -> None:
        service = self.service
        if service.faults.strikes():
            raise RefusedError(500, "InternalServerError", "Injected by the fault http-500")
        check = completion_call if kind is Completion else chat_call
        call = check(parse_body(self._raw), service.writer.language, service.settings)
        if call.sampling.count > service.settings.max_num_seqs:
            raise bad_request(f"n must be at most {service.settings.max_num_seqs}", "n")
        answer = kind(call, service.writer, self._gone, new_id(name))
        if service.engine_dead:
            raise _engine_dead()
        if call.stream:
            self._stream(answer)
            return
        try:
            body = answer.whole()
        except AbandonedError:
            if service.engine_dead:
                raise _engine_dead() from None
            raise
        self._json(200, body)

    def _stream(self, answer: Completion | Chat) -> None:
        self._begin(200, "text/event-stream; charset=utf-8", [("Transfer-Encoding", "chunked")])
        try:
            for chunk in answer.chunks():
                self._event(json.dumps(chunk, ensure_ascii=False, separators=(",", ":")))
        except AbandonedError:
            if not self.service.engine_dead:
                raise
            self._event(json.dumps(_engine_dead().body()))
        self._event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, text: str) -> None:
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _gone(self) -> bool:
        """Whether the engine is dead, or the client has closed its side."""
        if self.service.engine_dead:
            return True
        if not select.select([self.connection], [], [], 0)[0]:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return True

    def _json(self, status: int, body: Body) -> None:
        self._send(
            status, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(), "application/json"
        )

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self._begin(status, kind, [("Content-Length", str(len(data)))])
        if self.command != "HEAD":
            self.wfile.write(data)

    def _begin(self, status: int, kind: str, headers: list[tuple[str, str]]) -> None:
        if self.service.settings.access_log:
            host, port = self.client_address[:2]
            words = self.responses.get(status, ("", ""))[0]
            journal.access(f"{host}:{port}", f"{self.command} {self.path} HTTP/1.1", f"{status} {words}")
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()


def _engine_dead() -> RefusedError:
    return RefusedError(
        500,
        "InternalServerError",
        "EngineCore encountered an issue. See stack trace (above) for the root cause.",
    )


Handler.routes.update(
    {
        "/health": ("GET", Handler.health),
        "/ping": ("GET", Handler.health),
        "/version": ("GET", Handler.version),
        "/metrics": ("GET", Handler.metrics),
        "/v1/models": ("GET", Handler.models),
        "/tokenize": ("POST", Handler.tokenize),
        "/detokenize": ("POST", Handler.detokenize),
        "/v1/completions": ("POST", Handler.completions),
        "/v1/chat/completions": ("POST", Handler.chat),
    }
)
