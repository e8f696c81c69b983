"""Driver and firmware go where npuctl installed them; by the packages that did it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npuctl.facts.survey import Survey
from npuctl.plan.provision._contract import RECORDS, Change, Node, Work
from npuctl.plan.provision.driver_record import (
    BACKUP,
    KINDS,
    RECORD,
    Kind,
    Transaction,
    job_name,
    read_transaction,
    unreadable,
)
from npuctl.plan.provision.driver_steps import ROLE


def removal(node: Node) -> Work:
    """What would be taken from a node; a driver that somebody else installed is left as it is."""
    try:
        noted = read_transaction(node.setup.records.get(RECORD))
    except ValueError as error:
        return Work(node.name, "driver", ROLE, findings=(unreadable(node.name, str(error)),))
    files = (node.facts.survey or Survey()).files
    there: dict[Kind, str] = {"firmware": files.firmware, "driver": files.driver}
    if noted is None or not noted.packages:
        names = [f"{kind} {version}" for kind, version in there.items() if version]
        note = f"{' and '.join(names)}: not installed by npuctl, left as it is"
        return Work(node.name, "driver", ROLE, notes=(note,) if names else ())
    kinds = [kind for kind in reversed(KINDS) if kind in noted.packages]
    return Work(
        node.name,
        "driver",
        ROLE,
        entry="uninstall",
        variables={
            f"{ROLE}_uninstall": _installations(noted, [kind for kind in kinds if there[kind]]),
            f"{ROLE}_leftovers": _leftovers(noted),
        },
        changes=tuple(Change(kind, there[kind] or "none", "none") for kind in kinds),
    )


def _installations(noted: Transaction, kinds: Sequence[Kind]) -> list[Mapping[str, Any]]:
    return [
        {
            "path": noted.packages[kind],
            "job": job_name(kind),
            "identity": f"{noted.id}-{kind}-uninstall",
        }
        for kind in kinds
    ]


def _leftovers(noted: Transaction) -> list[str]:
    return [
        BACKUP,
        f"{RECORDS}/{RECORD}.json",
        *(f"{RECORDS}/{job_name(kind)}.{ending}" for kind in KINDS for ending in ("json", "log", "lock")),
        *noted.packages.values(),
        *noted.obsolete,
    ]
