"""`npuctl sandbox`: a cluster of simulated NPU nodes on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from npuctl.cli.options import add_output, answer, result

if TYPE_CHECKING:
    import argparse

    from npuctl.sandbox.cluster import Up
    from npuctl.sandbox.model import Sandbox

HELP = "Make a cluster of containers that behave like servers with (simulated) NPUs."
EXAMPLE = "npuctl sandbox up --nodes 2 && npuctl deploy inventories/sandbox"

# Repeated from npuctl.sandbox.model: importing it here would slow every `npuctl --help`.
_PRODUCTS = ("a2", "a3", "310p")
_ENGINES = ("sim", "cpu", "none")
_DEFAULT_NAME = "sandbox"
_DEFAULT_DRIVER = "25.5.2"
_ARCHITECTURES = ("aarch64", "x86_64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare up, status, down, fault, packages and mirror-log."""
    actions = parser.add_subparsers(
        dest="action", metavar="up|status|down|fault|packages|mirror-log", required=True
    )

    up = actions.add_parser("up", help="bring nodes up; again: bring back what is missing")
    up.add_argument("--nodes", type=int, metavar="N", help="how many nodes (default 2)")
    up.add_argument("--product", choices=_PRODUCTS, help="what the simulated NPUs are (default a2)")
    up.add_argument(
        "--engine",
        choices=_ENGINES,
        default="sim",
        help="engine in the nodes: sim (a stand-in, default), cpu (the real vLLM), none",
    )
    up.add_argument(
        "--bare",
        action="store_true",
        help="nodes with an operating system only: no driver, no firmware, no Docker; `npuctl provision` makes the rest",
    )
    up.add_argument(
        "--driver",
        metavar="VERSION",
        help="the driver that the nodes have, with --bare the one to install (default 25.5.2)",
    )
    up.add_argument("--inventory", type=Path, metavar="DIR", help="where to write the inventory")
    up.add_argument(
        "--mirror",
        action="store_true",
        help="with a mirror of packages, images and models; the nodes begin bare, for `npuctl provision`",
    )
    up.add_argument(
        "--mirror-model", type=int, metavar="MIB", help="let it serve npuctl/random too, of that size"
    )
    up.add_argument(
        "--force",
        action="store_true",
        help="overwrite the inventory's cluster.yml and the mirror's vault.yml",
    )

    status = actions.add_parser("status", help="show the nodes and what runs on them")

    down = actions.add_parser("down", help="remove nodes, volumes and network; inventory and images stay")
    down.add_argument("--all", action="store_true", help="every sandbox on this machine")
    down.add_argument("--purge", action="store_true", help="remove the images and the cache as well")

    fault = actions.add_parser("fault", help="break a node in a known way, or mend it")
    fault.add_argument("node", nargs="?", metavar="NODE", help="for example node-1; or mirror")
    fault.add_argument("fault", nargs="?", metavar="FAULT", help="see --list; `all` with --clear")
    fault.add_argument("--chip", type=int, metavar="N", help="which NPU, for faults of one")
    fault.add_argument("--value", metavar="V", help="value of a fault that takes one (see --list)")
    fault.add_argument("--clear", action="store_true", help="take the fault off")
    fault.add_argument("--list", action="store_true", help="explain every fault")

    packages = actions.add_parser("packages", help="write simulated .run packages, as the vendor calls them")
    packages.add_argument("folder", type=Path, metavar="FOLDER", help="where to")
    packages.add_argument("--product", choices=_PRODUCTS, default="a2", help="for which NPUs (default a2)")
    packages.add_argument("--driver", metavar="VERSION", default=_DEFAULT_DRIVER, help="default 25.5.2")
    packages.add_argument("--firmware", metavar="VERSION", default="", help="default: the driver's")
    packages.add_argument(
        "--runtime", metavar="VERSION", default="7.3.0", help="Ascend Docker Runtime (default 7.3.0)"
    )
    packages.add_argument(
        "--arch", choices=_ARCHITECTURES, default="", help="of the nodes (default: this machine's)"
    )
    log = actions.add_parser("mirror-log", help="show what the mirror served, oldest first")

    up.epilog = "example: npuctl sandbox up --nodes 4 --product a3"
    status.epilog = "example: npuctl sandbox status"
    down.epilog = "example: npuctl sandbox down"
    fault.epilog = "example: npuctl sandbox fault node-2 health --chip 3 --value Alarm"
    packages.epilog = "example: npuctl sandbox packages /tmp/packages --driver 26.0.rc1 --product a3"
    log.epilog = "example: npuctl sandbox mirror-log"
    for action in (up, status, down, fault, log):
        action.add_argument("--name", default=_DEFAULT_NAME, help="which sandbox (default sandbox)")
    for action in (up, status, down, fault, packages, log):
        add_output(action)


def run(options: argparse.Namespace) -> int:
    """Do what was asked; progress goes to stderr, the answer to stdout."""
    verbs = {
        "up": _up,
        "status": _status,
        "down": _down,
        "fault": _fault,
        "packages": _packages,
        "mirror-log": _mirror_log,
    }
    return verbs[options.action](options)


