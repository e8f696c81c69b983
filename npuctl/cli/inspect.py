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
    parser.add_argument("--details", action="store_true", help="a block a node, also where there are many")
    parser.add_argument("--save", metavar="FILE", help="write the facts there too, for `npuctl plan --facts`")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Read and print; 5 when a node did not answer."""
    from npuctl.display.facts import facts_text
    from npuctl.display.progress import open_progress
    from npuctl.errors import UnreachableError
    from npuctl.operate.look import open_inventory, write_facts
    from npuctl.operate.thorough import survey_nodes
    from npuctl.remote.inventory import find_folder

    inventory, nodes = open_inventory(find_folder(options.inventory), limit=limit_words(options))
    quiet = open_progress("text") if options.output == "text" else (lambda _progress: None)
    facts = survey_nodes(inventory, nodes, quiet)
    if options.save:
        write_facts(facts, options.save)
    answer(options, facts_text(facts, details=options.details), facts.model_dump(by_alias=True, mode="json"))
    return UnreachableError.exit_code if facts.unreachable else 0
