"""Running a playbook, with an ansible-runner of the test's own: what it is given, and what its end means."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ansible_runner
import pytest

from npuctl.errors import PlayFailedError
from npuctl.runner.events import Event
from npuctl.runner.run import Outcome, run_playbook
from tests.making import inventory_of, service_data, spec_of

SOURCE: dict[str, Any] = {"all": {"children": {"npuctl_changed": {"hosts": {"node-1": {}, "node-2": {}}}}}}
OK = {"event": "runner_on_ok", "event_data": {"host": "node-1", "task": "Run", "res": {"changed": True}}}
ERROR = {"event": "verbose", "stdout": "[ERROR]: the role was not found\n"}


class Runner:
    """What run() was called with, and what it does; `given` are the plans as they were while it ran."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.given: list[Any] = []
        self.events: list[dict[str, Any]] = [OK]
        self.status, self.rc, self.text = "successful", 0, "PLAY RECAP\n"

    def run(self, **given: Any) -> SimpleNamespace:
        private = Path(given["private_data_dir"])
        assert private.stat().st_mode & 0o777 == 0o700
        (private / "command").write_text("every variable of this process", encoding="utf-8")
        self.calls.append(given)
        self.given.append(json.loads(Path(given["inventory"][1]).read_text(encoding="utf-8")))
        signal.signal(signal.SIGTERM, lambda *_given: None)
        kept = [given["event_handler"](raw) for raw in self.events]
        assert not any(kept)
        text = SimpleNamespace(read=lambda: self.text)
        return SimpleNamespace(status=self.status, rc=self.rc, stdout=text)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    made = Runner()
    monkeypatch.setattr(ansible_runner, "run", made.run)
    return made


Play = Callable[..., Outcome]


@pytest.fixture
def play(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    inventory = inventory_of(tmp_path / "prod", spec_of(service_data()), secrets={"key": "s3cret"})
    folder = tmp_path / "run"
    folder.mkdir()

    def run(
        outcome: Outcome | None = None,
        *,
        seen: list[Event] | None = None,
        check: bool = False,
        source: dict[str, Any] = SOURCE,
    ) -> Outcome:
        own = Outcome() if outcome is None else outcome
        run_playbook(
            inventory,
            "apply.yml",
            source,
            folder,
            (seen if seen is not None else []).append,
            own,
            check=check,
        )
        return own

    return run


def test_the_plan_is_a_second_inventory_that_stays(runner: Runner, play: Play, tmp_path: Path) -> None:
    play()
    first, second = runner.calls[0]["inventory"]
    assert first == str(tmp_path / "prod")
    assert json.loads(Path(second).read_text(encoding="utf-8")) == SOURCE
    assert runner.calls[0]["playbook"] == "playbooks/apply.yml"


def test_texts_of_files_that_others_own_too_are_not_kept(runner: Runner, play: Play, tmp_path: Path) -> None:
    parts = [{"role": "package_mirror", "entry": "main"}]
    host = {
        "npuctl_parts": parts,
        "package_mirror_files": [{"path": "/etc/pip.conf", "text": "https://me:theirs@pip.example"}],
        "node_record_path": "/var/lib/npuctl/settings.json",
        "node_record_before": "https://me:theirs@pip.example",
        "container_engine_package_files": ["docker.deb"],
    }
    source = {"all": {"children": {"npuctl_changed": {"hosts": {"node-1": host}}}}}
    play(source=source)
    assert runner.given == [source], "Ansible has to write them"
    kept = {
        path: path.read_text(encoding="utf-8") for path in (tmp_path / "run").rglob("*") if path.is_file()
    }
    assert not any("theirs" in text for text in kept.values())
    (plan,) = [json.loads(text) for path, text in kept.items() if path.name == "plan-1.json"]
    assert plan["all"]["children"]["npuctl_changed"]["hosts"]["node-1"] == {
        "npuctl_parts": parts,
        "container_engine_package_files": ["docker.deb"],
    }


def test_each_play_of_a_run_keeps_its_own_plan(runner: Runner, play: Play) -> None:
    play()
    play()
    plans = [call["inventory"][1] for call in runner.calls]
    assert len(set(plans)) == 2
    assert all(Path(plan).is_file() for plan in plans)


def test_host_keys_are_checked_in_a_play_too(runner: Runner, play: Play) -> None:
    play()
    words = shlex.split(runner.calls[0]["envvars"]["ANSIBLE_SSH_ARGS"])
    assert "StrictHostKeyChecking=yes" in words
    assert runner.calls[0]["envvars"]["ANSIBLE_CONFIG"].endswith("ansible.cfg")


def test_no_secret_goes_through_the_runner(runner: Runner, play: Play) -> None:
    play()
    assert "s3cret" not in repr(runner.calls)
    assert "extravars" not in runner.calls[0]
    assert "passwords" not in runner.calls[0]


def test_check_mode_is_ansibles(runner: Runner, play: Play) -> None:
    play(check=True)
    play()
    assert [call["cmdline"] for call in runner.calls] == ["--forks 2 --check --diff", "--forks 2"]


def test_events_are_told_and_added_up(play: Play) -> None:
    seen: list[Event] = []
    outcome = play(seen=seen)
    assert [event.task for event in seen] == ["Run"]
    assert outcome.changed == {"node-1": ["Run"]}


def test_what_the_runner_wrote_is_gone(play: Play, tmp_path: Path) -> None:
    play()
    assert not (tmp_path / "run/runner").exists()


def test_what_the_runner_wrote_is_gone_whatever_ends_the_play(
    runner: Runner, play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the environment of this process, tokens and all."""

    def broken(_raw: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("npuctl.runner.run.read_event", broken)
    with pytest.raises(BrokenPipeError):
        play()
    assert not (tmp_path / "run/runner").exists()


def test_signals_are_ours_again(play: Play) -> None:
    before = signal.getsignal(signal.SIGTERM)
    play()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupt_is_noted(runner: Runner, play: Play) -> None:
    runner.status = "canceled"
    assert play().cancelled


def test_a_node_that_fails_is_no_failure_of_ansible(runner: Runner, play: Play) -> None:
    runner.status, runner.rc = "failed", 2
    runner.events = [
        {"event": "runner_on_failed", "event_data": {"host": "node-1", "task": "Run", "res": {"msg": "x"}}}
    ]
    assert play().failed == {"node-1": "Run: x"}


@pytest.mark.parametrize(
    ("events", "text", "words"),
    [
        ([ERROR], "", "Ansible ended with 4: [ERROR]: the role was not found"),
        ([], "one\ntwo\n\n", "Ansible ended with 4: two"),
        ([], "", "it said nothing"),
    ],
)
def test_an_ansible_that_cannot_run_is_an_error(
    runner: Runner, play: Play, events: list[dict[str, Any]], text: str, words: str
) -> None:
    runner.status, runner.rc, runner.events, runner.text = "failed", 4, events, text
    with pytest.raises(PlayFailedError) as caught:
        play()
    assert words in str(caught.value)


def test_an_earlier_failure_does_not_hide_that_ansible_cannot_run(runner: Runner, play: Play) -> None:
    """The second wave of a deploy: its outcome already holds the failures of the first."""
    runner.status, runner.rc, runner.events = "failed", 4, []
    with pytest.raises(PlayFailedError):
        play(Outcome(failed={"node-9": "Run: x"}))
