"""The argument parser, built from the verbs' modules."""

from __future__ import annotations

import argparse
import importlib
import pkgutil

import npuctl
import npuctl.cli as cli_package

_NOT_VERBS = frozenset({"parser", "options"})


def verb_names() -> list[str]:
    """Every verb: the modules of npuctl.cli but the parser itself and the shared options."""
    names = (module.name for module in pkgutil.iter_modules(cli_package.__path__))
    return sorted(name for name in names if name not in _NOT_VERBS)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; importing it costs argparse and the verbs' own light modules."""
    parser = argparse.ArgumentParser(
        prog="npuctl",
        description="Deploy, check and take down LLM services on Ascend NPU clusters over SSH.",
        epilog="example: npuctl deploy inventories/prod",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.set_defaults(run=lambda options: _no_verb(parser, options))
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for name in verb_names():
        module = importlib.import_module(f"npuctl.cli.{name}")
        verb = verbs.add_parser(
            name,
            aliases=getattr(module, "ALIASES", ()),
            help=module.HELP,
            description=module.HELP,
            epilog=f"example: {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def _no_verb(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.version:
        from importlib.metadata import version

        print(f"npuctl {version(npuctl.__name__)}")
        return 0
    parser.print_help()
    return 2
