"""Debian's image registry, run twice over one store: for everybody, and for who logs in. And how it is filled."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

OPEN_PORT, LOGIN_PORT = 5500, 5501  # on the loopback; the mirror stands before them
_UP_SECONDS = 20
_DOCKER = "application/vnd.docker"
_MANIFEST = f"{_DOCKER}.distribution.manifest.v2+json"
_LIST = f"{_DOCKER}.distribution.manifest.list.v2+json"
_CONFIG = f"{_DOCKER}.container.image.v1+json"
_LAYER = f"{_DOCKER}.image.rootfs.diff.tar.gzip"
_GZIP = b"\x1f\x8b"
_OTHER = {"amd64": "arm64", "arm64": "amd64"}
_CHUNK = 1 << 20


class RegistryError(Exception):
    """The registry did not do what was asked of it."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file of an image on its way into the registry."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """An image taken apart: its configuration, and its layers packed."""

    config: bytes
    layers: tuple[Blob, ...]


def configuration(store: Path, port: int, htpasswd: Path | None = None) -> str:
    """The registry's configuration (YAML, of which JSON is a part)."""
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(store)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if htpasswd:
        settings["auth"] = {"htpasswd": {"realm": "mirror of a sandbox", "path": str(htpasswd)}}
    return json.dumps(settings)


def write_htpasswd(path: Path, user: str, password: str) -> None:
    """Write who may log in; the registry takes bcrypt only."""
    import crypt  # noqa: PLC0415  Python 3.13 has none: it must be there only where the registry runs

    bcrypt = crypt.mksalt(crypt.METHOD_BLOWFISH)  # noqa: S324
    path.touch(mode=0o600)
    path.write_text(f"{user}:{crypt.crypt(password, bcrypt)}\n", encoding="utf-8")


def start(folder: Path, store: Path, htpasswd: Path) -> list[subprocess.Popen[bytes]]:
    """Start both registries and wait until they answer.

    Raises:
        RegistryError: one does not answer in time.
    """
    store.mkdir(parents=True, exist_ok=True)
    processes = []
    for port, users in ((OPEN_PORT, None), (LOGIN_PORT, htpasswd)):
        path = folder / f"registry-{port}.yml"
        path.write_text(configuration(store, port, users), encoding="utf-8")
        command = ["docker-registry", "serve", str(path)]
        with path.with_suffix(".log").open("wb") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
    deadline = time.monotonic() + _UP_SECONDS
    for port in (OPEN_PORT, LOGIN_PORT):
        while not _answers(port):
            if time.monotonic() > deadline:
                said = (folder / f"registry-{port}.log").read_text(encoding="utf-8").strip()
                raise RegistryError(f"the registry on port {port} does not answer: {said[-400:]}")
            time.sleep(0.1)
    return processes


def take_apart(archive: IO[bytes], folder: Path) -> Image:
    """Read what `docker save` wrote of one image; the packed layers are put into `folder`.

    Raises:
        RegistryError: it holds no image, or several.
    """
    unpacked = folder / "saved"
    unpacked.mkdir()
    files: dict[str, Path] = {}
    links: dict[str, str] = {}
    with tarfile.open(fileobj=archive, mode="r|") as members:
        for member in members:
            source = members.extractfile(member) if member.isfile() else None
            if source:
                files[member.name] = unpacked / str(len(files))
                with files[member.name].open("wb") as target:
                    shutil.copyfileobj(source, target, _CHUNK)
            elif member.issym():  # a layer that is the same as another one
                links[member.name] = str(
                    Path(member.name).parent.parent / member.linkname.removeprefix("../")
                )
    if "manifest.json" not in files:
        raise RegistryError("no image: it has no manifest.json")
    entries = json.loads(files["manifest.json"].read_bytes())
    if len(entries) != 1:
        raise RegistryError(f"{len(entries)} images in one archive")
    names = [links.get(name, name) for name in entries[0]["Layers"]]
    packed = {name: _packed(files[name], folder) for name in dict.fromkeys(names)}
    return Image(files[entries[0]["Config"]].read_bytes(), tuple(packed[name] for name in names))


