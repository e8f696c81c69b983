"""npuctl logs: what the engines say."""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_limit, add_service, limit_words

HELP = "Show the last log lines of every replica, each line with node and replica before it."
EXAMPLE = "npuctl logs inventories/prod --service chat --tail 200 --follow"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    add_service(parser)
    parser.add_argument(
        "--tail", type=int, default=50, metavar="N", help="how many lines of each (default 50)"
    )
    parser.add_argument("--follow", action="store_true", help="go on as new lines come, until Ctrl-C")


def run(options: argparse.Namespace) -> int:
    """Print the logs; 5 when a node did not answer."""
    from npuctl.errors import UnreachableError
    from npuctl.operate.logs import stream_logs
    from npuctl.remote.inventory import find_folder

    silent = stream_logs(
        find_folder(options.inventory),
        print,
        limit=limit_words(options),
        service=options.service,
        tail=options.tail,
        follow=options.follow,
    )
    return UnreachableError.exit_code if silent else 0
