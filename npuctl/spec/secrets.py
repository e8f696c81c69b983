"""Which secrets a spec names, and where; texts without them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel

from npuctl.spec.parts import SecretRef

# A name and password before an address: up to the last @ where there is a colon, for people forget to encode.
_LOGIN_IN_ADDRESS = re.compile(r"(?<=://)(?:[^\s'\"/:]*:[^\s'\"]*|[^\s'\"/]+)@")


def masked(text: str) -> str:
    """The text with the name and password in its addresses masked: https://me:word@host → https://***@host."""
    return _LOGIN_IN_ADDRESS.sub("***@", text)


def secret_names(part: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Key of the spec, as people write it → name of the secret, for every secret that the part names."""
    if isinstance(part, SecretRef):
        yield key, part.secret
    elif isinstance(part, BaseModel):
        for name, field in type(part).model_fields.items():
            yield from secret_names(getattr(part, name), f"{key}.{field.alias or name}".removeprefix("."))
    elif isinstance(part, Mapping):
        for name, value in part.items():
            yield from secret_names(value, f"{key}.{name}")
    elif isinstance(part, Sequence) and not isinstance(part, str | bytes):
        for index, value in enumerate(part):
            yield from secret_names(value, f"{key}[{index}]")