def made_of(files: Mapping[str, bytes], architecture: str, folder: Path) -> Image:
    """An image of a few files, for nobody to run."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    layer = folder / "layer"
    layer.write_bytes(buffer.getvalue())
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [_digest(buffer.getvalue())]},
    }
    return Image(json.dumps(config).encode(), (_packed(layer, folder),))


def push(image: Image, repository: str, tags: Iterable[str], *, port: int = OPEN_PORT) -> None:
    """Put an image into the registry.

    Each tag is a list for two architectures, as vllm-ascend's are: the image's own and one that says it is
    for the other. TAG-ARCHITECTURE is the one for the other alone.

    Raises:
        RegistryError: the registry refused a part.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = _Store(port, repository, Path(folder))
        for layer in image.layers:
            store.blob(layer)
        own = json.loads(image.config).get("architecture", "amd64")
        other = _OTHER.get(own, "amd64")
        manifests = {
            own: store.image(image.config, image.layers),
            other: store.image(_for(image.config, other), image.layers),
        }
        entries = [
            _described(_MANIFEST, manifest) | {"platform": {"architecture": architecture, "os": "linux"}}
            for architecture, manifest in manifests.items()
        ]
        for tag in tags:
            store.manifest({"mediaType": _LIST, "manifests": entries}, tag)
            store.put_manifest(manifests[other], _MANIFEST, f"{tag}-{other}")


def has(repository: str, tag: str, *, port: int = OPEN_PORT) -> bool:
    """Whether the registry has that tag."""
    status, _ = _ask(
        port, "HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": f"{_LIST}, {_MANIFEST}"}
    )
    return status == http.client.OK


class _Store:
    """One repository, written to over the registry's own protocol."""

    def __init__(self, port: int, repository: str, folder: Path) -> None:
        self._port = port
        self._base = f"/v2/{repository}"
        self._folder = folder

    def blob(self, blob: Blob) -> None:
        if _ask(self._port, "HEAD", f"{self._base}/blobs/{blob.digest}")[0] == http.client.OK:
            return
        headers = self._expect("POST", f"{self._base}/blobs/uploads/", http.client.ACCEPTED)
        target = headers["location"].removeprefix(f"http://127.0.0.1:{self._port}")
        joined = "&" if "?" in target else "?"
        with blob.path.open("rb") as file:
            sent = {"Content-Length": str(blob.size), "Content-Type": "application/octet-stream"}
            path = f"{target}{joined}digest={blob.digest}"
            self._expect("PUT", path, http.client.CREATED, body=file, headers=sent)

    def image(self, config: bytes, layers: Iterable[Blob]) -> bytes:
        path = self._folder / "config"
        path.write_bytes(config)
        self.blob(Blob(path, _digest(config), len(config)))
        return self.manifest(
            {
                "mediaType": _MANIFEST,
                "config": _described(_CONFIG, config),
                "layers": [
                    {"mediaType": _LAYER, "size": layer.size, "digest": layer.digest} for layer in layers
                ],
            }
        )

    def manifest(self, manifest: Mapping[str, Any], tag: str = "") -> bytes:
        content = json.dumps({"schemaVersion": 2, **manifest}).encode()
        self.put_manifest(content, manifest["mediaType"], tag or _digest(content))
        return content

    def put_manifest(self, content: bytes, kind: str, tag: str) -> None:
        headers = {"Content-Type": kind}
        self._expect(
            "PUT", f"{self._base}/manifests/{tag}", http.client.CREATED, body=content, headers=headers
        )

    def _expect(self, method: str, path: str, wanted: int, **more: Any) -> dict[str, str]:
        status, headers = _ask(self._port, method, path, **more)
        if status != wanted:
            raise RegistryError(f"{method} {path}: {status}, not {wanted}")
        return headers


def _packed(path: Path, folder: Path) -> Blob:
    """A layer as it goes over the network."""
    with path.open("rb") as file:
        ready = file.read(2) == _GZIP
    target = path if ready else folder / f"{path.name}.gz"
    if not ready:
        # The name and the time in a gzip header would change its digest from day to day.
        with (
            path.open("rb") as source,
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
        ):
            shutil.copyfileobj(source, packed, _CHUNK)
        path.unlink()
    total = hashlib.sha256()
    with target.open("rb") as file:
        while piece := file.read(_CHUNK):
            total.update(piece)
    return Blob(target, f"sha256:{total.hexdigest()}", target.stat().st_size)


def _for(config: bytes, architecture: str) -> bytes:
    return json.dumps({**json.loads(config), "architecture": architecture}).encode()


def _described(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _answers(port: int) -> bool:
    try:
        return _ask(port, "GET", "/v2/")[0] in {http.client.OK, http.client.UNAUTHORIZED}
    except OSError:
        return False


def _ask(port: int, method: str, path: str, **more: Any) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request(method, path, **more)
        answer = connection.getresponse()
        answer.read()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
