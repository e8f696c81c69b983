"""What is wrong with the mirror at the moment: a file says it, read anew for each request."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandboxmirror.answers import FilePart

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of what is downloaded; lists and descriptions stay whole.

    Attributes:
        cut: bytes of an answer after which the connection is closed.
        slow: bytes a second and connection.
        wrong: one byte in the middle of each file is not what it should be.
        refused_until: seconds since the epoch until which everything is answered with 503.
    """

    cut: int | None = None
    slow: int | None = None
    wrong: bool = False
    refused_until: float = 0.0

    def refuses(self) -> bool:
        """Whether the mirror is out of service now."""
        return time.time() < self.refused_until


def read(path: Path) -> Faults:
    """The faults that hold now; none where the file is missing or cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Faults(**told)
    except (OSError, ValueError, TypeError):
        return Faults()


def blocks(part: FilePart, faults: Faults) -> Iterator[bytes]:
    """The bytes of a part of a file as they are sent, with what is wrong with them and as slow as they come."""
    block = min(_BLOCK, max(faults.slow // 10, 1)) if faults.slow else _BLOCK
    left = part.length if faults.cut is None else min(faults.cut, part.length)
    position = part.start
    with part.path.open("rb") as file:
        file.seek(position)
        while left and (piece := file.read(min(block, left))):
            yield damaged(piece, position, part.whole) if faults.wrong else piece
            pace(len(piece), faults)
            position += len(piece)
            left -= len(piece)


def damaged(piece: bytes, position: int, whole: int) -> bytes:
    """`piece`, which lies at `position` of a file of `whole` bytes, with the file's middle byte turned over."""
    middle = whole // 2 - position
    if not 0 <= middle < len(piece):
        return piece
    return piece[:middle] + bytes([piece[middle] ^ 0xFF]) + piece[middle + 1 :]


def pace(sent: int, faults: Faults) -> None:
    """Wait as long as that many bytes take."""
    if faults.slow:
        time.sleep(sent / faults.slow)
