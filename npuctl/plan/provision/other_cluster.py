"""A node whose settings are not ours to change: another cluster made them, or their record cannot be read. Pure.

A node has one record of settings, and whoever reconciles takes back what it does not want itself. So one cluster
provisions a node; another that shares it may want the same of it, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, Change, Node, Wish
from npuctl.plan.provision.settings import RECORD, Setting, reconcile, record_trouble
from npuctl.plan.wording import several

_PATH = f"{RECORDS}/{RECORD}.json"
_MOST_SETTINGS = 3


def keeps_out(wish: Wish, node: Node) -> bool:
    """Whether the record of the node's settings keeps this cluster from changing any."""
    record = node.setup.records.get(RECORD, {})
    if record_trouble(record):
        return True
    return bool(record.get("entries")) and _owner(node) != wish.spec.name


def lacking_settings(wanted: Sequence[Setting], node: Node) -> Mapping[str, Sequence[Change]]:
    """File → what is not as this cluster wants it; what the other one set stays out of it."""
    records = {name: record for name, record in node.setup.records.items() if name != RECORD}
    return reconcile(wanted, node.setup.model_copy(update={"records": records})).changes


def stays(node: Node) -> str:
    """What a teardown says of it."""
    return f"its settings were made for cluster {_owner(node)}: they stay as they are"


def refused(node: Node, lacking: Sequence[str]) -> Finding:
    """This cluster wants other settings than the one whose they are."""
    return Finding(
        id="provision.other_cluster",
        severity="error",
        node=node.name,
        seen=f"its settings were made for cluster {_owner(node)}, as {_PATH} says, and would have to change:"
        f" {several(lacking, _MOST_SETTINGS)}",
        expected="a node that one cluster provisions, or the same settings in the specs of both",
        remedy=f"write it into the spec of {_owner(node)} and provision that; or give the node free first:"
        f" npuctl teardown --provision of {_owner(node)}",
    )


def unreadable(node: Node, trouble: str) -> Finding:
    """Without the record nobody knows what was there before, and writing a new one would lose it for good."""
    return Finding(
        id="provision.settings_record",
        severity="error",
        node=node.name,
        seen=f"{_PATH}: {trouble}",
        expected="what npuctl noted there of the settings that it made, and of those before",
        remedy=f"mend the file on {node.name}, or move it away: what it names then stays as it is now, for good",
    )


def _owner(node: Node) -> str:
    return str(node.setup.records[RECORD].get("cluster", "unknown"))
