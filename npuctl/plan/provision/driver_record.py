"""What is noted on a node about the change of its driver, so that any later run goes on where one ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS

RECORD = "driver"
Kind = Literal["driver", "firmware"]
KINDS: tuple[Kind, ...] = ("driver", "firmware")
BACKUP = f"{RECORDS}/driver-hccn.conf"


def job_name(kind: Kind) -> str:
    """Name of the files in which library/module_utils/npuctl_run_package.py tells of a run."""
    return f"{kind}_package"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One change of driver and firmware on one node, from its beginning to its end.

    Attributes:
        id: names it; part of the names of its installations.
        open: it has not come to its end.
        wanted: kind → version.
        before: kind → version on disk when it began; kinds of which nothing was there are left out.
        packages: kind → the package on the node.
        obsolete: packages of earlier changes, removed at the end.
        downgrade: older versions were allowed when it began.
        prepared: packages are on the node and verified.
        stopped: our containers that ran when it began, to be started again.
        measured: the NPU network was probed before: `lost` says what was lost already.
        hccn_conf: "saved", "absent" (there was none), or "" as long as nobody looked.
        rebooting: the boot from which a reboot was asked for.
        restored: hccn.conf was put back.
        probed: the NPU network is as it was.
        started: the services are back.
    """

    id: str
    open: bool = True
    wanted: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    obsolete: tuple[str, ...] = ()
    downgrade: bool = False
    prepared: bool = False
    stopped: tuple[str, ...] = ()
    measured: bool = False
    lost: tuple[str, ...] = ()
    hccn_conf: Literal["", "saved", "absent"] = ""
    rebooting: str = ""
    restored: bool = False
    probed: bool = False
    started: bool = False

    def to_record(self) -> dict[str, Any]:
        """As it is written to /var/lib/npuctl/driver.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Job:
    """One installation, as the node noted it.

    Attributes:
        rc: None while it runs.
        boot_id: of the boot in which it was started.
    """

    identity: str
    rc: int | None = None
    reboot_owed: bool = False
    boot_id: str = ""

    @property
    def good(self) -> bool:
        """It ended, and the package is installed: 0, or 2 where a reboot is owed."""
        return self.rc in {0, 2}


_LISTS = ("obsolete", "stopped", "lost")
_IDENTITY = re.compile(r"[A-Za-z0-9-]{1,64}")


def read_transaction(raw: Mapping[str, Any] | None) -> Transaction | None:
    """The record of a node; None where there is none.

    Raises:
        ValueError: it is not as npuctl writes it; the message says what is wrong with it.
    """
    if raw is None:
        return None
    known = {entry.name for entry in fields(Transaction)}
    values = {key: value for key, value in raw.items() if key in known}
    if "error" in raw or not _IDENTITY.fullmatch(str(values.get("id", ""))):
        raise ValueError(str(raw.get("error") or "it has no id"))
    for key in _LISTS:
        entries = values.get(key, ())
        if not isinstance(entries, list | tuple) or not all(isinstance(entry, str) for entry in entries):
            raise ValueError(f"{key} is not a list of texts")
        values[key] = tuple(entries)
    for key in ("wanted", "before", "packages"):
        if not isinstance(values.get(key, {}), dict):
            raise ValueError(f"{key} is not a mapping")  # noqa: TRY004  one error for all that is wrong with it
    return Transaction(**values)


def read_job(raw: Mapping[str, Any] | None) -> Job | None:
    """The last installation of one kind; None where none is noted, or the note cannot be read."""
    if not raw or not isinstance(raw.get("identity"), str):
        return None
    ended = raw.get("state") == "ended"
    rc = raw.get("rc")
    return Job(
        identity=raw["identity"],
        rc=(rc if isinstance(rc, int) else 1) if ended else None,
        reboot_owed=ended and raw.get("reboot_owed") is True,
        boot_id=str(raw.get("boot_id", "")),
    )


def unreadable(node: str, why: str) -> Finding:
    """The note is there, and says nothing that could be gone on from."""
    return Finding(
        id="provision.record",
        severity="error",
        node=node,
        seen=f"{RECORDS}/{RECORD}.json: {why}",
        expected="what npuctl noted there of the last change of the driver",
        remedy=f"look at driver and firmware on {node}; then remove that file, and npuctl begins anew",
    )
