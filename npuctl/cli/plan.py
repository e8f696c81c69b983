"""npuctl plan: what a deploy would do."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_output, answer, limit_words

HELP = "Show what a deploy would change, node by node; touches nothing."
EXAMPLE = (
    "npuctl plan inventories/prod\n         npuctl plan inventories/prod --facts facts.json --output json"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    parser.add_argument(
        "--facts", metavar="FILE", help="plan from facts that `npuctl inspect` wrote; asks no node"
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Plan and print; 3 when a check would refuse the deploy, 5 when a node did not answer."""
    from npuctl.display.progress import open_progress
    from npuctl.display.text import plan_text
    from npuctl.errors import CheckRefusedError, UnreachableError
    from npuctl.operate.look import look, plan_from_file
    from npuctl.remote.inventory import find_folder

    folder = find_folder(options.inventory)
    if options.facts:
        plan = plan_from_file(folder, options.facts)
    else:
        quiet = open_progress("text") if options.output == "text" else (lambda _progress: None)
        plan = look(folder, quiet, limit=limit_words(options)).plan
    answer(options, plan_text(plan), plan.to_json())
    if plan.errors:
        return CheckRefusedError.exit_code
    return UnreachableError.exit_code if plan.unreachable else 0
