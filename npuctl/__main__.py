"""Entry point: errors become a message and an exit code here, and nowhere else."""

from __future__ import annotations

import os
import sys

from npuctl.cli.parser import build_parser
from npuctl.errors import NpuctlError

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code (see npuctl/errors.py)."""
    options = build_parser().parse_args(argv)
    try:
        return int(options.run(options))
    except NpuctlError as error:
        print(f"npuctl: {error}", file=sys.stderr)
        if error.hint:
            print(f"\nhint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("npuctl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `npuctl … | head` closed the pipe: not an error, but Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
