"""npuctl history: what was changed when, and how it ended."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_output, answer

HELP = "Show the changes that were made from here, and how each ended; asks no node."
EXAMPLE = "npuctl history inventories/prod"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Print one line a run, oldest first."""
    from dataclasses import asdict

    from npuctl.remote.inventory import find_folder, state_folder
    from npuctl.state.journal import read_journal, summarise

    runs = summarise(read_journal(state_folder(find_folder(options.inventory))))
    lines = [f"{entry.began[:19]}  {entry.verb:<9} {entry.end}" for entry in runs]
    answer(
        options,
        "\n".join(lines) or "no change was made from here",
        {"schema": 1, "runs": [asdict(e) for e in runs]},
    )
    return 0
