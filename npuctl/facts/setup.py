"""What `npuctl provision` reads of a node beyond a survey: how the machine is set up now.

Texts of files may hold what their owner keeps to himself (a password in pip.conf): a Setup is never saved.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from npuctl.facts.frozen import Frozen


class TextFile(Frozen):
    """A file as it stands; `path` is where it really is (a `~` resolved)."""

    path: str
    text: str = ""
    mode: str = "0644"
    owner: str = "root:root"
    absent: bool = Field(default=False, description="Not there yet; path and owner are those it would have.")
    error: str = Field(default="", description="Why it could not be read, where it is there.")


class Answered(Frozen):
    """A kernel value: its text, or why there is none."""

    text: str = ""
    error: str = ""
    read_only: bool = Field(default=False, description="It lies on a file system that is mounted read-only.")


class StoredFile(Frozen):
    """One file of a model's folder.

    Attributes:
        sha256: "" when it is not known without reading the whole file.
    """

    size: int
    sha256: str = ""


class StoreFacts(Frozen):
    """A model's folder on the node, as the model store knows it."""

    path: str
    manifest: dict[str, object] | None = Field(default=None, description="Ours, kept beside the folder.")
    files: dict[str, StoredFile] = Field(default_factory=dict)
    partial: dict[str, int] = Field(
        default_factory=dict, description="Files of an unfinished copy and the bytes they have."
    )
    filesystem: str = Field(
        default="", description="Names a file system that nodes share, as nfs:HOST:/PATH."
    )
    free_bytes: int = 0
    error: str = ""


class LocalImage(Frozen):
    """An image by the name that was asked for."""

    id: str
    architecture: str = ""


class EngineSetup(Frozen):
    """Docker as it runs; empty where it does not answer.

    Attributes:
        running: names of all containers that run, anybody's.
        live_restore: containers outlive a restart of Docker.
        nofile: open files that a container may have where daemon.json says nothing; 0 where it is not known.
    """

    version: str = ""
    running: list[str] = Field(default_factory=list)
    live_restore: bool = False
    runtimes: list[str] = Field(default_factory=list)
    nofile: int = 0
    nofile_hard: int = 0


class Setup(Frozen):
    """Everything that one provisioning look adds.

    Attributes:
        files: asked path → the file; None where there is none.
        values: path of a kernel value (/proc/sys/…, /sys/…) → its text.
        packages: name → version of those asked for that are installed.
        units: systemd unit → its state, as active, inactive, not-found.
        programs: program → where it is; "" where it is not on the node.
        records: name → what npuctl noted on this node in /var/lib/npuctl/NAME.json.
        notes: every file name in /var/lib/npuctl.
        packages_by: apt, dnf or yum.
        boot_status: chip → boot status of the upgrade tool; 16 is up.
    """

    files: dict[str, TextFile | None] = Field(default_factory=dict)
    values: dict[str, Answered] = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    programs: dict[str, str] = Field(default_factory=dict)
    records: dict[str, dict[str, object]] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    packages_by: Literal["apt", "dnf", "yum", ""] = ""
    os_id: str = ""
    os_like: list[str] = Field(default_factory=list)
    os_version: str = ""
    engine: EngineSetup = EngineSetup()
    boot_status: dict[int, int] = Field(default_factory=dict)
    stores: dict[str, StoreFacts] = Field(default_factory=dict)
    images: dict[str, LocalImage] = Field(default_factory=dict)
