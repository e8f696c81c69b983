"""npusim-network.service: answers the other nodes' pings for this node's simulated ports."""

from __future__ import annotations

import _socket
import os
import sys

from npusim import wire
from npusim.state import NotInitialisedError, State, load, state_path

_QUESTION = 3  # plane, address, asker


def main() -> int:
    """Serve for ever."""
    here = wire.marker()
    if here is None:
        print("npusim: no marker of a sandbox here", file=sys.stderr)
        return 1
    listening = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    listening.bind((here["address"], wire.UDP_PORT))
    states = _Latest()
    while True:
        question, asker = listening.recvfrom(128)
        try:
            listening.sendto(_answer(states, question), asker)
        except OSError:  # the asker's network is gone meanwhile
            continue


def _answer(states: _Latest, question: bytes) -> bytes:
    words = question.decode("ascii", "replace").split()
    if len(words) != _QUESTION:
        return wire.NO
    try:
        return wire.reply(states.now(), *words)
    except NotInitialisedError:
        return wire.NO


class _Latest:
    """The node's state, read again when its file was replaced."""

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self._state: State = {}

    def now(self) -> State:
        """The state as last written."""
        try:
            info = os.stat(state_path())  # noqa: PTH116
        except FileNotFoundError as error:
            raise NotInitialisedError(state_path()) from error
        if self._seen != (info.st_mtime_ns, info.st_ino):
            self._seen, self._state = (info.st_mtime_ns, info.st_ino), load()
        return self._state
