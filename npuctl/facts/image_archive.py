"""What an archive of container images (docker save) says of itself."""

from __future__ import annotations

from pydantic import Field

from npuctl.facts.frozen import Frozen


class ArchivedImage(Frozen):
    """One image in an archive.

    Attributes:
        id: sha256 of its configuration, which is the image's id in Docker's own store.
        names: with tag, as Docker will have it after loading.
        unpacked_bytes: of its layers; less than they take where the archive's layers are compressed.
    """

    id: str
    names: list[str] = Field(default_factory=list)
    architecture: str = ""
    soc_version: str = ""
    unpacked_bytes: int = 0


class ImageArchive(Frozen):
    """An archive's images, or why it is none that Docker could load."""

    images: list[ArchivedImage] = Field(default_factory=list)
    error: str = ""
