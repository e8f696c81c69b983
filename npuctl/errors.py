"""The error tree: everything that npuctl says went wrong, with its exit code.

NpuctlError (1 is a bug and never raised on purpose)
├── UsageError            2   the call or the spec is wrong; nothing was touched
├── CheckRefusedError     3   a check found an error; nothing was touched
├── PlayFailedError       4   a change on a node failed
├── UnreachableError      5   a node could not be reached
├── UnhealthyError        6   a replica does not produce tokens
├── LockedError           8   another npuctl works on this cluster
└── CancelledError      130   the person ended it; what was done until then is said

An error carries what happened and, in `hint`, what to do about it. Exit codes are part of the
command line's contract (docs/reference/exit-codes.md).
"""

from __future__ import annotations


class NpuctlError(Exception):
    """What went wrong, in words for the person at the terminal.

    Attributes:
        exit_code: the process's exit code when this error ends a command.
        hint: what to do next; empty when the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def as_data(self) -> dict[str, object]:
        """The error for `--output json`; `code` is the class's name and never changes."""
        return {
            "code": type(self).__name__,
            "message": str(self),
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class UsageError(NpuctlError):
    """The call, the inventory or the spec is wrong; no node was touched."""

    exit_code = 2


class CheckRefusedError(NpuctlError):
    """A check found an error; no node was touched."""

    exit_code = 3


class PlayFailedError(NpuctlError):
    """A change on a node failed."""

    exit_code = 4


class UnreachableError(NpuctlError):
    """A node could not be reached; what runs on it is unknown, not dead."""

    exit_code = 5


class UnhealthyError(NpuctlError):
    """A replica did not produce a token within its deadline."""

    exit_code = 6


class LockedError(NpuctlError):
    """Another npuctl is changing this cluster."""

    exit_code = 8


class CancelledError(NpuctlError):
    """The person ended a change with Ctrl-C; what was done until then is in the message."""

    exit_code = 130
