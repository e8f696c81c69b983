"""`python -m benchmarks`: measure npuctl beside other tools on a sandbox, and write down what came out."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import proof, report, results, startup
from benchmarks.measure import Sample, rounds
from benchmarks.scene import Scene, prepared
from benchmarks.variants import ansible_runs, npuctl_runs, pyinfra_runs
from benchmarks.variants.command import Command, WrongRunError
from npuctl.errors import NpuctlError
from npuctl.paths import content_root

_ROUNDS = 5
_SLOW_ROUNDS = 3
_QUICK_NODES, _NODES = 4, 16
_IDLE_SECONDS = 3.0


def main(argv: list[str] | None = None) -> int:
    """Measure; 0 when every goal is met, 1 when one is not, 2 when nothing could be measured."""
    options = _options(argv)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    try:
        with prepared(options.nodes, keep=options.keep, say=say) as scene:
            measured = _measure(scene, options, say)
    except (NpuctlError, WrongRunError, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    options.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    print(report.screen(measured))
    if not options.quick and not options.no_docs:
        for page, language in (("benchmarks.md", "en"), ("benchmarks.zh.md", "zh")):
            report.write_between_markers(content_root() / "docs" / page, report.markdown(measured, language))
    return 0 if report.all_met(measured) else 1


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--nodes", type=int, metavar="N", help=f"nodes of the sandbox (default {_NODES})")
    parser.add_argument(
        "--quick", action="store_true", help=f"{_QUICK_NODES} nodes; leaves the documentation as it is"
    )
    parser.add_argument("--rounds", type=int, default=_ROUNDS, metavar="N", help=f"default {_ROUNDS}")
    parser.add_argument("--keep", action="store_true", help="leave the sandbox up for another run")
    parser.add_argument("--no-docs", action="store_true", help="leave the documentation as it is")
    parser.add_argument(
        "--json",
        type=Path,
        default=Path(__file__).parent / "results.json",
        metavar="FILE",
        help="where the figures go (default benchmarks/results.json)",
    )
    options = parser.parse_args(argv)
    options.nodes = options.nodes or (_QUICK_NODES if options.quick else _NODES)
    return options


def _measure(scene: Scene, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    machine = results.machine()
    noticed = proof.prove(scene, say)
    groups = {
        "deploy": [
            npuctl_runs.deploy(scene),
            pyinfra_runs.deploy(scene),
            ansible_runs.deploy(scene),
            ansible_runs.one_module(scene),
            npuctl_runs.deploy(scene, cold=True),
        ],
        "health": [
            npuctl_runs.health(scene),
            npuctl_runs.plain_health(scene),
            pyinfra_runs.health(scene),
            ansible_runs.health(scene),
        ],
    }
    slow = {"deploy-ansible": min(_SLOW_ROUNDS, options.rounds)}
    samples = {name: _rounds(scene, commands, options.rounds, slow, say) for name, commands in groups.items()}
    say("start-up")
    starts = rounds(startup.runners(scene.work, scene.environment), options.rounds, {})
    return {
        "schema": results.SCHEMA,
        "simulated": True,
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "command": "python -m benchmarks" + (f" --nodes {options.nodes}" if options.nodes != _NODES else ""),
        "nodes": scene.nodes,
        "rounds": options.rounds,
        "machine": machine,
        "versions": results.versions(),
        "noticed_by_all": noticed,
        "idle_nodes": _idle(scene),
        **{
            name: {"rows": results.table(taken, scene.nodes), "ratios": results.compared(taken, name)}
            for name, taken in samples.items()
        },
        "startup": results.started(starts),
    }


def _rounds(
    scene: Scene,
    commands: list[Command],
    count: int,
    limits: dict[str, int],
    say: Callable[[str], None],
) -> dict[str, list[Sample]]:
    def told(command: Command) -> Sample:
        sample = command.once(scene)
        say(f"{command.key}: {sample.wall:.2f} s, controller {sample.controller:.2f} s of CPU")
        return sample

    say("warm-up")
    for command in commands:
        told(command)
    say(f"{count} rounds")
    return rounds({command.key: partial(told, command) for command in commands}, count, limits)


def _idle(scene: Scene) -> float | None:
    """CPU seconds a second of all nodes while nothing is asked of them."""
    before, began = scene.meters.nodes(), time.monotonic()
    time.sleep(_IDLE_SECONDS)
    after = scene.meters.nodes()
    return None if before is None or after is None else (after - before) / (time.monotonic() - began)


if __name__ == "__main__":
    sys.exit(main())
