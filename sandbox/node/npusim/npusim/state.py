"""Where a node's simulation lives: one file, written whole under a lock, and the paths around it."""

from __future__ import annotations

import fcntl
import os

from npusim.record import parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    State = dict[str, Any]
else:
    State = dict


class NotInitialisedError(Exception):
    """This node has no simulated NPUs yet."""


def rooted(path: str) -> str:
    """An absolute path of the node, below $NPUSIM_ROOT when a test set it."""
    return os.environ.get("NPUSIM_ROOT", "").rstrip("/") + path


def state_path() -> str:
    """The one file that holds the node's state."""
    return os.environ.get("NPUSIM_STATE") or rooted("/var/lib/npusim/state.json")


def beside_state(name: str) -> str:
    """A file in the folder of the state: its lock, hccn_tool's lock, the shared list of peers."""
    return os.path.join(os.path.dirname(state_path()), name)  # noqa: PTH118, PTH120  pathlib is slow to import


def load() -> State:
    """The state as last written; needs no lock, for it is replaced whole."""
    try:
        with open(state_path(), encoding="utf-8") as file:  # noqa: PTH123
            state: State = parse_json(file.read())
    except FileNotFoundError as error:
        raise NotInitialisedError(state_path()) from error
    return state


def save(state: State) -> None:
    """Replace the state; the caller holds the lock."""
    import json  # noqa: PLC0415  only a change needs it

    write_file(state_path(), json.dumps(state, indent=1, sort_keys=True) + "\n", mode=0o644)


class changing:  # noqa: N801  used as a function is
    """Load, let the caller change, and save unless it raised; one changer at a time."""

    def __enter__(self) -> State:
        self._lock = locked("state.lock")
        self._lock.__enter__()
        try:
            self._state = load()
        except BaseException:
            self._lock.__exit__()
            raise
        return self._state

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                save(self._state)
        finally:
            self._lock.__exit__()


class locked:  # noqa: N801  used as a function is
    """Hold a lock file beside the state; gives whether it was got."""

    def __init__(self, name: str, *, wait: bool = True) -> None:
        self._path, self._wait = beside_state(name), wait

    def __enter__(self) -> bool:
        os.makedirs(os.path.dirname(self._path), exist_ok=True)  # noqa: PTH103, PTH120
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if self._wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def write_file(path: str, text: str, *, mode: int) -> None:
    """Write a file whole or not at all, making its folder."""
    os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
        os.chmod(temporary, mode)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        if os.path.exists(temporary):  # noqa: PTH110
            os.unlink(temporary)  # noqa: PTH108
        raise


def faults_of(state: State, name: str, device: int | None = None) -> list[State]:
    """The faults of that name that touch the chip; all of that name when no chip is asked for."""
    return [
        fault
        for fault in state["faults"]
        if fault["name"] == name and (device is None or fault["chip"] is None or fault["chip"] == device)
    ]


def fault_value(state: State, name: str, device: int | None = None) -> str | None:
    """The value of the newest such fault, or None when there is none."""
    found = faults_of(state, name, device)
    return found[-1]["value"] if found else None
