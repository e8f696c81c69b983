"""A package index as pip reads it (the simple repository API, HTML), with wheels made on the spot."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import zipfile
from pathlib import Path

from sandboxmirror import answers
from sandboxmirror.answers import Answer, Request

_MADE = (2026, 1, 1, 0, 0, 0)  # of everything in a wheel: the same bytes at every making


def wheel(name: str, version: str) -> tuple[str, bytes]:
    """A wheel with one module of that name, which tells its version: file name and content."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f'"""From the mirror of a sandbox."""\n\n__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: npuctl-sandbox\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},sha256={_digest(content.encode())},{len(content)}" for path, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, _MADE), content)
    return f"{module}-{version}-py3-none-any.whl", buffer.getvalue()


class PipIndex:
    """One index: pages below /simple, the files of `folder` below /files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path.startswith("/files/"):
            path = answers.file_below(self._folder, request.path.removeprefix("/files/"))
            return answers.content(request, path, etag=_sha256(path)) if path else answers.not_found()
        match = re.fullmatch(r"/simple(/(?P<project>[^/]+))?/?", request.path)
        if not match:
            return answers.not_found()
        by_project: dict[str, list[Path]] = {}
        for path in sorted(self._folder.glob("*.whl")):
            by_project.setdefault(_normalised(path.name.partition("-")[0]), []).append(path)
        if match["project"] is None:
            return _page([(f"{project}/", project) for project in by_project])
        found = by_project.get(_normalised(match["project"]))
        if not found:
            return answers.not_found()
        return _page([(f"../../files/{path.name}#sha256={_sha256(path)}", path.name) for path in found])


def _page(links: list[tuple[str, str]]) -> Answer:
    rows = "".join(f'<a href="{html.escape(to)}">{html.escape(shown)}</a><br>\n' for to, shown in links)
    return answers.text(
        f"<!DOCTYPE html>\n<html><body>\n{rows}</body></html>\n", kind="text/html; charset=utf-8"
    )


def _normalised(project: str) -> str:
    return re.sub(r"[-_.]+", "-", project).lower()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
