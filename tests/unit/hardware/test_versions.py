"""The order of versions, as they were published."""

from __future__ import annotations

from itertools import pairwise

import pytest

from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key

DRIVERS = (
    "22.0.4 23.0.rc1 23.0.rc2 23.0.0 23.0.2.1 23.0.7 24.1.rc1 24.1.rc2.2 24.1.rc3 24.1.rc3.7 24.1.0 24.1.0.1 "
    "25.0.rc1 25.2.0 25.2.3 25.3.rc1 25.5.1 25.5.2 26.0.rc1 26.1.0"
)
CANN = (
    "7.0.0 8.0.rc1 8.0.RC2 8.0.0 8.1.rc1 8.2.RC1.alpha003 8.2.rc1 8.3.rc1 8.3.RC2 8.5.0.alpha001 8.5.0.alpha002 "
    "8.5.0 8.5.0.2.220 8.5.1 9.0.0-beta.1 9.0.0 9.1.0"
)
FIRMWARE = "6.4.12.1.241 7.1.0.7.220 7.1.0.11.220 7.5.0.1.129 7.8.0.6.201 7.8.0.7.220"
INTERNAL = "7.0.T10 8.0.T9 8.0.T63.B010 8.0.T63 8.0.RC1.B010 8.0.0.B030 8.0.rc1 8.0.0"


@pytest.mark.parametrize("published", [DRIVERS, CANN, FIRMWARE, INTERNAL])
def test_versions_come_in_the_order_of_their_publication(published: str) -> None:
    for earlier, later in pairwise(published.split()):
        assert release_key(earlier) < release_key(later)


def test_the_case_of_a_version_says_nothing() -> None:
    assert release_key("8.3.RC1") == release_key("8.3.rc1")
    assert release_key("8.0.t63.b1") == release_key("8.0.T63.B1")


@pytest.mark.parametrize(
    "text",
    [
        *("", "24", "24.1", "24.1.", "25.5.X", "8.0.rc", "v8.0.0", "8.0.0 ", "8.0.0\n", "V100R001C23"),
        *(
            "8.0.0.rc1",
            "8..0",
            "8.0.0-",
            "8.0.0.alpha",
            "-1.0.0",
            "8.0.٣",
            "1" * 10 + ".0.0",
            "8.0" + ".0" * 40,
        ),
    ],
)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        release_key(text)
