"""Where the files that are not Python lie: in the checkout, or in the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def content_root() -> Path:
    """The folder that holds playbooks/, roles/, library/, templates/ and sandbox/.

    In a wheel that is npuctl/_content (see pyproject.toml, force-include); in a checkout the
    repository's root.
    """
    packed = _PACKAGE / "_content"
    return packed if packed.is_dir() else _PACKAGE.parent
