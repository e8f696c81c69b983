"""npuctl teardown: remove everything that npuctl put on the nodes."""

from __future__ import annotations

import argparse
import sys

from npuctl.cli.options import add_inventory, add_limit, add_output, answer, limit_words, result

HELP = "Remove everything that npuctl put on the nodes for this cluster, and nothing else."
EXAMPLE = "npuctl teardown inventories/prod --yes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for the cluster's name")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Ask, remove, prove."""
    from npuctl.display.progress import open_progress
    from npuctl.display.results import stopped_result
    from npuctl.display.text import stopped_text
    from npuctl.operate.look import open_inventory
    from npuctl.operate.stop import teardown
    from npuctl.remote.inventory import find_folder

    folder = find_folder(options.inventory)
    if not options.yes:
        inventory, nodes = open_inventory(folder, limit=limit_words(options))
        _confirm(inventory.spec.name, nodes)
    stopped = teardown(folder, open_progress(options.output), limit=limit_words(options))
    done = result("teardown", stopped.exit_code, **stopped_result(stopped))
    answer(options, stopped_text(stopped, "removed"), done, line=True)
    return stopped.exit_code


def _confirm(cluster: str, nodes: list[str]) -> None:
    from npuctl.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            f"teardown removes every container and file of cluster {cluster} from {', '.join(nodes)}",
            hint="there is no terminal to ask on: say --yes",
        )
    print(f"This removes every container and file of cluster {cluster} from {', '.join(nodes)}.")
    if input("Type the cluster's name to go on: ").strip() != cluster:
        raise UsageError("that is not the cluster's name; nothing was touched")
