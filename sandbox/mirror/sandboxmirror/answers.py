"""Requests and answers, and files served in whole or in part (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

# Digits are cut at 18: no file is larger, and Python refuses to read thousands of them.
_ONE_RANGE = re.compile(r"bytes=\s*(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})\s*", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` is decoded and has no query."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str]) -> Request:
        """Take a request line's target apart."""
        parts = urlsplit("http://mirror" + target if target.startswith("/") else target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        names = {name.lower(): value for name, value in headers.items()}
        return cls(method, unquote(parts.path) or "/", query, names)

    def below(self, prefix: str) -> Request:
        """The same request as a service sees it that is mounted at `prefix`."""
        return Request(self.method, self.path.removeprefix(prefix) or "/", self.query, self.headers)

    @property
    def bearer(self) -> str:
        """The token that came with it, "" without one."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    @property
    def user(self) -> str:
        """The name that came with it (Basic), "" without one."""
        kind, _, code = self.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic":
            return ""
        try:
            return base64.b64decode(code, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""


@dataclass(frozen=True, slots=True)
class FilePart:
    """`length` bytes of a file of `whole` bytes, from `start` on."""

    path: Path
    start: int
    length: int
    whole: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; a body that is a FilePart is content, which faults may damage."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FilePart = b""

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return self.body.length if isinstance(self.body, FilePart) else len(self.body)


Service = Callable[[Request], Answer]


def data(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with JSON."""
    body = json.dumps(value).encode()
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)


def text(content: str, status: int = 200, kind: str = "text/plain; charset=utf-8") -> Answer:
    """Answer with a text."""
    return Answer(status, {"Content-Type": kind}, content.encode())


def not_found(what: str = "Not Found") -> Answer:
    """There is no such thing."""
    return text(what + "\n", 404)


def wanted_part(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the number of bytes that a Range header asks of `size`; None: all of them.

    A header that cannot be read, and one that asks for several parts, may be answered with the whole.

    Raises:
        ValueError: no byte of it is there.
    """
    match = _ONE_RANGE.fullmatch(header.strip())
    if not match or not (match["first"] or match["last"]):
        return None
    if not match["first"]:
        length = min(int(match["last"]), size)
        if length == 0:
            raise ValueError(header)
        return size - length, length
    first = int(match["first"])
    last = min(int(match["last"]), size - 1) if match["last"] else size - 1
    if match["last"] and int(match["last"]) < first:
        return None
    if first >= size:
        raise ValueError(header)
    return first, last - first + 1


def content(request: Request, path: Path, *, etag: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a file: whole, in part, or not at all where the client has it already."""
    size = path.stat().st_size
    tag = f'"{etag}"'
    common = {"Accept-Ranges": "bytes", "ETag": tag, "Content-Type": "application/octet-stream"}
    common |= headers or {}
    if tag in [each.strip() for each in request.headers.get("if-none-match", "").split(",")]:
        return Answer(304, common)
    header = request.headers.get("range", "")
    if header and request.headers.get("if-range", tag) == tag:
        try:
            part = wanted_part(header, size)
        except ValueError:
            return Answer(416, {"Content-Range": f"bytes */{size}"})
        if part:
            first, length = part
            told = {"Content-Range": f"bytes {first}-{first + length - 1}/{size}"}
            return Answer(206, common | told, FilePart(path, first, length, size))
    return Answer(200, common, FilePart(path, 0, size, size))


def file_below(root: Path, name: str) -> Path | None:
    """The file of that name below `root`; None where there is none, or the name leads out of it."""
    if "\0" in name:
        return None
    path = (root / name.lstrip("/")).resolve()
    return path if path.is_relative_to(root.resolve()) and path.is_file() else None
