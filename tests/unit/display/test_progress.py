"""Progress: plain lines, JSON lines, and when each is chosen."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

import pytest

from npuctl.display.progress import JsonLines, Live, Plain, open_progress
from npuctl.health.verdict import ReplicaHealth, State
from npuctl.operate.progress import Notice
from npuctl.runner.events import Event

EVENT = Event("node-1", "npu_container", "Run the container as planned", "changed", 1.25, "created, started")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


def health(state: State = "starting", **changes: Any) -> ReplicaHealth:
    return ReplicaHealth("chat", "chat-0", "node-1", state, "no port yet", **changes)


def test_a_notice_is_a_line() -> None:
    assert Plain(lambda _text: None).line(Notice("inspect", "asking 2 nodes")) == "inspect: asking 2 nodes"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (EVENT, "  node-1 Run the container as planned: created, started (1.2 s)"),
        (Event("n", "r", "Write", "changed", 0.04), "  n Write: changed (0.0 s)"),
        (Event("n", "r", "Run", "failed", 1, "boom"), "  n FAILED Run: boom"),
        (Event("n", "r", "Run", "unreachable", 1, "off"), "  n UNREACHABLE Run: off"),
        (Event("n", "r", "Pull", "waiting", 0, "1.0 of 4.0 GiB"), "  n Pull: 1.0 of 4.0 GiB"),
        (Event("n", "r", "Pull", "waiting"), "  n Pull: not yet"),
        (Event("n", "r", "Run", "ok"), ""),
        (Event("n", "r", "Run", "started"), ""),
    ],
)
def test_an_event_is_a_line_where_something_happened(event: Event, line: str) -> None:
    assert Plain(lambda _text: None).line(event) == line


def test_what_could_not_be_done_is_a_line_though_nothing_changed() -> None:
    event = Event(
        "node-1", "os_tuning", "Set kernel values", "ok", 0.5, "/sys/x cannot be set to 1: no", notable=True
    )
    assert "cannot be set to 1" in Plain(lambda _text: None).line(event)


def test_nothing_is_written_where_nothing_is_new() -> None:
    written: list[str] = []
    plain = Plain(written.append)
    plain(Event("n", "r", "Run", "ok"))
    plain(Notice("a", "b"))
    assert written == ["a: b\n"]


def test_a_state_is_told_when_it_changes_and_now_and_then() -> None:
    clock = Clock()
    plain = Plain(lambda _text: None, clock=clock)
    assert (
        plain.line(health(log=("one", "loading 1/4 ")))
        == "  node-1 chat-0 starting (no port yet): loading 1/4"
    )
    clock.now += 4
    assert plain.line(health()) == ""
    clock.now += 1
    assert plain.line(health()) == "  node-1 chat-0 starting (no port yet)"
    assert plain.line(health("ready", log=("x",))) == "  node-1 chat-0 ready (no port yet)"
    assert plain.line(health("ready")) == ""


def test_each_replica_has_its_own_state() -> None:
    plain = Plain(lambda _text: None, clock=Clock())
    plain.line(health())
    assert plain.line(ReplicaHealth("chat", "chat-1", "n", "starting", "x"))


@pytest.mark.parametrize(
    ("progress", "kind"), [(Notice("a", "ü"), "notice"), (EVENT, "event"), (health(log=("x",)), "health")]
)
def test_json_lines(progress: Notice | Event | ReplicaHealth, kind: str) -> None:
    stream = io.StringIO()
    JsonLines(stream)(progress)
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["type"] == kind
    if kind == "notice":
        assert json.loads(line) == {"type": "notice", "stage": "a", "text": "ü"}


def test_a_live_display_keeps_lines_and_redraws_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _descriptor: os.terminal_size((20, 5)))
    stream = Terminal()
    live = Live(stream)
    live(Event("node-1", "r", "A task with a long name", "started"))
    live(EVENT)
    text = stream.getvalue()
    assert "… node-1: A task wi" in text
    assert "long name" not in text
    assert "created, started (1.2 s)\n" in text


@pytest.mark.parametrize(
    ("environment", "terminal", "kind"),
    [
        ({}, True, Live),
        ({"NO_COLOR": "1"}, True, Plain),
        ({"TERM": "dumb"}, True, Plain),
        ({}, False, Plain),
    ],
)
def test_the_display_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    terminal: bool,  # noqa: FBT001
    kind: type,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    assert isinstance(open_progress("text"), kind)
    assert isinstance(open_progress("json"), JsonLines)
