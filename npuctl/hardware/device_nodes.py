"""The chips' device nodes, as `ls` lists them."""

from __future__ import annotations

import re

from npuctl.hardware.lines import numbered_lines
from npuctl.hardware.unreadable import UnreadableError

_CHIP = re.compile(r"(?:/dev/)?davinci([0-9]{1,4})")
_OTHER = re.compile(r"(?:/dev/)?[A-Za-z][A-Za-z0-9_.-]{0,63}:?")


def parse_davinci_nodes(text: str) -> tuple[int, ...]:
    """The numbers of /dev/davinciN in the output of `ls /dev` or `ls /dev/davinci*`, in ascending order.

    davinci_manager is no chip. A chip's node says that the driver knows the chip, not that it works.

    Raises:
        UnreadableError: something that is no name, a chip twice, or no davinci node at all.
    """
    chips: list[int] = []
    managers = 0
    for line in numbered_lines(text):
        for name in line.content.split():
            chip = _CHIP.fullmatch(name)
            if chip and int(chip[1]) in chips:
                raise line.error(f"{name} is listed twice")
            if chip:
                chips.append(int(chip[1]))
            elif not _OTHER.fullmatch(name) or re.match(r"(?:/dev/)?davinci[0-9]", name):
                raise line.error(f"not a device node: {name!r}")
            managers += name.endswith("davinci_manager")
    if not chips and not managers:
        raise UnreadableError("no davinci node in the text")
    return tuple(sorted(chips))
