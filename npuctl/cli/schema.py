"""npuctl schema: the JSON Schemas of cluster.yml and of the facts."""

from __future__ import annotations

import argparse
import json

HELP = "Print a JSON Schema: of cluster.yml, for editors that complete and check it, or of `inspect`'s facts."
EXAMPLE = "npuctl schema > cluster.schema.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument(
        "of",
        nargs="?",
        choices=["cluster", "facts"],
        default="cluster",
        help="cluster: what a person writes (default); facts: what `npuctl inspect --output json` prints",
    )


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    if options.of == "facts":
        from npuctl.facts.model import facts_schema as schema
    else:
        from npuctl.spec.schema import cluster_schema as schema

    print(json.dumps(schema(), indent=1, ensure_ascii=False))
    return 0
