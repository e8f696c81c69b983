"""Run a playbook and report what happened, event by event."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from npuctl.errors import PlayFailedError
from npuctl.paths import content_root
from npuctl.remote.inventory import Inventory
from npuctl.remote.ssh import options
from npuctl.runner.events import Event, read_event
from npuctl.runner.hostvars import GROUP, without_texts

# More forks than this do not help: Ansible's main process hands out tasks one by one, about 9 ms each.
_MOST_FORKS = 32


@dataclass(slots=True)
class Outcome:
    """What a play did.

    Attributes:
        failed, unreachable: node → reason.
        changed: node → outcomes of the tasks that changed something, in order.
        cancelled: the person ended the play with Ctrl-C; Ansible has ended.
    """

    failed: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    changed: dict[str, list[str]] = field(default_factory=dict)
    cancelled: bool = False

    def add(self, event: Event) -> None:
        """Take one event into account."""
        if event.status == "failed":
            self.failed.setdefault(event.node, f"{event.task}: {event.message or 'failed'}")
        elif event.status == "unreachable":
            self.unreachable.setdefault(event.node, event.message or "unreachable")
        elif event.status == "changed":
            self.changed.setdefault(event.node, []).append(event.message or event.task)


def run_playbook(
    inventory: Inventory,
    playbook: str,
    source: dict[str, Any],
    run_folder: Path,
    on_event: Callable[[Event], None],
    outcome: Outcome,
    *,
    check: bool = False,
) -> None:
    """Run a playbook of playbooks/ on the nodes that `source` names.

    The source is written to RUN_FOLDER/plan-N.json, so that the step can be replayed by hand; it holds no
    secret: the roles take those from the inventory's vault on the way. Texts of files that others own too are
    given to Ansible only. What happens is added to `outcome` as it happens.

    Raises:
        PlayFailedError: Ansible itself could not run.
    """
    import ansible_runner  # noqa: PLC0415  0.06 s of CPU that only changes pay

    kept = without_texts(source)
    plan_file = _next_plan_file(run_folder)
    _write(plan_file, kept)
    errors: list[str] = []
    bad: list[Event] = []  # of this play; `outcome` may hold those of an earlier one

    def take(raw: dict[str, Any]) -> bool:
        event = read_event(raw)
        if event is not None:
            outcome.add(event)
            bad.extend([event] if event.status in {"failed", "unreachable"} else [])
            on_event(event)
        elif raw.get("event") in {"error", "verbose"} and "ERROR" in raw.get("stdout", ""):
            errors.append(raw["stdout"])
        return False  # the runner need not keep it as a file: most of its cost is that

    private = run_folder / "runner"
    private.mkdir(mode=0o700)
    if kept != source:
        plan_file = private / "plan.json"
        _write(plan_file, source)
    hosts = source["all"]["children"][GROUP]["hosts"]
    forks = max(1, min(len(hosts), _MOST_FORKS))
    try:
        with _own_signals():
            result = ansible_runner.run(
                private_data_dir=str(private),
                project_dir=str(content_root()),
                playbook=f"playbooks/{playbook}",
                inventory=[str(inventory.folder), str(plan_file)],
                envvars=_environment(inventory),
                cmdline=f"--forks {forks}" + (" --check --diff" if check else ""),
                event_handler=take,
                quiet=True,
                suppress_env_files=True,
            )
        last_words = errors[-1].strip() if errors else _keep_log(result, run_folder)
    finally:
        # The runner wrote the whole environment of this process to a file there, tokens and all.
        shutil.rmtree(private, ignore_errors=True)
    outcome.cancelled = result.status == "canceled"
    if result.status != "successful" and not bad and not outcome.cancelled:
        raise PlayFailedError(f"Ansible ended with {result.rc}: {last_words}")


def _write(file: Path, source: dict[str, Any]) -> None:
    file.write_text(json.dumps(source, indent=1, ensure_ascii=False), encoding="utf-8")


def _next_plan_file(run_folder: Path) -> Path:
    """plan-1.json for the first play of a run, plan-2.json for the second."""
    return run_folder / f"plan-{len(list(run_folder.glob('plan-*.json'))) + 1}.json"


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """ansible-runner takes SIGINT and SIGTERM for itself and keeps them; after the play they are ours again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(inventory: Inventory) -> dict[str, str]:
    root = content_root()
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
        # The same options as our own looks: one kept connection a node serves both.
        "ANSIBLE_SSH_ARGS": shlex.join(options(inventory)),
        "ANSIBLE_FORCE_COLOR": "0",
    }


def _keep_log(result: Any, run_folder: Path) -> str:
    """Keep what Ansible printed beside the plan; returns its last line."""
    text = ""
    with contextlib.suppress(OSError):
        text = result.stdout.read()
    log = run_folder / "ansible.log"
    log.touch(mode=0o600)
    with log.open("a", encoding="utf-8") as stream:
        stream.write(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
