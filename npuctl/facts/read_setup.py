"""What library/module_utils/npuctl_setup.py returned → Setup. Pure."""

from __future__ import annotations

from typing import Any

from npuctl.facts.setup import Answered, EngineSetup, LocalImage, Setup, StoreFacts, TextFile
from npuctl.hardware.boot_status import parse_boot_status
from npuctl.hardware.unreadable import UnreadableError

_LISTS = ("packages", "units", "programs", "records", "notes")


def _boot_status(answer: dict[str, Any] | None) -> dict[int, int]:
    """Nothing where the tool is not there yet, or says nothing: before a driver, and early after a boot."""
    try:
        return parse_boot_status(answer["stdout"]) if answer else {}
    except UnreadableError:
        return {}


def read_setup(raw: dict[str, Any]) -> Setup:
    """Type one node's provisioning look."""
    plain = (*_LISTS, "packages_by", "os_id", "os_like", "os_version")
    return Setup(
        **{key: raw[key] for key in plain},
        files={path: None if entry is None else TextFile(**entry) for path, entry in raw["files"].items()},
        boot_status=_boot_status(raw.get("boot_status")),
        engine=EngineSetup(**raw.get("engine", {})),
        values={path: Answered(**entry) for path, entry in raw["values"].items()},
        stores={path: StoreFacts(**entry) for path, entry in raw.get("stores", {}).items()},
        images={reference: LocalImage(**entry) for reference, entry in raw.get("images", {}).items()},
    )
