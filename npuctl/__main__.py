"""Entry point: errors become a message and an exit code here, and nowhere else."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback

from npuctl.cli.parser import build_parser
from npuctl.errors import NpuctlError

BUG = 1
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code (see npuctl/errors.py)."""
    options = build_parser().parse_args(argv)
    try:
        return int(options.run(options))
    except NpuctlError as error:
        _report(error, as_json=getattr(options, "output", "text") == "json")
        return error.exit_code
    except KeyboardInterrupt:
        print("npuctl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `npuctl … | head` closed the pipe: not an error, but Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001  the last net: a traceback on the screen helps nobody
        return _report_bug()


def _report(error: NpuctlError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"type": "error", "schema": 1, **error.as_data()}, ensure_ascii=False))
        return
    print(f"npuctl: {error}", file=sys.stderr)
    if error.hint:
        print(f"\nhint: {error.hint}", file=sys.stderr)


def _report_bug() -> int:
    """A bug of npuctl's: the traceback goes to a file that only the user can read."""
    descriptor, path = tempfile.mkstemp(prefix="npuctl-bug-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        traceback.print_exc(file=stream)
    error = sys.exc_info()[1]
    print(f"npuctl: a bug in npuctl: {type(error).__name__}: {error}", file=sys.stderr)
    print(f"\nhint: please report it with {path} (look for secrets first)", file=sys.stderr)
    return BUG


if __name__ == "__main__":
    sys.exit(main())
