"""npuctl check: what would go wrong."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_output, answer, limit_words

HELP = "Look for what would make a deploy fail, on all nodes at once; touches nothing."
EXAMPLE = "npuctl check inventories/prod"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Check and print the findings; 3 when one is an error, 5 when a node did not answer."""
    from npuctl.display.progress import open_progress
    from npuctl.display.text import findings_text
    from npuctl.errors import CheckRefusedError, UnreachableError
    from npuctl.operate.look import look
    from npuctl.remote.inventory import find_folder

    quiet = open_progress("text") if options.output == "text" else (lambda _progress: None)
    view = look(find_folder(options.inventory), quiet, limit=limit_words(options))
    plan = view.plan
    findings = {
        "schema": 1,
        "cluster": plan.cluster,
        "simulated": plan.simulated,
        "findings": [finding.to_json() for finding in plan.findings],
        "unreachable": {node: silent.model_dump() for node, silent in plan.unreachable.items()},
    }
    answer(options, findings_text(plan, len(view.facts.nodes)), findings)
    if plan.errors:
        return CheckRefusedError.exit_code
    return UnreachableError.exit_code if plan.unreachable else 0
