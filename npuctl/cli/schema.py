"""npuctl schema: the JSON Schema of cluster.yml."""

from __future__ import annotations

import argparse
import json

HELP = "Print the JSON Schema of cluster.yml, for editors that complete and check it."
EXAMPLE = "npuctl schema > cluster.schema.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments: none."""
    del parser


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    del options
    from npuctl.spec.schema import cluster_schema

    print(json.dumps(cluster_schema(), indent=1, ensure_ascii=False))
    return 0
