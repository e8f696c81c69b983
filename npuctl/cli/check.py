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
    parser.add_argument(
        "--explain",
        metavar="ID",
        nargs="?",
        const="",
        help="say what a check is about and how to mend it, without asking any node; without ID, list all",
    )
    parser.add_argument(
        "--all-pairs",
        action="store_true",
        help="let every NPU probe every other one, however many nodes there are",
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Check and print the findings; 3 when one is an error, 5 when a node did not answer."""
    if options.explain is not None:
        return _explain(options)
    from npuctl.display.findings import check_result, findings_text
    from npuctl.display.progress import open_progress
    from npuctl.errors import CheckRefusedError, UnreachableError
    from npuctl.operate.thorough import look_thoroughly
    from npuctl.remote.inventory import find_folder

    quiet = open_progress("text") if options.output == "text" else (lambda _progress: None)
    view = look_thoroughly(
        find_folder(options.inventory), quiet, limit=limit_words(options), all_pairs=options.all_pairs
    )
    answer(options, findings_text(view.plan, view.facts), check_result(view.plan, view.facts))
    if view.plan.errors:
        return CheckRefusedError.exit_code
    return UnreachableError.exit_code if view.plan.unreachable else 0


def _explain(options: argparse.Namespace) -> int:
    from npuctl.display.explain import explained, explanation_text, reader_language

    entries = explained(options.explain)
    language = reader_language()
    answer(
        options,
        explanation_text(entries, language, single=bool(options.explain)),
        {"schema": 1, "checks": [entry.as_data() for entry in entries]},
    )
    return 0
