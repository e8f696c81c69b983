"""The models that the hubs serve: folders, their revisions, and what a hub tells of their files.

`ROOT/OWNER/NAME` is a model's main branch, `ROOT/OWNER/NAME@REVISION` a tag. Models below `gated/` can be
seen by everybody and downloaded with the token only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PUBLIC, GATED = "public", "gated"
BRANCHES = ("main", "master")  # Hugging Face's word for it, and ModelScope's
# What the hubs keep outside of git, as .gitattributes of a new repository there says.
_LARGE = {".safetensors", ".bin", ".ckpt", ".pt", ".onnx", ".gguf"}
_PIECE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model; `oid` as git names it, `large` where the hub keeps it outside of git."""

    name: str
    path: Path
    size: int
    sha256: str
    oid: str
    large: bool

    @property
    def pointer_size(self) -> int:
        """Bytes of what git holds in its place."""
        return len(_pointer(self.sha256, self.size))


@dataclass(frozen=True, slots=True)
class Model:
    """One model at one revision."""

    name: str
    revision: str
    gated: bool
    files: tuple[File, ...]

    @property
    def commit(self) -> str:
        """Forty hex digits that change with any file."""
        told = json.dumps([[file.name, file.oid] for file in self.files])
        return hashlib.sha1(f"{self.name}\n{told}".encode(), usedforsecurity=False).hexdigest()

    def file(self, name: str) -> File | None:
        """The file of that name."""
        return next((file for file in self.files if file.name == name), None)


class Catalogue:
    """The models below a folder; a file is hashed once as long as it does not change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[tuple[str, int, int], tuple[str, str]] = {}
        self._hashing = threading.Lock()

    def revisions(self, name: str) -> dict[str, Model]:
        """All revisions of a model, the main branch first; {} where there is no such model."""
        owner, _, own = name.partition("/")
        if not (_PIECE.fullmatch(owner) and _PIECE.fullmatch(own)):
            return {}
        found = {}
        for kind in (PUBLIC, GATED):
            for folder in sorted((self._root / kind / owner).glob(f"{own}*")):
                base, _, tag = folder.name.partition("@")
                if base == own and folder.is_dir():
                    revision = tag or BRANCHES[0]
                    found[revision] = Model(name, revision, kind == GATED, self._files(folder))
        return dict(sorted(found.items(), key=lambda entry: entry[0] != BRANCHES[0]))

    def find(self, name: str, revision: str) -> Model | None:
        """A model at a branch, tag or commit; None where there is no such revision."""
        revisions = self.revisions(name)
        if revision in BRANCHES:
            return revisions.get(BRANCHES[0])
        by_commit = {model.commit: model for model in revisions.values()}
        return revisions.get(revision) or by_commit.get(revision)

    def content(self, sha256: str) -> Path | None:
        """The file that has this hash."""
        folders = (folder for kind in (PUBLIC, GATED) for folder in (self._root / kind).glob("*/*"))
        files = (file for folder in folders for file in self._files(folder))
        return next((file.path for file in files if file.sha256 == sha256), None)

    def _files(self, folder: Path) -> tuple[File, ...]:
        files = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                state = path.stat()
                key = (str(path), state.st_size, state.st_mtime_ns)
                with self._hashing:
                    if key not in self._known:
                        self._known[key] = _hashes(path, state.st_size)
                sha256, oid = self._known[key]
                large = path.suffix in _LARGE
                name = path.relative_to(folder).as_posix()
                files.append(File(name, path, state.st_size, sha256, oid, large))
        return tuple(files)


def write_random(
    folder: Path, mebibytes: int, *, shards: int = 4, read: Callable[[int], bytes] = os.urandom
) -> None:
    """Write a model of that many MiB of random weights, true safetensors with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"model-{number:05}-of-{shards:05}.safetensors" for number in range(1, shards + 1)]
    total = mebibytes * _BLOCK
    sizes = [(total // shards) // 2 * 2] * (shards - 1)
    sizes.append(total - sum(sizes))
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        tensor = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}
        header = json.dumps({"__metadata__": {"format": "pt"}, f"w{number}": tensor}).encode()
        header += b" " * (-len(header) % 8)
        with (folder / name).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            for start in range(0, size, _BLOCK):
                file.write(read(min(_BLOCK, size - start)))
    weight_map = {f"w{number}": name for number, name in enumerate(names)}
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _hashes(path: Path, size: int) -> tuple[str, str]:
    """The sha256 of a file, and git's name for it (of the pointer, where the hub keeps it outside)."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha256.update(block)
            blob.update(block)
    if path.suffix in _LARGE:
        pointer = _pointer(sha256.hexdigest(), size)
        blob = hashlib.sha1(f"blob {len(pointer)}\0".encode() + pointer, usedforsecurity=False)
    return sha256.hexdigest(), blob.hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    """The text that git holds in place of a large file (Git LFS's specification, version 1)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
