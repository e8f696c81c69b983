"""CPU of `npuctl --help` and of every verb's --help."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.measure import Meters, Sample, run
from npuctl.cli.parser import verb_names

PYTHON = "python -c pass"


def runners(work: Path, environment: Mapping[str, str]) -> dict[str, Callable[[], Sample]]:
    """What to run, by the words that people type."""
    commands = {
        PYTHON: (sys.executable, "-c", "pass"),
        "npuctl --help": ("npuctl", "--help"),
        **{f"npuctl {verb} --help": ("npuctl", verb, "--help") for verb in verb_names()},
    }

    def once(argv: tuple[str, ...]) -> Sample:
        return run(argv, work / "startup.log", Meters(), environment=environment).sample

    return {words: partial(once, argv) for words, argv in commands.items()}
