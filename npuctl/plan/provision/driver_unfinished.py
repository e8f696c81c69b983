"""A change of the driver that was begun, and of which the spec says nothing any more. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, Node, Questions, Wish, Work
from npuctl.plan.provision.driver_record import KINDS, RECORD, Transaction, read_transaction
from npuctl.plan.wording import several

_MOST_NAMES = 3


def questions(wish: Wish) -> Questions:  # noqa: ARG001 - as every stage
    """What was noted of the last change, whatever the spec says."""
    return Questions(records=frozenset({RECORD}))


def unfinished(wish: Wish, node: Node) -> list[Work]:
    """The warning of a node that was left in the middle of a change which the spec does not ask to be ended."""
    if wish.spec.driver is not None or "driver" in wish.remove:
        return []
    try:
        noted = read_transaction(node.setup.records.get(RECORD))
    except ValueError:  # it says nothing that could be gone on from; refused once a driver is wanted again
        return []
    if noted is None or not noted.open:
        return []
    return [Work(node.name, "driver", findings=(_finding(node, noted),))]


def _finding(node: Node, noted: Transaction) -> Finding:
    stopped = f", and {several(noted.stopped, _MOST_NAMES)} stopped for it" if noted.stopped else ""
    return Finding(
        id="provision.driver_unfinished",
        severity="warning",
        node=node.name,
        seen=f"a change of {_versions(noted.before)} to {_versions(noted.wanted)} was begun and has not come to its"
        f" end{stopped}; the spec does not name a driver any more",
        expected="a change that was begun is ended",
        remedy=f"write driver.version {noted.wanted.get('driver', 'of the one that is meant')} into the spec again and"
        f" run npuctl provision; {RECORDS}/{RECORD}.json on {node.name} says how far it came",
    )


def _versions(found: Mapping[str, str]) -> str:
    return " and ".join(f"{kind} {found[kind]}" for kind in KINDS if kind in found) or "no driver"
