"""Settings are made, noted, taken back, and left alone where somebody else has changed them since."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuctl.facts.setup import Answered, Setup, TextFile
from npuctl.plan.provision.settings import (
    RECORD,
    Reconciled,
    Setting,
    reconcile,
    record_data,
    selected,
)

FILE = "/etc/npuctl-test.conf"
SWAPPINESS = "/proc/sys/vm/swappiness"


class Machine:
    """A machine's files and kernel values, changed as a play changes them."""

    def __init__(self, files: dict[str, str] | None = None, values: dict[str, str] | None = None) -> None:
        self.files = dict(files or {})
        self.values = dict(values or {})
        self.record: dict[str, Any] = {}

    def setup(self) -> Setup:
        noted = {entry["file"] for entry in self.record.get("entries", [])}
        return Setup(
            files={
                path: TextFile(path=path, text=self.files[path]) if path in self.files else None
                for path in {FILE, *self.files, *noted}
            },
            values={path: Answered(text=text) for path, text in self.values.items()},
            records={RECORD: self.record} if self.record else {},
        )

    def apply(self, *wanted: Setting, killed_after: int | None = None) -> Reconciled:
        """One provisioning; killed after so many steps (the record is the first)."""
        done = reconcile(wanted, self.setup())
        steps: list[Any] = [lambda: self.note(done.record)]
        steps += [
            lambda path=path, write=write: self.write(path, write.text) for path, write in done.writes.items()
        ]
        steps += [
            lambda path=path, text=text: self.values.update({path: text})
            for path, text in done.values.items()
        ]
        steps.append(lambda: self.note(done.settled))
        for step in steps[:killed_after]:
            step()
        return done

    def note(self, entries: Any) -> None:
        self.record = record_data(entries, "prod")

    def write(self, path: str, text: str | None) -> None:
        if text is None:
            self.files.pop(path, None)
        else:
            self.files[path] = text


def whole(text: str) -> Setting:
    return Setting(FILE, "", text)


def test_a_file_that_was_not_there_is_made_and_goes_again() -> None:
    machine = Machine()
    machine.apply(whole("ours\n"))
    assert machine.files == {FILE: "ours\n"}
    machine.apply()
    assert machine.files == {}
    assert machine.record["entries"] == []


def test_what_was_there_before_comes_back() -> None:
    machine = Machine({FILE: "theirs\n"}, {SWAPPINESS: "60\n"})
    machine.apply(whole("ours\n"), Setting(SWAPPINESS, "", "0"))
    assert (machine.files[FILE], machine.values[SWAPPINESS]) == ("ours\n", "0")
    machine.apply()
    assert (machine.files[FILE], machine.values[SWAPPINESS]) == ("theirs\n", "60")


def test_a_second_run_finds_nothing_to_do() -> None:
    machine = Machine({FILE: "theirs\n"}, {SWAPPINESS: "60"})
    wanted = [whole("ours\n"), Setting(SWAPPINESS, "", "0")]
    machine.apply(*wanted)
    again = machine.apply(*wanted)
    assert not again.writes
    assert not again.values
    assert not again.changes
    assert again.record == again.settled


def test_what_was_so_already_is_not_ours_to_take_back() -> None:
    machine = Machine({FILE: "same\n"})
    machine.apply(whole("same\n"))
    machine.apply()
    assert machine.files == {FILE: "same\n"}


def test_the_first_value_comes_back_though_the_wish_changed_meanwhile() -> None:
    machine = Machine({FILE: "theirs\n"})
    machine.apply(whole("first\n"))
    machine.apply(whole("second\n"))
    machine.apply()
    assert machine.files == {FILE: "theirs\n"}


def test_what_somebody_changed_since_is_his() -> None:
    machine = Machine({FILE: "theirs\n"})
    machine.apply(whole("ours\n"))
    machine.files[FILE] = "theirs, new\n"
    done = machine.apply()
    assert machine.files == {FILE: "theirs, new\n"}
    assert done.kept == (f"{FILE} was changed by somebody else since; it stays as it is",)
    assert machine.record["entries"] == []


