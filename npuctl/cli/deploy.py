"""npuctl deploy: make the nodes match the spec."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_output, add_service, answer, limit_words, result

HELP = "Make every node match the spec, and wait until every changed replica produces a token."
EXAMPLE = "npuctl deploy inventories/prod\n         npuctl deploy inventories/prod --check"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    add_service(parser)
    parser.add_argument("--check", action="store_true", help="run Ansible in check mode: changes nothing")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Deploy; the exit code says the worst that happened (see npuctl/errors.py)."""
    from npuctl.display.progress import open_progress
    from npuctl.display.results import applied_result
    from npuctl.display.text import applied_text
    from npuctl.operate.deploy import deploy
    from npuctl.remote.inventory import find_folder

    applied = deploy(
        find_folder(options.inventory),
        open_progress(options.output),
        limit=limit_words(options),
        service=options.service,
        dry_run=options.check,
    )
    done = result("deploy", applied.exit_code, **applied_result(applied))
    answer(options, applied_text(applied), done, line=True)
    return applied.exit_code
