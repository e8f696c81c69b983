"""The `vllm` command: `serve`, `--version`, and the refusal of anything else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from simvllm.flags import ArgumentsError, load_flags, parse_arguments
from simvllm.journal import Journal
from simvllm.surroundings import surroundings

if TYPE_CHECKING:
    from simvllm.surroundings import Surroundings

USAGE = "usage: vllm serve [model_tag] [options]"


def main(words: list[str]) -> int:
    """Run the command; the exit code."""
    if words in (["--version"], ["-v"]):
        print(surroundings().release)
        return 0
    if words[:1] == ["serve"]:
        return _serve(words[1:], surroundings())
    print("usage: vllm [-h] [-v] {serve} ...", file=sys.stderr)
    print(
        f"vllm: error: argument subparser: invalid choice: {words[:1]} (choose from serve)", file=sys.stderr
    )
    return 2


def _serve(words: list[str], around: Surroundings) -> int:
    if not around.toolkit:
        # What importing the Ascend plugin ends with when nobody sourced the toolkit's set_env.sh.
        Journal("APIServer").traceback(
            "ImportError: libatb.so: cannot open shared object file: No such file or directory"
        )
        return 1
    try:
        known = load_flags(around.data / "flags.json", around.release)
        arguments = parse_arguments(words, known)
    except LookupError as error:
        print(f"sim-vllm: {error.args[0]}", file=sys.stderr)
        return 1
    except ArgumentsError as error:
        print(f"{USAGE}\nvllm serve: error: {error}", file=sys.stderr)
        return 2
    if "--help" in arguments.values:
        print(USAGE, *sorted(known), sep="\n  ")
        return 0
    # Only now: the server's modules cost time and memory that a refused command line should not pay.
    from simvllm.serve import Server  # noqa: PLC0415

    return Server(arguments, around).run()


def leave(status: int) -> NoReturn:
    """End the process at once: threads that still answer somebody must not hold it."""
    sys.stdout.flush()
    os._exit(status)
