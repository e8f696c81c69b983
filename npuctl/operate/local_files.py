"""The files of this machine that a spec names: packages, archives, certificates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from npuctl.errors import UsageError
from npuctl.operate.image_archive import read_archive
from npuctl.plan.provision._contract import LocalFile
from npuctl.remote.inventory import Inventory
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import Problem, SpecError

ARCHITECTURES = ("aarch64", "x86_64")
_TEXT_BYTES = 256 * 1024
_CHUNK_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class _Named:
    """A place in the spec that names a file or a folder of files.

    Attributes:
        hashed: its sha256 is wanted; an image of 20 GB is hashed where it is needed only.
        image: it is an archive of images, and is looked into.
    """

    key: str
    path: str
    folder: bool = False
    hashed: bool = True
    image: bool = False


def resolve_here(inventory: Inventory, path: str) -> Path:
    """A path of the spec on this machine: beside the inventory's hosts.yml unless it is absolute."""
    return inventory.folder / Path(path).expanduser()


def local_files(inventory: Inventory) -> dict[str, LocalFile]:
    """Every file that the spec names, by its path as the spec writes it.

    Raises:
        SpecError: with each that is not there; of one with {arch} at least one must be.
    """
    found: dict[str, LocalFile] = {}
    problems: list[Problem] = []
    for named in _named(inventory.spec):
        if named.folder:
            folder = resolve_here(inventory, named.path)
            paths = sorted(folder.iterdir()) if folder.is_dir() else []
            entries = {f"{named.path}/{path.name}": path for path in paths if path.is_file()}
        else:
            spelled = dict.fromkeys(named.path.replace("{arch}", name) for name in ARCHITECTURES)
            every = {path: resolve_here(inventory, path) for path in spelled}
            entries = {path: real for path, real in every.items() if real.is_file()}
        if not entries:
            what = "has no file in it" if named.folder else "is not a file here"
            problems.append(
                Problem(
                    f"{inventory.spec_file}: npuctl_cluster.{named.key}",
                    f"{resolve_here(inventory, named.path)} {what}",
                    "paths are those of this machine, beside hosts.yml unless absolute",
                )
            )
        found |= {path: _read(path, real, hashed=named.hashed) for path, real in entries.items()}
        for path, real in entries.items() if named.image else ():
            archive = read_archive(real)
            found[path] = replace(found[path], archive=archive)
            if archive.error:
                where = f"{inventory.spec_file}: npuctl_cluster.{named.key}"
                hint = "docker save -o FILE IMAGE writes one that Docker can load"
                problems.append(Problem(where, f"{real} is no archive of images: {archive.error}", hint))
    if problems:
        raise SpecError(problems)
    return found


def _named(spec: ClusterSpec) -> Iterator[_Named]:
    if spec.mirrors and spec.mirrors.ca:
        yield _Named("mirrors.ca", spec.mirrors.ca)
    if spec.container_engine:
        for index, path in enumerate(spec.container_engine.packages):
            yield _Named(f"container_engine.packages[{index}]", path)
        if spec.container_engine.ascend_runtime:
            yield _Named(
                "container_engine.ascend_runtime.package", spec.container_engine.ascend_runtime.package
            )
    if spec.driver:
        yield _Named("driver.packages", spec.driver.packages.rstrip("/"), folder=True)
    for index, service in enumerate(spec.services):
        if service.image_file:
            yield _Named(f"services[{index}].image_file", service.image_file, hashed=False, image=True)


def _read(path: str, real: Path, *, hashed: bool) -> LocalFile:
    try:
        size = real.stat().st_size
        digest = hashlib.sha256()
        text = ""
        if hashed:
            with real.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
        if size <= _TEXT_BYTES:
            text = real.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"cannot read {real}: {error.strerror}") from None
    return LocalFile(path, size, digest.hexdigest() if hashed else "", text, str(real.absolute()))