@pytest.mark.parametrize("killed_after", range(5))
def test_a_kill_at_any_moment_loses_nothing(killed_after: int) -> None:
    machine = Machine({FILE: "theirs\n"}, {SWAPPINESS: "60"})
    wanted = [whole("ours\n"), Setting(SWAPPINESS, "", "0")]
    machine.apply(*wanted, killed_after=killed_after)
    machine.apply(*wanted)
    assert (machine.files[FILE], machine.values[SWAPPINESS]) == ("ours\n", "0")
    machine.apply(killed_after=killed_after)
    machine.apply()
    assert (machine.files[FILE], machine.values[SWAPPINESS]) == ("theirs\n", "60")
    assert machine.record["entries"] == []


def test_a_value_that_the_kernel_does_not_have_is_said_and_not_noted() -> None:
    done = reconcile(
        [Setting("/proc/sys/kernel/gone", "", "1")],
        Setup(values={"/proc/sys/kernel/gone": Answered(error="absent")}),
    )
    assert done.unset == ("/proc/sys/kernel/gone cannot be set to 1: absent",)
    assert done.record == ()
    assert not done.changes


def test_a_value_on_a_read_only_mount_is_said_and_not_tried() -> None:
    there = Answered(text="60", read_only=True)
    done = reconcile([Setting(SWAPPINESS, "", "0")], Setup(values={SWAPPINESS: there}))
    assert not done.values
    assert done.unset == (f"{SWAPPINESS} says 60, not 0: it is mounted read-only",)


def test_a_read_only_value_that_is_right_already_is_no_matter() -> None:
    there = Answered(text="0", read_only=True)
    done = reconcile([Setting(SWAPPINESS, "", "0")], Setup(values={SWAPPINESS: there}))
    assert (done.unset, done.changes) == ((), {})


def test_a_file_that_cannot_be_read_is_never_written() -> None:
    setup = Setup(files={FILE: TextFile(path=FILE, error="not UTF-8")})
    done = reconcile([whole("ours\n")], setup)
    assert not done.writes
    assert done.unset == (f"{FILE} cannot be read: not UTF-8; it stays as it is",)


def test_owner_and_mode_of_a_file_stay() -> None:
    setup = Setup(files={FILE: TextFile(path=FILE, text="x\n", mode="0600", owner="ops:ops")})
    write = reconcile([whole("ours\n")], setup).writes[FILE]
    assert (write.mode, write.owner) == ("0600", "ops:ops")


def test_a_password_in_an_address_is_not_shown() -> None:
    setup = Setup(files={FILE: TextFile(path=FILE, text="index=https://me:word@pypi.example/simple\n")})
    (change,) = reconcile([whole("index=https://pypi.example\n")], setup).changes[FILE]
    assert "word" not in change.was
    assert "https://***@pypi.example/simple" in change.was


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("always [madvise] never\n", "madvise"),
        ("60\n", "60"),
        ("", ""),
        ("8000-8003,9000\n", "8000-8003,9000"),
    ],
)
def test_the_value_of_a_kernel_file(text: str, value: str) -> None:
    assert selected(text) == value


VALUES = st.sampled_from(["", "a\n", "b\n", "c\n"])


@given(before=VALUES, wishes=st.lists(VALUES, max_size=6), kills=st.lists(st.integers(0, 4), max_size=6))
def test_whatever_was_wished_and_killed_the_end_is_the_beginning(
    before: str, wishes: list[str], kills: list[int]
) -> None:
    machine = Machine({FILE: before} if before else {})
    for wish, kill in zip(wishes, [*kills, *[9] * len(wishes)], strict=False):
        machine.apply(*([whole(wish)] if wish else []), killed_after=kill)
    machine.apply()
    assert machine.files == ({FILE: before} if before else {})
    assert reconcile([], machine.setup()) == Reconciled()


def test_a_file_that_cannot_be_written_keeps_its_notes_and_no_new_ones() -> None:
    daemon = "/etc/docker/daemon.json"
    machine = Machine({daemon: '{"debug": false, "log-opts": "theirs"}\n'})
    machine.apply(Setting(daemon, "debug", value=True))
    noted = machine.record
    refused = machine.apply(Setting(daemon, "log-opts.max-size", "1g"))
    assert not refused.writes
    assert refused.unset
    assert machine.record == noted, "debug is still ours to give back"
    machine.apply()
    assert machine.files == {daemon: '{"debug": false, "log-opts": "theirs"}\n'}
