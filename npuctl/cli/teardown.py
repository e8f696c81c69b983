"""npuctl teardown: remove everything that npuctl put on the nodes."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from npuctl.cli.options import add_inventory, add_limit, add_output, answer, limit_words, result

if TYPE_CHECKING:
    from npuctl.plan.provision._contract import Removal

HELP = "Remove everything that npuctl put on the nodes for this cluster, and nothing else."
EXAMPLE = "npuctl teardown inventories/prod --yes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_limit(parser)
    parser.add_argument(
        "--provision",
        action="store_true",
        help="also give the machines back as they were before `npuctl provision`; driver, images and weights stay",
    )
    parser.add_argument("--driver", action="store_true", help="with --provision: uninstall the driver too")
    parser.add_argument(
        "--images", action="store_true", help="with --provision: remove images that npuctl fetched"
    )
    parser.add_argument(
        "--weights", action="store_true", help="with --provision: remove weights that npuctl copied"
    )
    parser.add_argument(
        "--allow-restart",
        action="store_true",
        help="with --provision: restart Docker even where containers run on it",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask for the cluster's name")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Ask, remove, prove."""
    from npuctl.display.progress import open_progress
    from npuctl.display.results import stopped_result
    from npuctl.display.text import stopped_text
    from npuctl.operate.look import open_inventory
    from npuctl.operate.stop import teardown
    from npuctl.remote.inventory import find_folder

    folder, removals = find_folder(options.inventory), _removals(options)
    if not options.yes:
        inventory, nodes = open_inventory(folder, limit=limit_words(options))
        _confirm(_what(options, inventory.spec.name, nodes, removals), inventory.spec.name)
    emit = open_progress(options.output)
    stopped = teardown(folder, emit, limit=limit_words(options))
    text, content, code = stopped_text(stopped, "removed"), stopped_result(stopped), stopped.exit_code
    if options.provision and code == 0:
        from npuctl.display.provision import provisioned_result, provisioned_text
        from npuctl.operate.provision import unprovision

        restored = unprovision(
            folder,
            emit,
            limit=limit_words(options),
            remove=frozenset(removals),
            allow_restart=options.allow_restart,
        )
        text += "\n" + provisioned_text(restored)
        content, code = {**content, "provision": provisioned_result(restored)}, restored.exit_code
    elif options.provision:
        text += "\nthe machines were not given back: run it again once everything of the cluster is removed"
    answer(options, text, result("teardown", code, **content), line=True)
    return code


def _removals(options: argparse.Namespace) -> list[Removal]:
    from npuctl.errors import UsageError

    every: list[Removal] = ["driver", "images", "weights"]
    chosen = [name for name in every if getattr(options, name)]
    given = [*chosen, *(["allow-restart"] if options.allow_restart else [])]
    if given and not options.provision:
        raise UsageError(
            f"--{given[0]} goes with --provision", hint=f"npuctl teardown --provision --{given[0]}"
        )
    return chosen


def _what(options: argparse.Namespace, cluster: str, nodes: list[str], removals: list[Removal]) -> str:
    what = f"every container and file of cluster {cluster} from {', '.join(nodes)}"
    if options.provision:
        what += ", and gives these machines back as they were before they were provisioned"
    return what + (f"; their {', '.join(removals)} too" if removals else "")


def _confirm(what: str, cluster: str) -> None:
    from npuctl.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(f"teardown removes {what}", hint="there is no terminal to ask on: say --yes")
    print(f"This removes {what}.")
    if input("Type the cluster's name to go on: ").strip() != cluster:
        raise UsageError("that is not the cluster's name; nothing was touched")
