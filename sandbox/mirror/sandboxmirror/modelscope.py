"""ModelScope as its public client uses it: revisions, the list of files with their sha256, the files.

Addresses and fields as modelscope and modelscope_hub ask for and read them (_legacy_api.py, _download.py).
From there too: large files come by redirect from an object store, small ones at once and always whole.
"""

from __future__ import annotations

import re

from sandboxmirror import answers
from sandboxmirror.answers import Answer, Request
from sandboxmirror.models import BRANCHES, Catalogue, File, Model

LISTED_AT_MOST = 3000  # the service cuts a longer list without a word, says the client (constants.py)
_ASKED = re.compile(r"/api/v1/models/(?P<model>[^/]+/[^/]+?)(?P<what>/revisions|/repo/files|/repo)?")
_NO_MODEL, _NO_REVISION, _NO_FILE, _NO_ACCESS = 10010205001, 10010205002, 10010206001, 10010201001
_CREATED = 1767225600  # 2026-01-01


class ModelScope:
    """The hub over a catalogue of models.

    Args:
        token: what opens gated models.
        content_address: where large files are fetched.
    """

    def __init__(self, catalogue: Catalogue, *, token: str, content_address: str) -> None:
        self._catalogue = catalogue
        self._token = token
        self._content_address = content_address

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        match = _ASKED.fullmatch(request.path)
        if not match:
            return _refused(404, 404, "page not found")
        revisions = self._catalogue.revisions(match["model"])
        if not revisions:
            return _refused(404, _NO_MODEL, f"model {match['model']} not found")
        if match["what"] == "/revisions":
            return _data({"RevisionMap": _revision_map(revisions)})
        revision = request.query.get("Revision") or BRANCHES[1]
        model = self._catalogue.find(match["model"], revision)
        if model is None:
            return _refused(404, _NO_REVISION, f"revision {revision} of {match['model']} not found")
        if match["what"] == "/repo":
            return self._file(request, model)
        listed = match["what"] == "/repo/files"
        return _data({"Files": _listed(model, request), "IsVisual": 0} if listed else _information(model))

    def _file(self, request: Request, model: Model) -> Answer:
        if model.gated and not self._may(request):
            return _refused(403, _NO_ACCESS, f"no permission for model {model.name}")
        file = model.file(request.query.get("FilePath", ""))
        if file is None:
            return _refused(404, _NO_FILE, f"file {request.query.get('FilePath', '')} not found")
        if file.large:
            address = f"{self._content_address}/{file.sha256}?signature={model.commit[:16]}"
            return Answer(302, {"Location": address})
        whole = Request(request.method, request.path, request.query)
        return answers.content(whole, file.path, etag=file.oid)

    def _may(self, request: Request) -> bool:
        # The client sends its token as a bearer, and as a cookie of the name m_session_id.
        cookies = [each.strip() for each in request.headers.get("cookie", "").split(";")]
        return request.bearer == self._token or f"m_session_id={self._token}" in cookies


def _information(model: Model) -> dict[str, object]:
    owner, _, name = model.name.partition("/")
    return {
        "Id": 1,
        "Name": name,
        "Path": owner,
        "Revision": model.revision,
        "Visibility": 1 if model.gated else 5,  # 5: everybody, 1: who may
        "StorageSize": sum(file.size for file in model.files),
        "LastUpdatedTime": _CREATED,
    }


def _revision_map(revisions: dict[str, Model]) -> dict[str, object]:
    def told(revision: str) -> dict[str, object]:
        return {
            "Revision": revision,
            "CreatedAt": _CREATED,
            "Type": "Branch" if revision == BRANCHES[1] else "Tag",
        }

    tags = [told(revision) for revision in revisions if revision != BRANCHES[0]]
    return {"Branches": [told(BRANCHES[1])], "Tags": tags}


def _listed(model: Model, request: Request) -> list[dict[str, object]]:
    recursive = request.query.get("Recursive", "").lower() in {"true", "1"}
    root = request.query.get("Root", "").strip("/")
    prefix = f"{root}/" if root else ""
    found: dict[str, dict[str, object]] = {}
    for file in model.files:
        if not file.name.startswith(prefix):
            continue
        pieces = file.name.removeprefix(prefix).split("/")
        for depth in range(1, len(pieces)) if recursive else range(1, min(len(pieces), 2)):
            path = prefix + "/".join(pieces[:depth])
            found[path] = _listed_folder(path, model)
        if recursive or len(pieces) == 1:
            found[file.name] = _listed_file(file, model)
    return list(found.values())[:LISTED_AT_MOST]


def _listed_file(file: File, model: Model) -> dict[str, object]:
    return {
        "Name": file.name.rpartition("/")[2],
        "Path": file.name,
        "Type": "blob",
        "Size": file.size,
        "Sha256": file.sha256,
        "IsLFS": file.large,
        "Revision": model.commit,
        "CommittedDate": _CREATED,
        "CommitMessage": "",
        "Mode": "33188",
    }


def _listed_folder(path: str, model: Model) -> dict[str, object]:
    return {
        "Name": path.rpartition("/")[2],
        "Path": path,
        "Type": "tree",
        "Size": 0,
        "Sha256": "",
        "IsLFS": False,
        "Revision": model.commit,
        "CommittedDate": _CREATED,
    }


def _data(value: object) -> Answer:
    return answers.data(
        {"Code": 200, "Data": value, "Message": "success", "RequestId": "sandbox", "Success": True}
    )


def _refused(status: int, code: int, message: str) -> Answer:
    return answers.data(
        {"Code": code, "Data": None, "Message": message, "RequestId": "sandbox", "Success": False}, status
    )
