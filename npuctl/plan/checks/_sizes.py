"""Sizes in words."""

from __future__ import annotations

_STEP = 1024


def in_words(size: float) -> str:
    """Bytes as a person reads them: "512 MiB", "1.5 TiB"."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _STEP:
            return f"{size:.4g} {unit}"
        size /= _STEP
    return f"{size:.4g} TiB"
