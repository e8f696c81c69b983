"""`upgrade-tool --device_index -1 --boot_status`: how far each chip has come up.

Only the words "boot status:N" are known, and that 16 is up (hicann/driver, scripts/package, driver_install.sh
counts lines of both). What stands before them is not published: a chip is named by the last number there,
or by its place in the list.
"""

from __future__ import annotations

import re

from npuctl.hardware.lines import numbered_lines
from npuctl.hardware.unreadable import UnreadableError

UP = 16

_STATUS = re.compile(r"(.*?)boot[ _]status\s*[:=]\s*([0-9]{1,4})\b.*", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,4}")


def parse_boot_status(text: str) -> dict[int, int]:
    """Chip → its boot status.

    Raises:
        UnreadableError: no chip is told of, or one twice.
    """
    found: dict[int, int] = {}
    for line in numbered_lines(text):
        status = _STATUS.fullmatch(line.content)
        if not status:
            continue
        named = _NUMBER.findall(status[1])
        chip = int(named[-1]) if named else len(found)
        if chip in found:
            raise line.error(f"chip {chip} a second time")
        found[chip] = int(status[2])
    if not found:
        raise UnreadableError("no boot status in it")
    return found
