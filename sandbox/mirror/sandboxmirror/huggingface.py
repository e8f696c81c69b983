"""The Hugging Face hub as huggingface_hub uses it: a model's revision, its tree, its files.

Addresses, headers and error codes as the public client reads them (huggingface_hub: file_download.py,
hf_api.py, utils/_http.py). Large files are answered with a redirect to another address, as the hub does.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from sandboxmirror import answers
from sandboxmirror.answers import Answer, Request
from sandboxmirror.models import Catalogue, File, Model

PAGE = 1000  # entries of a tree in one answer
_INFO = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
_TREE = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?")
_FILE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


class HuggingFace:
    """The hub over a catalogue of models.

    Args:
        token: what opens gated models.
        address: where this service is reached, for links to further pages.
        content_address: where large files are fetched.
    """

    def __init__(self, catalogue: Catalogue, *, token: str, address: str, content_address: str) -> None:
        self._catalogue = catalogue
        self._token = token
        self._address = address
        self._content_address = content_address

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.bearer and request.bearer != self._token:
            return _refused(401, "", "Invalid credentials in Authorization header")
        for pattern, serve in ((_TREE, self._tree), (_INFO, self._info), (_FILE, self._file)):
            match = pattern.fullmatch(request.path)
            if match:
                asked = {key: value for key, value in match.groupdict().items() if value}
                if not self._catalogue.revisions(asked["model"]):
                    # Whether a model is private or does not exist is not told to strangers.
                    status = 404 if request.bearer else 401
                    return _refused(status, "RepoNotFound", "Repository not found")
                revision = asked.get("revision", "main")
                model = self._catalogue.find(asked["model"], revision)
                if model is None:
                    return _refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
                return serve(request, model, asked)
        return _refused(404, "", "Not Found")

    def _info(self, _request: Request, model: Model, _asked: dict[str, str]) -> Answer:
        return answers.data(
            {
                "_id": model.commit[:24],
                "id": model.name,
                "modelId": model.name,
                "author": model.name.partition("/")[0],
                "sha": model.commit,
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
                "private": False,
                "gated": "manual" if model.gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "siblings": [{"rfilename": file.name} for file in model.files],
                "usedStorage": sum(file.size for file in model.files),
            }
        )

    def _tree(self, request: Request, model: Model, asked: dict[str, str]) -> Answer:
        entries = _entries(
            model, asked.get("folder", ""), recursive=_true(request.query.get("recursive", ""))
        )
        if asked.get("folder") and not entries:
            return _refused(404, "EntryNotFound", "Entry not found")
        size = min(max(_number(request.query.get("limit", ""), PAGE), 1), PAGE)
        start = _number(request.query.get("cursor", ""), 0)
        headers = {}
        if start + size < len(entries):
            query = {**request.query, "limit": str(size), "cursor": str(start + size)}
            shown = "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items())
            headers["Link"] = f'<{self._address}{quote(request.path)}?{shown}>; rel="next"'
        return answers.data(entries[start : start + size], headers=headers)

    def _file(self, request: Request, model: Model, asked: dict[str, str]) -> Answer:
        if model.gated and not request.bearer:
            return _refused(
                401,
                "GatedRepo",
                f"Access to model {model.name} is restricted: log in first.",
            )
        file = model.file(asked["file"])
        if file is None:
            return _refused(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": model.commit})
        told = {"X-Repo-Commit": model.commit}
        if not file.large:
            return answers.content(request, file.path, etag=file.oid, headers=told)
        told |= {
            "X-Linked-Size": str(file.size),
            "X-Linked-ETag": f'"{file.sha256}"',
            "Location": f"{self._content_address}/{file.sha256}?signature={model.commit[:16]}",
        }
        return Answer(302, told | {"Content-Type": "text/plain; charset=utf-8"}, b"Found. Redirecting\n")


class Content:
    """Where large files lie: addressed by hash, with a signature in the address in place of a login."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if "authorization" in request.headers:
            # As object stores do; a client that sends its token on to another host gives it away.
            return answers.text("Only one auth mechanism allowed\n", 400)
        if not request.query.get("signature"):
            return answers.text("Access Denied\n", 403)
        sha256 = request.path.strip("/")
        path = self._catalogue.content(sha256)
        if path is None:
            return answers.not_found()
        return answers.content(request, path, etag=sha256, headers={"X-Linked-ETag": f'"{sha256}"'})


def _entries(model: Model, folder: str, *, recursive: bool) -> list[dict[str, object]]:
    prefix = f"{folder.strip('/')}/" if folder else ""
    found: dict[str, dict[str, object]] = {}
    for file in model.files:
        if not file.name.startswith(prefix):
            continue
        pieces = file.name.removeprefix(prefix).split("/")
        for depth in range(1, len(pieces)) if recursive else range(1, min(len(pieces), 2)):
            path = prefix + "/".join(pieces[:depth])
            found[path] = {"type": "directory", "oid": model.commit, "size": 0, "path": path}
        if recursive or len(pieces) == 1:
            found[file.name] = _entry(file)
    return list(found.values())


def _entry(file: File) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": file.oid, "size": file.size, "path": file.name}
    if file.large:
        entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return entry


def _refused(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    told = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
    return answers.data({"error": message}, status, told)


def _true(value: str) -> bool:
    return value.lower() in {"true", "1"}


def _number(value: str, otherwise: int) -> int:
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else otherwise  # noqa: PLR2004
