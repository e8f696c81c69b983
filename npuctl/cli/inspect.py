"""npuctl inspect: what is in the machines."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_output, answer, limit_words

HELP = "Read what is in and on every node, one round trip each; touches nothing."
EXAMPLE = "npuctl inspect inventories/prod --save facts.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    parser.add_argument("--save", metavar="FILE", help="write the facts there too, for `npuctl plan --facts`")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Read and print; 5 when a node did not answer."""
    from pathlib import Path

    from npuctl.display.text import facts_text
    from npuctl.errors import UnreachableError
    from npuctl.operate.look import open_inventory
    from npuctl.remote.inspect import inspect_nodes
    from npuctl.remote.inventory import find_folder

    inventory, nodes = open_inventory(find_folder(options.inventory), limit=limit_words(options))
    facts = inspect_nodes(inventory, nodes)
    if options.save:
        Path(options.save).write_text(facts.model_dump_json(by_alias=True, indent=1) + "\n", encoding="utf-8")
    answer(options, facts_text(facts), facts.model_dump(by_alias=True, mode="json"))
    return UnreachableError.exit_code if facts.unreachable else 0
