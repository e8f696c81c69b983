"""npuctl start: start what is deployed and stopped."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_output, add_service, answer, limit_words, result

HELP = "Start what is deployed and stopped, and wait for tokens; reconfigures nothing."
EXAMPLE = "npuctl start inventories/prod --service chat"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    add_service(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Start; the exit code says the worst that happened."""
    from npuctl.display.progress import open_progress
    from npuctl.display.results import applied_result
    from npuctl.display.text import applied_text
    from npuctl.operate.deploy import start
    from npuctl.remote.inventory import find_folder

    applied = start(
        find_folder(options.inventory),
        open_progress(options.output),
        limit=limit_words(options),
        service=options.service,
    )
    done = result("start", applied.exit_code, **applied_result(applied))
    answer(options, applied_text(applied), done, line=True)
    return applied.exit_code
