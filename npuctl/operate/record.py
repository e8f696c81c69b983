"""A change with its record: run folder, journal; true whatever ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from npuctl.errors import CancelledError
from npuctl.operate.progress import Emit
from npuctl.plan.model import Step
from npuctl.remote.inventory import Inventory
from npuctl.runner.hostvars import inventory_source
from npuctl.runner.run import Outcome, run_playbook
from npuctl.state.journal import Run, begin_run


@dataclass(slots=True)
class Change:
    """One change of nodes while it goes on.

    `outcome` is what the plays did so far; it is complete when the last of them has returned.
    """

    inventory: Inventory
    nodes: Sequence[str]
    run: Run
    outcome: Outcome

    def apply(
        self,
        steps: Sequence[Step],
        emit: Emit,
        *,
        folders: dict[str, list[str]] | None = None,
        check: bool = False,
    ) -> Outcome:
        """Run one play for these steps and add what it did to `outcome`.

        Args:
            steps: what to do now: all, or one wave.
            emit: takes the events.
            folders: node → folders to remove at the end.
            check: Ansible's check mode; nothing is changed.

        Raises:
            KeyboardInterrupt: the person ended it; Ansible has ended.
        """
        source = inventory_source(steps, self.inventory.spec.name, folders)
        return self.play("apply.yml", source, emit, check=check)

    def play(self, playbook: str, source: dict[str, Any], emit: Emit, *, check: bool = False) -> Outcome:
        """Run one playbook on the nodes that `source` names and add what it did to `outcome`.

        Raises:
            KeyboardInterrupt: the person ended it; Ansible has ended.
        """
        run_playbook(self.inventory, playbook, source, self.run.folder, emit, self.outcome, check=check)
        if self.outcome.cancelled:
            raise KeyboardInterrupt
        return self.outcome


def recorded(
    inventory: Inventory, verb: str, steps: Sequence[Step], **details: Any
) -> contextlib.AbstractContextManager[Change]:
    """Note the beginning of steps, and the end however it comes; the caller holds the cluster's lock.

    Raises:
        CancelledError: in place of KeyboardInterrupt; says what was done and what was not.
    """
    described = [{"node": step.node, "replica": step.name, "action": step.action} for step in steps]
    nodes = list(dict.fromkeys(step.node for step in steps))
    return recorded_change(inventory, verb, nodes, steps=described, **details)


@contextlib.contextmanager
def recorded_change(
    inventory: Inventory, verb: str, nodes: Sequence[str], **details: Any
) -> Iterator[Change]:
    """The same for a change of other kinds; `details` go into the journal.

    Raises:
        CancelledError: in place of KeyboardInterrupt; says what was done and what was not.
    """
    run = begin_run(inventory.state, verb, details)
    change = Change(inventory, nodes, run, Outcome())
    try:
        yield change
    except KeyboardInterrupt:
        run.write("interrupted", changed=change.outcome.changed, failed=change.outcome.failed)
        raise CancelledError(
            f"{verb} was interrupted\n{_so_far(change)}",
            hint="nothing is undone; run the same again to finish, or npuctl plan to see what is left",
        ) from None
    except BaseException as error:
        run.write("failed", error=f"{type(error).__name__}: {error}")
        raise
    run.write("ended")


def _so_far(change: Change) -> str:
    lines = []
    for node in change.nodes:
        done = "; ".join(change.outcome.changed.get(node, [])) or "nothing was changed"
        lines.append(f"  {node}: {done}")
    return "\n".join(lines)
