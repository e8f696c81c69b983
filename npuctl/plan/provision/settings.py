"""Settings that npuctl makes in files which others own too, so that they can be taken back.

One rule for all of them (mirrors, daemon.json, kernel values): what was there before is noted on the node
before anything changes; a setting that is no longer wanted gets that value again, unless somebody has
changed it since, for then it is his.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from npuctl.facts.setup import Setup
from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.provision._contract import Change
from npuctl.plan.provision.formats import ABSENT, format_of
from npuctl.plan.wording import masked

RECORD = "settings"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that should stand in a file.

    Attributes:
        file: path on the node, as it was asked for in Questions.files or Questions.values.
        key: where in the file, in the file's own format; "" is the whole file.
        value: what should be there; for a list that others add to, one entry (`item`).
        item: `value` is to be among the entries of the list at `key`, before those that are there.
        mode: of a file that is made anew.
    """

    file: str
    key: str
    value: JsonValue
    item: bool = False
    mode: str = "0644"


@dataclass(frozen=True, slots=True)
class Noted:
    """One entry of the record.

    Attributes:
        before: what was there before npuctl's first change, or ABSENT.
        ours: what npuctl put there; more than one value while a change of it is under way, for a run may be
            killed between the note and the change.
        made: the file was not there before npuctl's first setting in it: it goes with the last one.
    """

    file: str
    key: str
    item: bool
    before: Any
    ours: tuple[Any, ...]
    made: bool = False


