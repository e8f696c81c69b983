"""What folders of models hold → typed facts. Pure."""

from __future__ import annotations

from typing import Any

from npuctl.facts.survey import WeightsFacts
from npuctl.facts.unread import Unread


def read_weights(
    folders: dict[str, tuple[dict[str, Any] | None, str]], unread: Unread
) -> dict[str, WeightsFacts]:
    """Every folder that could be read.

    Args:
        folders: folder → what is in it, and why it could not be read.
        unread: takes what could not be read.
    """
    found = {}
    for folder, (read, why) in folders.items():
        if read is None:
            unread.note(f"model {folder}", why)
        else:
            found[folder] = WeightsFacts.model_validate(read)
    return found