def _up(options: argparse.Namespace) -> int:
    from npuctl.sandbox import cluster, status
    from npuctl.sandbox.progress import Progress

    wanted = cluster.Wanted(
        options.name,
        options.nodes,
        options.product,
        options.engine,
        options.inventory,
        options.force,
        options.mirror,
        options.mirror_model,
        options.bare,
        options.driver,
    )
    made = cluster.up(wanted, Progress())
    found = status.of(made.sandbox)
    data = status.as_data(made.sandbox, found) | {
        "inventory": str(made.inventory),
        "engine_image": made.engine_image,
        "cluster_yml_written": made.cluster_written,
        "vault_yml_written": made.vault_written,
        "seconds": round(made.seconds, 1),
    }
    _answer(options, data, f"{status.table(made.sandbox, found)}\n{_what_next(made)}")
    return 0


def _what_next(made: Up) -> str:
    folder = made.inventory
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    kept = "" if made.cluster_written else "\ncluster.yml: kept as you edited it (--force writes it anew)"
    if not made.vault_written:
        kept += (
            "\nvault.yml: kept as it is; the mirror's login and token are not in it (--force writes it anew)"
        )
    engine = f"\nengine image: {made.engine_image}" if made.engine_image else ""
    bare = f"\nthe nodes are bare; next: npuctl provision {shown}" if made.sandbox.bare else ""
    return f"inventory: {shown}{engine}{kept}\nup after {made.seconds:.0f} s{bare}"


def _status(options: argparse.Namespace) -> int:
    from npuctl.sandbox import cluster, status

    sandbox = _existing(options.name)
    found = status.of(sandbox)
    inventory = cluster.recorded_inventory(options.name)
    data = status.as_data(sandbox, found) | {"inventory": str(inventory or "")}
    _answer(options, data, f"{status.table(sandbox, found)}\ninventory: {inventory or 'unknown'}")
    return 0


def _down(options: argparse.Namespace) -> int:
    from npuctl.sandbox import cluster, preflight
    from npuctl.sandbox.progress import Progress

    preflight.require_engine()
    names = cluster.names() if options.all else [options.name]
    removed = cluster.down(names, Progress(), purge=options.purge)
    text = "removed: " + ", ".join(removed) if removed else "nothing to remove"
    data: dict[str, object] = {"simulated": True, "sandboxes": names, "removed": removed}
    _answer(options, data, f"{text}\ninventory folders stay; remove them by hand if they are not wanted")
    return 0


def _fault(options: argparse.Namespace) -> int:
    from npuctl.errors import UsageError
    from npuctl.sandbox import faults, mirror_faults, model
    from npuctl.sandbox.progress import Progress

    if options.list:
        rows = faults.explained()
        width = max(len(name) for name, _ in rows)
        text = "\n".join(f"{name.ljust(width)}  {explanation}" for name, explanation in rows)
        _answer(options, {"simulated": True, "faults": dict(rows)}, text)
        return 0
    if not options.node or not options.fault:
        raise UsageError("fault needs NODE and FAULT", hint="npuctl sandbox fault --list shows the faults")
    sandbox = _existing(options.name)
    if options.node == model.MIRROR:
        done = mirror_faults.put(sandbox, options.fault, options.value, clear=options.clear)
    else:
        request = faults.Request(options.fault, options.chip, options.value, options.clear)
        done = faults.put(sandbox, sandbox.node(options.node), request, Progress())
    _answer(options, {"simulated": True, "node": options.node, "done": done}, f"{done} (simulated NPUs)")
    return 0


def _packages(options: argparse.Namespace) -> int:
    from npuctl.sandbox import packages

    release = packages.Release(
        options.product, options.driver, options.firmware, options.runtime, options.arch
    )
    written = [str(path) for path in packages.write(options.folder, release)]
    _answer(
        options,
        {"simulated": True, "packages": written},
        "\n".join([*written, "simulated: for nodes of a sandbox"]),
    )
    return 0


def _mirror_log(options: argparse.Namespace) -> int:
    from npuctl.sandbox import mirror

    entries = mirror.log(_existing(options.name))
    lines = [_log_line(entry) for entry in entries]
    _answer(options, {"simulated": True, "served": entries}, "\n".join(lines) or "nothing served yet")
    return 0


def _log_line(entry: dict[str, object]) -> str:
    what = " ".join(str(entry[key]) for key in ("method", "target", "status", "error") if key in entry)
    return f"{entry.get('client', '')}  {entry.get('service', '')}  {what}"


def _existing(name: str) -> Sandbox:
    from npuctl.errors import UsageError
    from npuctl.sandbox import cluster, model, preflight

    model.check_name(name)
    preflight.require_engine()
    found = cluster.find(name)
    if found is None:
        others = ", ".join(cluster.names()) or "none"
        raise UsageError(
            f"no sandbox {name!r} on this machine (there are: {others})",
            hint=f"npuctl sandbox up --name {name}",
        )
    return found


def _answer(options: argparse.Namespace, data: dict[str, object], text: str) -> None:
    answer(options, text, result(f"sandbox {options.action}", 0, **data))
    sys.stdout.flush()
