"""npuctl health: does every replica produce a token?"""

from __future__ import annotations

import argparse

from npuctl.cli.options import add_inventory, add_output, add_service, answer

HELP = "Ask every replica for one token and say its state; also called status."
EXAMPLE = "npuctl health inventories/prod\n         npuctl status inventories/prod --output json"
ALIASES = ("status",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_inventory(parser)
    add_service(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Ask and print; 6 when a replica is not ready, whatever the reason."""
    from npuctl.display.results import health_result
    from npuctl.display.text import health_text
    from npuctl.errors import UnhealthyError
    from npuctl.health.probe import ask_replicas
    from npuctl.operate.look import expected_replicas
    from npuctl.remote.inventory import find_folder, load_inventory

    inventory = load_inventory(find_folder(options.inventory))
    health = ask_replicas(inventory, expected_replicas(inventory, service=options.service))
    answer(options, health_text(health), health_result(inventory.spec.name, health))
    return 0 if all(entry.state == "ready" for entry in health) else UnhealthyError.exit_code
