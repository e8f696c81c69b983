"""npuctl stop: stop, and prove it."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_output, add_service, answer, limit_words, result

HELP = "Stop our containers (SIGTERM, grace, SIGKILL) and prove that HBM, ports and memory are free."
EXAMPLE = "npuctl stop inventories/prod --service chat"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    add_service(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Stop; 0 only when it is proven."""
    from npuctl.display.progress import open_progress
    from npuctl.display.results import stopped_result
    from npuctl.display.text import stopped_text
    from npuctl.operate.stop import stop
    from npuctl.remote.inventory import find_folder

    stopped = stop(
        find_folder(options.inventory),
        open_progress(options.output),
        limit=limit_words(options),
        service=options.service,
    )
    done = result("stop", stopped.exit_code, **stopped_result(stopped))
    answer(options, stopped_text(stopped, "stopped"), done, line=True)
    return stopped.exit_code