@dataclass(frozen=True, slots=True)
class FileWrite:
    """A file as it should be; `text` None: it is removed, for it was not there before."""

    path: str
    text: str | None
    mode: str = "0644"
    owner: str = "root:root"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What has to be written on one node.

    Attributes:
        writes: asked path → the file.
        values: kernel value → its text.
        noted: what the record says now.
        record: what to note before the first change: entries that are new, and all that were there.
        settled: what to note after the last one.
        kept: what somebody else has changed since, in words; it stays as it is.
        unset: settings that the node cannot have, in words.
    """

    writes: Mapping[str, FileWrite] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    noted: tuple[Noted, ...] = ()
    record: tuple[Noted, ...] = ()
    settled: tuple[Noted, ...] = ()
    changes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


def reconcile(wanted: Sequence[Setting], setup: Setup) -> Reconciled:
    """What has to be written so that the settings stand, and those of before that are not wanted come back.

    Args:
        wanted: all settings of the node, of all stages: two stages may set keys of one file.
        setup: the node; it was asked for every file that is named here and in its record.
    """
    noted = read_record(setup.records.get(RECORD, {}))
    found = _Found()
    for file in dict.fromkeys([*(entry.file for entry in wanted), *(entry.file for entry in noted)]):
        ours = [entry for entry in noted if entry.file == file]
        want = [entry for entry in wanted if entry.file == file]
        if file.startswith(_KERNEL):
            _reconcile_value(file, want, ours, setup, found)
        else:
            _reconcile_file(file, want, ours, setup, found)
    return Reconciled(
        writes=found.writes,
        values=found.values,
        noted=noted,
        record=tuple(found.record),
        settled=tuple(found.settled),
        changes={file: tuple(changes) for file, changes in found.changes.items()},
        kept=tuple(found.kept),
        unset=tuple(found.unset),
    )


def read_record(record: Mapping[str, object]) -> tuple[Noted, ...]:
    """The entries of /var/lib/npuctl/settings.json, of which record_trouble finds nothing wrong."""
    entries = record.get("entries")
    return tuple(
        Noted(
            file=entry["file"],
            key=entry["key"],
            item=entry["item"],
            before=entry["before"][0] if entry["before"] else ABSENT,
            ours=tuple(entry["ours"]),
            made=entry.get("made", False),
        )
        for entry in (entries if isinstance(entries, list) else [])
    )


def record_trouble(record: Mapping[str, object]) -> str:
    """Why nothing can be gone on from this record; "" where it is as npuctl writes it, or there is none."""
    if not record:
        return ""
    if "error" in record:
        return str(record["error"])
    entries = record.get("entries")
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        return "its entries are not as npuctl writes them"
    return ""


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("file"), str)
        and isinstance(entry.get("key"), str)
        and isinstance(entry.get("item"), bool)
        and isinstance(entry.get("before"), list)
        and isinstance(entry.get("ours"), list)
        and bool(entry["ours"])
    )


def record_data(entries: Sequence[Noted], cluster: str) -> dict[str, Any]:
    """The record as JSON."""
    return {
        "schema": 1,
        "cluster": cluster,
        "entries": [
            {
                "file": entry.file,
                "key": entry.key,
                "item": entry.item,
                "before": [] if entry.before is ABSENT else [entry.before],
                "ours": list(entry.ours),
                "made": entry.made,
            }
            for entry in entries
        ],
    }


_KERNEL = ("/proc/", "/sys/")
_SHOWN_LINES = 1


@dataclass(slots=True)
class _Found:
    """What was found so far; becomes a Reconciled."""

    writes: dict[str, FileWrite] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    record: list[Noted] = field(default_factory=list)
    settled: list[Noted] = field(default_factory=list)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    unset: list[str] = field(default_factory=list)
    made: set[str] = field(default_factory=set)

    def change(self, file: str, key: str, was: Any, wanted: Any) -> None:
        what = f"{file}: {key}" if key else file
        self.changes.setdefault(file, []).append(Change(what, _shown(was), _shown(wanted)))


def _reconcile_file(
    file: str, want: Sequence[Setting], ours: Sequence[Noted], setup: Setup, found: _Found
) -> None:
    there = setup.files.get(file)
    if there is not None and there.error:
        found.unset.append(f"{there.path} cannot be read: {there.error}; it stays as it is")
        _keep_notes(ours, found)
        return
    text, form = there.text if there else "", format_of(file)
    try:
        now = dict(form.read(text))
    except UnreadableError as error:
        found.unset.append(f"{file} cannot be read: {error}; it stays as it is")
        _keep_notes(ours, found)
        return
    if all(entry.made for entry in ours) if ours else there is None or there.absent:
        found.made.add(file)
    updates: dict[str, Any] = {}
    noted, settled = len(found.record), len(found.settled)
    _set_wanted(file, now, want, ours, updates, found)
    _restore_unwanted(file, now, want, ours, updates, found)
    _reconcile_items(file, now, want, ours, updates, found)
    if updates:
        try:
            fresh = form.write(text, updates)
        except UnreadableError as error:
            del found.changes[file], found.record[noted:], found.settled[settled:]
            _keep_notes(ours, found)
            found.unset.append(f"{file} stays as it is: {error}")
            return
        left = None if file in found.made and not fresh else fresh or form.empty
        owner, mode = (there.owner, there.mode) if there else ("root:root", want[0].mode if want else "0644")
        found.writes[file] = FileWrite(there.path if there else file, left, mode, owner)


def _set_wanted(
    file: str,
    now: Mapping[str, Any],
    want: Sequence[Setting],
    ours: Sequence[Noted],
    updates: dict[str, Any],
    found: _Found,
) -> None:
    for setting in want:
        if setting.item:
            continue
        current = now.get(setting.key, ABSENT)
        _take_note(setting, _note(ours, setting), current, found)
        if current != setting.value:
            updates[setting.key] = setting.value
            found.change(file, setting.key, current, setting.value)


def _restore_unwanted(
    file: str,
    now: Mapping[str, Any],
    want: Sequence[Setting],
    ours: Sequence[Noted],
    updates: dict[str, Any],
    found: _Found,
) -> None:
    for entry in ours:
        if entry.item or _is_wanted(entry, want):
            continue
        current = now.get(entry.key, ABSENT)
        found.record.append(entry)
        if current in entry.ours:
            updates[entry.key] = entry.before
            found.change(file, entry.key, current, entry.before)
        elif current != entry.before:
            found.kept.append(f"{_place(entry)} was changed by somebody else since; it stays as it is")


def _reconcile_items(
    file: str,
    now: Mapping[str, Any],
    want: Sequence[Setting],
    ours: Sequence[Noted],
    updates: dict[str, Any],
    found: _Found,
) -> None:
    keys = [entry.key for entry in want if entry.item] + [entry.key for entry in ours if entry.item]
    for key in dict.fromkeys(keys):
        current = now.get(key, [])
        listed = list(current) if isinstance(current, list) else [current]
        wanted = [setting for setting in want if setting.item and setting.key == key]
        values = [setting.value for setting in wanted]
        for setting in wanted:
            was = ABSENT if setting.value not in listed else setting.value
            _take_note(setting, _note(ours, setting), was, found)
        leaving = [
            entry for entry in ours if entry.item and entry.key == key and entry.ours[-1] not in values
        ]
        found.record += leaving
        rest = [value for value in listed if value not in values + [entry.ours[-1] for entry in leaving]]
        # Whoever has all of ours already keeps his own order.
        missing = [value for value in values if value not in listed]
        stays = [value for value in listed if value in values or value in rest]
        fresh = missing + stays if missing else stays
        if fresh != listed:
            updates[key] = fresh or ABSENT
            found.change(file, key, current if key in now else ABSENT, fresh or ABSENT)


def _reconcile_value(
    file: str, want: Sequence[Setting], ours: Sequence[Noted], setup: Setup, found: _Found
) -> None:
    answer = setup.values.get(file)
    if answer is None or answer.error:
        why = answer.error if answer else "not asked"
        if want:
            found.unset.append(f"{file} cannot be set to {want[0].value}: {why}")
        _keep_notes(ours, found)
        return
    current: Any = selected(answer.text)
    for setting in want:
        if current != str(setting.value) and answer.read_only:
            found.unset.append(f"{file} says {current}, not {setting.value}: it is mounted read-only")
            continue
        _take_note(setting, _note(ours, setting), current, found)
        if current != setting.value:
            found.values[file] = str(setting.value)
            found.change(file, "", current, setting.value)
    for entry in ours:
        if not _is_wanted(entry, want):
            found.record.append(entry)
            if current in entry.ours:
                found.values[file] = str(entry.before)
                found.change(file, "", current, entry.before)
            elif current != entry.before:
                found.kept.append(f"{_place(entry)} was changed by somebody else since; it stays as it is")


def selected(text: str) -> str:
    """The value of a kernel file: of "always [madvise] never" the word in brackets."""
    words = text.split()
    chosen = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
    return chosen[0] if len(chosen) == 1 else " ".join(words)


def _take_note(setting: Setting, note: Noted | None, current: Any, found: _Found) -> None:
    """Note what was there before: the first time only, and only where something is to change."""
    if note is None and current == setting.value:
        return
    before, ours = (current, ()) if note is None else (note.before, note.ours)
    made = setting.file in found.made
    settled = Noted(setting.file, setting.key, setting.item, before, (setting.value,), made)
    earlier = tuple(value for value in ours if value != setting.value)
    found.record.append(
        replace(settled, ours=(*earlier, setting.value) if current != setting.value else settled.ours)
    )
    found.settled.append(settled)


def _keep_notes(ours: Sequence[Noted], found: _Found) -> None:
    found.record += ours
    found.settled += ours


def _note(ours: Sequence[Noted], setting: Setting) -> Noted | None:
    for entry in ours:
        if entry.key == setting.key and entry.item == setting.item:
            if entry.item and entry.ours[-1] != setting.value:
                continue
            return entry
    return None


def _is_wanted(entry: Noted, want: Sequence[Setting]) -> bool:
    return any(setting.key == entry.key and not setting.item for setting in want)


def _place(entry: Noted) -> str:
    return f"{entry.file}: {entry.key}" if entry.key else entry.file


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    lines = text.strip().splitlines()
    if len(lines) > _SHOWN_LINES:
        return f"{len(lines)} lines"
    return masked("".join(lines))
