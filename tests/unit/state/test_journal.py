"""The journal: a line before and after each run, whatever ends it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from npuctl.errors import CancelledError
from npuctl.operate.record import recorded
from npuctl.plan.model import Step
from npuctl.runner.events import Event
from npuctl.state.journal import KEPT_RUNS, begin_run, read_journal, summarise
from tests.making import inventory_of, service_data, spec_of

STEP = Step("node-1", "create", "chat-0", "npuctl-prod-chat-0", "vllm", "/etc/npuctl/prod/chat-0")


def events(state: Path) -> list[str]:
    return [line["event"] for line in read_journal(state)]


def test_there_is_no_journal_at_first(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == []


def test_a_run_has_a_private_folder_and_a_beginning(tmp_path: Path) -> None:
    run = begin_run(tmp_path, "deploy", {"steps": ["ü"]})
    (line,) = read_journal(tmp_path)
    assert (line["event"], line["verb"], line["run"], line["steps"]) == ("begun", "deploy", run.id, ["ü"])
    assert line["time"].endswith("+00:00")
    assert run.folder.stat().st_mode & 0o777 == 0o700
    assert run.folder.parent.stat().st_mode & 0o777 == 0o700
    assert run.journal.stat().st_mode & 0o777 == 0o600
    assert run.folder.name == run.id


def test_runs_have_names_of_their_own(tmp_path: Path) -> None:
    names = [begin_run(tmp_path, "deploy", {}).id for _ in range(5)]
    assert len(set(names)) == 5


def test_lines_are_only_added(tmp_path: Path) -> None:
    run = begin_run(tmp_path, "stop", {})
    first = run.journal.read_text(encoding="utf-8")
    run.write("result", failed={})
    assert run.journal.read_text(encoding="utf-8").startswith(first)
    assert events(tmp_path) == ["begun", "result"]


def test_a_line_is_on_the_disk_before_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    journal = tmp_path / "journal.jsonl"
    monkeypatch.setattr(os, "fsync", lambda _descriptor: synced.append(journal.read_text(encoding="utf-8")))
    begin_run(tmp_path, "stop", {})
    assert [text.count("\n") for text in synced] == [1]


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    run = begin_run(tmp_path, "stop", {})
    with run.journal.open("ab") as stream:
        stream.write(b'{"event": "resu\xc3\n')
    run.write("ended")
    assert events(tmp_path) == ["begun", "ended"]


def test_a_line_that_was_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    """A kill, or a full disk, leaves no newline behind it."""
    run = begin_run(tmp_path, "stop", {})
    with run.journal.open("ab") as stream:
        stream.write(b'{"event": "resu')
    begin_run(tmp_path, "start", {})
    assert events(tmp_path) == ["begun", "begun"]


def test_only_the_last_runs_keep_their_folders(tmp_path: Path) -> None:
    old = tmp_path / "runs" / "20200101T000000-deploy-0000"
    old.mkdir(parents=True)
    runs = [begin_run(tmp_path, "deploy", {}) for _ in range(KEPT_RUNS + 5)]
    left = {path.name for path in (tmp_path / "runs").iterdir()}
    assert len(left) <= KEPT_RUNS + 1
    assert old.name not in left
    assert runs[-1].id in left
    assert len(read_journal(tmp_path)) == KEPT_RUNS + 5


def test_a_run_that_went_well_is_begun_and_ended(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, spec_of(service_data()))
    with recorded(inventory, "deploy", [STEP], dry_run=False) as change:
        change.run.write("result", exit_code=0)
    lines = read_journal(inventory.state)
    assert [line["event"] for line in lines] == ["begun", "result", "ended"]
    assert len({line["run"] for line in lines}) == 1
    assert lines[0]["steps"] == [{"node": "node-1", "replica": "chat-0", "action": "create"}]


@pytest.mark.parametrize(
    ("error", "event", "seen"),
    [
        (KeyboardInterrupt(), "interrupted", CancelledError),
        (RuntimeError("boom"), "failed", RuntimeError),
        (SystemExit(1), "failed", SystemExit),
    ],
)
def test_a_run_that_did_not_says_so_and_goes_on_failing(
    tmp_path: Path, error: BaseException, event: str, seen: type[BaseException]
) -> None:
    inventory = inventory_of(tmp_path, spec_of(service_data()))
    with pytest.raises(seen), recorded(inventory, "deploy", [STEP]):
        raise error
    last = read_journal(inventory.state)[-1]
    assert last["event"] == event
    assert str(error) in last.get("error", "")


def test_an_interrupted_run_says_what_was_done(tmp_path: Path) -> None:
    inventory = inventory_of(tmp_path, spec_of(service_data()))
    other = Step("node-2", "create", "chat-1", "c", "vllm", "/d")
    event = Event("node-1", "r", "Run", "changed", message="created, started")

    def interrupted() -> None:
        with recorded(inventory, "deploy", [STEP, other]) as change:
            change.outcome.add(event)
            raise KeyboardInterrupt

    with pytest.raises(CancelledError) as caught:
        interrupted()
    assert str(caught.value).splitlines() == [
        "deploy was interrupted",
        "  node-1: created, started",
        "  node-2: nothing was changed",
    ]
    assert caught.value.exit_code == 130
    assert read_journal(inventory.state)[-1]["changed"] == {"node-1": ["created, started"]}


def test_every_line_is_json(tmp_path: Path) -> None:
    begin_run(tmp_path, "deploy", {"text": 'a"b\nc'}).write("ended")
    for line in (tmp_path / "journal.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line)


def line(run: str, event: str, **more: Any) -> dict[str, Any]:
    return {"run": run, "verb": "deploy", "time": "2026-01-01T00:00:00.000+00:00", "event": event, **more}


def test_the_history_tells_how_each_run_ended() -> None:
    lines = [
        line("a", "begun"),
        line("a", "result", exit_code=6),
        line("a", "ended"),
        line("b", "begun"),
        line("c", "begun"),
        line("c", "interrupted"),
        line("d", "begun"),
        line("d", "failed", error="PlayFailedError: no"),
        line("of-a-begin-that-was-cut-off", "ended"),
    ]
    assert [(past.id, past.end, past.exit_code) for past in summarise(lines)] == [
        ("a", "ended with 6", 6),
        ("b", "has no end in the journal: it was killed, or is still going on", None),
        ("c", "interrupted", None),
        ("d", "failed: PlayFailedError: no", None),
    ]
