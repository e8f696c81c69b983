"""Archives of images: what is read of them, and why some are refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from npuctl.operate.image_archive import read_archive

CONFIG = "aa" * 32 + ".json"


def write(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def members(config: str = CONFIG, **changes: Any) -> dict[str, bytes]:
    described = {
        "architecture": "arm64",
        "config": {"Env": ["PATH=/bin", "SOC_VERSION=ascend910b1", "ODD"]},
    }
    entry = {"Config": config, "RepoTags": ["quay.io/a:1"], "Layers": ["one/layer.tar", "two"], **changes}
    return {
        "one/layer.tar": b"x" * 1000,
        "two": b"y" * 24,
        config: json.dumps(described).encode(),
        "manifest.json": json.dumps([entry]).encode(),
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_an_archive_tells_its_names_architecture_and_product(tmp_path: Path, mode: str) -> None:
    found = read_archive(write(tmp_path / "x.tar", members(), mode))
    assert found.error == ""
    (image,) = found.images
    assert image.id == "sha256:" + "aa" * 32
    assert image.names == ["quay.io/a:1"]
    assert (image.architecture, image.soc_version) == ("arm64", "ascend910b1")
    assert image.unpacked_bytes == 1024


def test_the_layout_of_newer_dockers_is_read_too(tmp_path: Path) -> None:
    (image,) = read_archive(write(tmp_path / "x.tar", members("blobs/sha256/" + "bb" * 32))).images
    assert image.id == "sha256:" + "bb" * 32


def test_an_image_without_a_name_has_none(tmp_path: Path) -> None:
    (image,) = read_archive(write(tmp_path / "x.tar", members(RepoTags=None))).images
    assert image.names == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"index.json": b"{}", "oci-layout": b"{}"}, "an OCI layout; it has no manifest.json"),
        ({"etc/passwd": b""}, "it has no manifest.json"),
        ({"manifest.json": b"no json"}, "is no JSON"),
        ({"manifest.json": b"[" * 100000}, "is no JSON"),
        ({"manifest.json": b"{}"}, "lists no image"),
        ({"manifest.json": b"[]"}, "lists no image"),
        ({"manifest.json": b"[1]"}, "not as Docker writes it"),
        ({"manifest.json": b'[{"Config": "c", "RepoTags": [], "Layers": []}]'}, "it has no c"),
        (members(Layers=["gone"]), "it was cut off"),
        ({**members(), CONFIG: b"[]"}, "not as Docker writes it"),
    ],
)
def test_what_docker_could_not_load_is_refused_with_its_reason(
    tmp_path: Path, content: dict[str, bytes], why: str
) -> None:
    found = read_archive(write(tmp_path / "x.tar", content))
    assert why in found.error
    assert found.images == []


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b\x08broken"])
def test_what_is_no_tar_is_said(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(content)
    assert read_archive(file).error


def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "x.tar", {**members(), "two": b"y" * 100000})
    file.write_bytes(file.read_bytes()[:4096])
    assert read_archive(file).error
