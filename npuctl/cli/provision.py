"""npuctl provision: from an installed operating system to nodes that can serve."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from npuctl.cli.options import add_inventory, add_limit, add_output, answer, limit_words, result

if TYPE_CHECKING:
    from npuctl.plan.provision._contract import StageName

HELP = "Make the machines ready to serve: mirrors, system, driver, NPU network, Docker, images, weights."
EXAMPLE = "npuctl provision inventories/prod --dry-run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    parser.add_argument(
        "--only",
        metavar="STAGES",
        default="",
        help="only these stages, separated by commas: mirrors, system, driver, npu_network, container_engine,"
        " images, weights",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    parser.add_argument(
        "--allow-restart", action="store_true", help="restart Docker even where containers run on it"
    )
    parser.add_argument(
        "--downgrade", action="store_true", help="install a driver that is older than the one that is there"
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Provision; 3 when something refuses, 4 when a node is not as it should be at the end, 5 when one is silent."""
    from npuctl.display.progress import open_progress
    from npuctl.display.provision import provisioned_result, provisioned_text
    from npuctl.operate.provision import Choice, provision
    from npuctl.remote.inventory import find_folder

    choice = Choice(
        stages=_stages(options.only),
        dry_run=options.dry_run,
        allow_restart=options.allow_restart,
        allow_downgrade=options.downgrade,
    )
    done = provision(
        find_folder(options.inventory),
        open_progress(options.output),
        limit=limit_words(options),
        choice=choice,
    )
    content = result("provision", done.exit_code, **provisioned_result(done))
    answer(options, provisioned_text(done), content, line=True)
    return done.exit_code


def _stages(text: str) -> tuple[StageName, ...]:
    from npuctl.errors import UsageError
    from npuctl.plan.provision._contract import STAGES

    words = {word.strip() for word in text.split(",") if word.strip()}
    unknown = sorted(words - set(STAGES))
    if unknown:
        raise UsageError(f"--only names {', '.join(unknown)}", hint=f"the stages are {', '.join(STAGES)}")
    return tuple(stage for stage in STAGES if not words or stage in words)
