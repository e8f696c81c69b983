"""What should be in a model's folder: the manifest, the files an engine needs, and what of them is there. Pure."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from npuctl.facts.setup import StoreFacts
from npuctl.spec.models import Model

SCHEMA = 1
SHARD = "*.safetensors"
CHECKPOINT = "*.ckpt"
# Beside safetensors the same weights in other formats: no engine here loads them, and they double the bytes. Other
# .bin and .pt files stay: some models keep parts of themselves in them (tokenizers, pooling layers).
_OTHER_FORMATS = (
    "pytorch_model*.bin",
    "*.pth",
    "*.gguf",
    "*.ckpt",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.onnx",
    "*.onnx_data",
    "*.tflite",
    "onnx/*",
    "openvino/*",
    "coreml/*",
)
_SHA256 = re.compile(r"^[0-9a-f]{64}$")

Format = Literal["safetensors", "checkpoint", "none"]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file as it should be."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What should be in one model's folder, and where it came from.

    Attributes:
        source, name: of the spec: the kind of source, and what it is called there.
        asked: the revision as the spec writes it; `revision` is the commit that it was then.
        converted: a hash of the command that made the files; "" where they are as the source has them.
        seen: file → size and time at a source that tells no hashes, so that it need not be read again.
    """

    source: str
    name: str
    files: Mapping[str, FileEntry]
    asked: str = ""
    revision: str = ""
    converted: str = ""
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside a folder."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "name": self.name,
            "asked": self.asked,
            "revision": self.revision,
            "converted": self.converted,
            "seen": {name: list(entry) for name, entry in sorted(self.seen.items())},
            "files": {
                name: {"size": entry.size, "sha256": entry.sha256}
                for name, entry in sorted(self.files.items())
            },
        }

    def describes(self, model: Model) -> bool:
        """Whether it is of what the spec asks for."""
        mine = (self.source, self.name, self.asked, self.converted)
        return mine == (model.source, source_name(model), model.revision or "", command_hash(model))


def source_name(model: Model) -> str:
    """What the model is called where it comes from."""
    return model.from_ or model.id


def command_hash(model: Model) -> str:
    """What tells one conversion from another."""
    return hashlib.sha256(json.dumps(model.convert).encode()).hexdigest()[:16] if model.convert else ""


def read_manifest(data: Mapping[str, Any] | None) -> Manifest | None:
    """A manifest that was kept; None for anything else: the files are what people put there."""
    if not data or data.get("schema") != SCHEMA or not isinstance(data.get("files"), dict):
        return None
    try:
        files = {
            str(name): FileEntry(int(entry["size"]), str(entry["sha256"]))
            for name, entry in data["files"].items()
        }
        seen = {str(name): (int(pair[0]), int(pair[1])) for name, pair in (data.get("seen") or {}).items()}
    except (TypeError, KeyError, ValueError, IndexError, AttributeError):
        return None
    if not all(is_file_name(name) and _SHA256.match(entry.sha256) for name, entry in files.items()):
        return None
    texts = {key: str(data.get(key) or "") for key in ("source", "name", "asked", "revision", "converted")}
    return Manifest(files=files, seen=seen, **texts)


def is_file_name(name: str) -> bool:
    """Whether this may be a file below a model's folder: relative, visible, nothing that leads out of it."""
    return (
        0 < len(name) <= 1024  # noqa: PLR2004  as library/module_utils/npuctl_store.py has it
        and name.isprintable()
        and all(part and not part.startswith(".") for part in name.split("/"))
    )


def format_of(names: Iterable[str]) -> Format:
    """What kind of weights a folder holds."""
    listed = list(names)
    if any(fnmatch.fnmatchcase(name, SHARD) for name in listed):
        return "safetensors"
    return "checkpoint" if any(fnmatch.fnmatchcase(name, CHECKPOINT) for name in listed) else "none"


def needed(names: Iterable[str]) -> tuple[str, ...]:
    """The files that an engine needs: everything but the same weights in other formats."""
    return tuple(
        sorted(
            name
            for name in names
            if is_file_name(name) and not any(fnmatch.fnmatchcase(name, other) for other in _OTHER_FORMATS)
        )
    )


def chosen(model: Model, names: Iterable[str]) -> tuple[str, ...]:
    """The files to fetch: all of a model that is converted here, else those that an engine needs."""
    listed = [name for name in names if is_file_name(name)]
    return tuple(sorted(listed)) if is_converted(model, listed) else needed(listed)


def is_converted(model: Model, names: Iterable[str]) -> bool:
    """Whether the spec's command has to make safetensors of these files."""
    return model.convert is not None and format_of(names) != "safetensors"


@dataclass(frozen=True, slots=True)
class State:
    """A folder against a manifest.

    Attributes:
        unknown: of the right size, and never hashed.
        theirs: they differ, and npuctl did not put them there.
        noted: the manifest beside the folder is this one.
    """

    missing: tuple[str, ...]
    differing: tuple[str, ...]
    unknown: tuple[str, ...]
    theirs: tuple[str, ...]
    noted: bool
    arrived_bytes: int
    absent: bool

    @property
    def whole(self) -> bool:
        """Every file is there and is right."""
        return not (self.missing or self.differing or self.unknown)


def compare(manifest: Manifest, facts: StoreFacts) -> State:
    """What of a manifest a node has."""
    files, wanted = facts.files, manifest.files
    there = [name for name in wanted if name in files]
    differing = tuple(
        name
        for name in there
        if files[name].size != wanted[name].size or files[name].sha256 not in {"", wanted[name].sha256}
    )
    ours = placed(facts)
    arrived = sum(
        min(facts.partial.get(name, 0), entry.size)
        for name, entry in wanted.items()
        if name not in there or name in differing
    )
    return State(
        missing=tuple(name for name in wanted if name not in files),
        differing=differing,
        unknown=tuple(name for name in there if not files[name].sha256 and name not in differing),
        theirs=tuple(name for name in differing if name not in ours),
        noted=read_manifest(facts.manifest) == manifest,
        arrived_bytes=arrived,
        absent=not files,
    )


def placed(facts: StoreFacts) -> frozenset[str]:
    """The files of a folder that npuctl put there."""
    names = (facts.manifest or {}).get("placed")
    return (
        frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()
    )


def missing_bytes(manifest: Manifest, state: State) -> int:
    """Bytes that still have to come."""
    whole = sum(manifest.files[name].size for name in (*state.missing, *state.differing))
    return whole - state.arrived_bytes
