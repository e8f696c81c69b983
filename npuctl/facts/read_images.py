"""What lies in a node's container images → typed facts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from npuctl.facts.survey import ImageFacts
from npuctl.facts.unread import Unread
from npuctl.hardware.driver_files import parse_toolkit_info
from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key

_TORCH_NPU = "torch_npu"


def read_images(answer: tuple[dict[str, Any] | None, str], unread: Unread) -> list[ImageFacts]:
    """The images that were described.

    Args:
        answer: what was read, and why it could not be.
        unread: takes what could not be read.
    """
    read, why = answer
    if read is None or read["error"]:
        unread.note("images", why if read is None else read["error"])
    return [_image(image, unread) for image in (read or {}).get("images", [])]


def _image(image: dict[str, Any], unread: Unread) -> ImageFacts:
    contents, reference = image["contents"], image["reference"]
    if contents["error"]:
        unread.note(f"image {reference}", contents["error"])
    packages = {entry["name"]: entry["version"] for entry in reversed(contents["packages"])}
    return ImageFacts(
        reference=reference,
        id=image["id"],
        architecture=image["architecture"],
        size_bytes=image["size_bytes"],
        soc_version=image["soc_version"],
        cann=_newest(_toolkits(contents["cann"])) or _newest(_version_files(contents["cann"])),
        torch_npu=packages.pop(_TORCH_NPU, ""),
        engine_version=next(iter(packages.values()), ""),
    )


def _toolkits(files: list[dict[str, str]]) -> Iterable[str]:
    """Versions by the files that CANN's installer leaves."""
    for file in files:
        if file["path"].endswith("_install.info"):
            try:
                yield parse_toolkit_info(file["text"]).version
            except UnreadableError:
                continue


def _version_files(files: list[dict[str, str]]) -> Iterable[str]:
    """Versions by the version.info of CANN's parts."""
    for file in files:
        if file["path"].endswith("version.info"):
            for line in file["text"].splitlines():
                key, _, value = line.partition("=")
                if key.strip().lower() == "version":
                    yield value.strip()


def _newest(versions: Iterable[str]) -> str:
    """The highest version: an image built upon another keeps what it replaced."""
    found: list[tuple[tuple[int, ...], str]] = []
    for version in versions:
        try:
            found.append((release_key(version), version))
        except UnreadableError:
            continue
    return max(found)[1] if found else ""
