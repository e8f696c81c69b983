"""What differs between two texts of /etc/hccn.conf. Pure."""

from __future__ import annotations

import re

from npuctl.plan.provision._contract import Change

HCCN_CONF = "/etc/hccn.conf"
_KEY = re.compile(r"(.+)_([0-9]{1,4})")


def conf_differences(before: str, after: str) -> list[Change]:
    """Settings that one text has otherwise than the other; order, blank lines and comments do not count.

    Lines that are no setting are compared as they stand. Never raises: what is asked for may be a file that
    an installer left half written.
    """
    old, new = _settings(before), _settings(after)
    return [
        Change(f"{HCCN_CONF}: {key}", old.get(key, ""), new.get(key, ""))
        for key in sorted({*old, *new}, key=_place)
        if old.get(key) != new.get(key)
    ]


def _settings(text: str) -> dict[str, str]:
    """Key → value; of a key that stands twice, the last. A line that is no setting stands for itself."""
    found: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()
        if line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            found[key.rstrip()] = value.strip() if equals else line
    return found


def _place(key: str) -> tuple[int, str]:
    match = _KEY.fullmatch(key)
    return (int(match[2]), match[1]) if match else (-1, key)
