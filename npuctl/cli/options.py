"""Options that several verbs share, and how they answer. Light: nothing heavy is imported here."""

from __future__ import annotations

import argparse
import json
from typing import Any

RESULT_SCHEMA = 1


def add_inventory(parser: argparse.ArgumentParser) -> None:
    """The inventory folder, first."""
    parser.add_argument(
        "inventory",
        nargs="?",
        help="inventory folder; left out: $NPUCTL_INVENTORY, or the only folder in inventories/",
    )


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Only some nodes."""
    parser.add_argument(
        "--limit", metavar="NODES", default="", help="only these hosts or groups, separated by commas"
    )


def add_service(parser: argparse.ArgumentParser) -> None:
    """Only one service."""
    parser.add_argument("--service", metavar="NAME", help="only this service")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Text or JSON."""
    parser.add_argument(
        "--output", choices=["text", "json"], default="text", help="text for people, json for machines"
    )


def limit_words(options: argparse.Namespace) -> list[str]:
    """The words of --limit."""
    return [word.strip() for word in options.limit.split(",") if word.strip()]


def answer(options: argparse.Namespace, text: str, result: dict[str, Any], *, line: bool = False) -> None:
    """Print the result: text, or one JSON object (on one line where it ends JSON lines)."""
    if options.output == "text":
        print(text)
        return
    print(json.dumps(result, ensure_ascii=False, indent=None if line else 1))


def result(kind: str, exit_code: int, **content: Any) -> dict[str, Any]:
    """The envelope of a result that ends JSON lines."""
    return {"type": "result", "schema": RESULT_SCHEMA, "verb": kind, "exit_code": exit_code, **content}
