"""A bare git repository of one commit, written without git and served as files (git's dumb HTTP protocol)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

_BRANCH = "refs/heads/main"
_WHO = "sandbox <sandbox@localhost> 1767225600 +0000"


def write(folder: Path, files: Mapping[str, bytes]) -> str:
    """Write a repository whose main branch holds these files (no folders); return its commit."""
    entries = [(name, _object(folder, "blob", content)) for name, content in sorted(files.items())]
    listing = b"".join(f"100644 {name}\0".encode() + bytes.fromhex(oid) for name, oid in entries)
    tree = _object(folder, "tree", listing)
    text = f"tree {tree}\nauthor {_WHO}\ncommitter {_WHO}\n\nFrom the mirror of a sandbox\n"
    commit = _object(folder, "commit", text.encode())
    _write(folder / "HEAD", f"ref: {_BRANCH}\n".encode())
    _write(folder / _BRANCH, f"{commit}\n".encode())
    _write(folder / "info/refs", f"{commit}\t{_BRANCH}\n".encode())
    _write(folder / "objects/info/packs", b"\n")
    _write(folder / "config", b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
    return commit


def _object(folder: Path, kind: str, content: bytes) -> str:
    whole = f"{kind} {len(content)}\0".encode() + content
    name = hashlib.sha1(whole, usedforsecurity=False).hexdigest()
    _write(folder / "objects" / name[:2] / name[2:], zlib.compress(whole))
    return name


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
