"""Archives of container images on this machine: what is in them, without loading or unpacking them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from npuctl.facts.image_archive import ArchivedImage, ImageArchive

# Docker 1.10 and later; since 25 beside an OCI layout. Without it `docker load` takes nothing.
_MANIFEST = "manifest.json"
_MOST_BYTES = 8 * 2**20  # of a description; the largest configuration of an engine's image has some 40 KB


class _UnusableError(Exception):
    """Why an archive is none that Docker could load."""


def read_archive(path: Path) -> ImageArchive:
    """Look into an archive; of one that is compressed every byte has to be read for that."""
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./"): member for member in archive}
            listed = _json(archive, members, _MANIFEST)
            images = [_image(archive, members, entry) for entry in listed] if isinstance(listed, list) else []
            return ImageArchive(images=images, error="" if images else f"{_MANIFEST} lists no image")
    except _UnusableError as error:
        return ImageArchive(error=str(error))
    except (tarfile.TarError, EOFError, OSError) as error:
        return ImageArchive(error=f"it cannot be read as a tar archive: {error}")


def _image(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], entry: Any) -> ArchivedImage:
    try:
        config, names, layers = str(entry["Config"]), entry["RepoTags"] or [], entry["Layers"] or []
        described = _json(archive, members, config)
        missing = [layer for layer in layers if layer not in members]
        if missing:
            raise _UnusableError(f"{len(missing)} of {len(layers)} layers are missing: it was cut off")
        environment = described.get("config", {}).get("Env") or []
        return ArchivedImage(
            id=f"sha256:{PurePosixPath(config).name.removesuffix('.json')}",
            names=[str(name) for name in names],
            architecture=str(described.get("architecture", "")),
            soc_version=dict(text.partition("=")[::2] for text in environment).get("SOC_VERSION", ""),
            unpacked_bytes=sum(members[layer].size for layer in layers),
        )
    except (KeyError, TypeError, AttributeError):
        raise _UnusableError(f"{_MANIFEST} is not as Docker writes it") from None


def _json(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], name: str) -> Any:
    member = members.get(name)
    stream = archive.extractfile(member) if member and member.size <= _MOST_BYTES else None
    if stream is None:
        made_by = "an OCI layout; " if "index.json" in members else ""
        raise _UnusableError(f"{made_by}it has no {name}; `docker save` writes one")
    try:
        return json.loads(stream.read())
    except (ValueError, RecursionError):
        raise _UnusableError(f"{name} is no JSON") from None
