"""What several parts of the spec are made of: names, texts, paths, and the frozen model."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def _absolute(path: str) -> str:
    _printable(path)
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError("write an absolute path without '..'")
    if ":" in path or "," in path:
        raise ValueError("':' and ',' cannot stand in a path that is mounted into a container")
    return path


def _mount(text: str) -> str:
    parts = text.split(":")
    if len(parts) not in {2, 3} or (parts[2:] and parts[2] not in {"ro", "rw"}):
        raise ValueError("write SOURCE:TARGET or SOURCE:TARGET:ro")
    for path in parts[:2]:
        _absolute(path)
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
GroupName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4096), AfterValidator(_printable)]
AbsolutePath = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_absolute)]
Mount = Annotated[str, AfterValidator(_mount)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
Flag = Annotated[str, StringConstraints(pattern=r"^(--)?[A-Za-z][A-Za-z0-9_.-]{0,127}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
EnvValue = bool | int | float | Text
FlagValue = bool | int | float | Text | dict[str, JsonValue] | list[int | float | Text] | None


class Frozen(BaseModel):
    """A part of the spec: frozen, unknown keys refused, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SecretRef(Frozen):
    """A value that stands in the inventory's vault, by name."""

    secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = Field(
        description="Key below npuctl_secrets in group_vars/all/vault.yml."
    )
