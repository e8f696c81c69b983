"""The `vllm` command: `serve`, `--version`, and the refusal of anything else."""

from __future__ import annotations

import sys

from simvllm.flags import Arguments, ArgumentsError, load_flags, parse_arguments
from simvllm.journal import Journal
from simvllm.surroundings import surroundings

USAGE = "usage: vllm serve [model_tag] [options]"


def main(words: list[str]) -> int:
    """Run the command; the exit code."""
    around = surroundings()
    if words in (["--version"], ["-v"]):
        print(around.release)
        return 0
    if not words or words[0] != "serve":
        print("usage: vllm [-h] [-v] {serve} ...", file=sys.stderr)
        print(f"vllm: error: argument subparser: invalid choice: {words[:1]} (choose from serve)", file=sys.stderr)
        return 2
    if not around.toolkit:
        # What importing the Ascend plugin ends with when nobody sourced the toolkit's set_env.sh.
        Journal("APIServer").traceback("ImportError: libatb.so: cannot open shared object file: No such file or directory")
        return 1
    try:
        known = load_flags(around.data / "flags.json", around.release)
        arguments = parse_arguments(words[1:], known)
    except LookupError as error:
        print(f"sim-vllm: {error.args[0]}", file=sys.stderr)
        return 1
    except ArgumentsError as error:
        print(f"{USAGE}\nvllm serve: error: {error}", file=sys.stderr)
        return 2
    if "--help" in arguments.values:
        print(USAGE, *sorted(known), sep="\n  ")
        return 0
    return _serve(arguments)


def _serve(arguments: Arguments) -> int:
    # Only now: the server's modules cost time and memory that a refused command line should not pay.
    from simvllm.serve import Server, leave  # noqa: PLC0415

    leave(Server(arguments, surroundings()).run())
