"""The order of Ascend's version numbers: driver, firmware, CANN, MindIE.

Release candidates come before the release of the same year and quarter (24.1.rc3 before 24.1.0),
their own repairs after them (24.1.rc3.7 before 24.1.0); so published by the compatibility tables of
CANN and of mind-cluster. The case of "rc" differs between products and says nothing.
"""

from __future__ import annotations

import re

from npuctl.hardware.unreadable import UnreadableError

ReleaseKey = tuple[int, ...]

_NUMBER = r"[0-9]{1,9}"
_VERSION = re.compile(
    rf"(?P<major>{_NUMBER})\.(?P<minor>{_NUMBER})\.(?:(?P<stage>rc|t))?(?P<number>{_NUMBER})"
    rf"(?P<repairs>(?:\.{_NUMBER})*)"
    rf"(?:\.b(?P<build>{_NUMBER})|[.-](?P<early>alpha|beta)\.?(?P<early_number>{_NUMBER}))?",
    re.IGNORECASE,
)
_LONGEST = 64

_INTERNAL, _PUBLISHED = 0, 1
_STAGES = {"t": 0, "rc": 1, None: 2}
_BUILD, _FINAL = 0, 3
_EARLY = {"alpha": 1, "beta": 2}


def release_key(version: str) -> ReleaseKey:
    """A key that orders versions as they were published.

    Test versions (8.0.T63) and builds (2.0.T3.B010, 8.0.RC1.B010) were never published: they come
    below everything published under the same first two numbers, so that "at least 8.0.RC1" does not
    hold for them. Alpha and beta (8.5.0.alpha001, 9.0.0-beta.1) come before what they lead to.

    Raises:
        UnreadableError: not a whole version number; "25.5.X", "24.1" and "V100R001C23" are none.
    """
    found = _VERSION.fullmatch(version) if len(version) <= _LONGEST else None
    if not found:
        raise UnreadableError(f"not a version: {version[:_LONGEST]!r}")
    stage = found["stage"].lower() if found["stage"] else None
    build, early = found["build"], found["early"]
    if early:
        ripeness, ripeness_number = _EARLY[early.lower()], int(found["early_number"])
    elif build:
        ripeness, ripeness_number = _BUILD, int(build)
    else:
        ripeness, ripeness_number = _FINAL, 0
    return (
        int(found["major"]),
        int(found["minor"]),
        _INTERNAL if build or stage == "t" else _PUBLISHED,
        _STAGES[stage],
        int(found["number"]),
        ripeness,
        ripeness_number,
        *(int(repair) for repair in found["repairs"].split(".")[1:]),
    )
