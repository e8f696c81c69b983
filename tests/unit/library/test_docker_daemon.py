"""library/npuctl_docker_daemon.py: files and Docker as one transaction, on files and commands of the test's own."""

from __future__ import annotations

import getpass
import grp
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

OWNER = f"{getpass.getuser()}:{grp.getgrgid(os.getgid()).gr_name}"


class Docker:
    """Docker and systemd as the module sees them: what was run, and what Docker has taken up."""

    def __init__(self, daemon: Path) -> None:
        self.daemon = daemon
        self.calls: list[str] = []
        self.taken: list[str] = []
        self.refuses = ""
        self.validates = True

    def run(self, words: list[str]) -> tuple[int, str, str]:
        self.calls.append(" ".join(words[:2]))
        if words[0] == "dockerd":
            if not self.validates:
                return 125, "", "unknown flag: --validate"
            text = Path(words[words.index("--config-file") + 1]).read_text()
            return (1, "", f"unable to configure: {self.refuses}") if self.bad(text) else (0, "OK", "")
        if words[:2] in (["systemctl", "reload"], ["systemctl", "restart"]):
            text = self.daemon.read_text() if self.daemon.exists() else "{}"
            if self.bad(text):
                return (1, "", "Job failed") if words[1] == "restart" else (0, "", "")
            self.taken.append(text)
        return (
            (0, f'level=error msg="it says \\"{self.refuses}\\""\n', "")
            if words[0] == "journalctl"
            else (0, "", "")
        )

    def bad(self, text: str) -> bool:
        return bool(self.refuses) and self.refuses in text

    def call(self, _method: str, path: str, *_more: Any, **_options: Any) -> Any:
        if path == "/events":
            return b"{}" if self.taken else b""
        return {"Runtimes": (json.loads(self.taken[-1]) if self.taken else {}).get("runtimes", {})}


@pytest.fixture
def docker(
    library_module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Docker]:
    module: Any = library_module("npuctl_docker_daemon")
    fake = Docker(tmp_path / "daemon.json")
    monkeypatch.setattr(module, "DAEMON", str(fake.daemon))
    monkeypatch.setattr(module, "TAKEN_SECONDS", 0)
    monkeypatch.setattr(module.docker, "call", fake.call)
    monkeypatch.setattr(module, "flags", list)
    fake.daemon.write_text('{"debug": true}')
    return module, fake


def settle(
    docker: tuple[Any, Docker],
    text: str | None,
    effect: str = "reload",
    *,
    check_mode: bool = False,
    **more: Any,
) -> list[str]:
    module, fake = docker
    file = {"path": str(fake.daemon), "text": text, "mode": "0644", "owner": OWNER}
    own = {"files": [file], "seen": {}, "effect": effect, "runtimes": [], "unit": "docker.service"}
    params = {**own, "record": str(fake.daemon.parent / "own" / "record.json"), **more}
    daemon = module.Daemon(params, fake.run, check_mode=check_mode)
    daemon.settle()
    done: list[str] = daemon.done
    return done


def record(docker: tuple[Any, Docker]) -> Path:
    return docker[1].daemon.parent / "own" / "record.json"


@pytest.mark.parametrize("effect", ["reload", "restart"])
def test_files_are_written_and_taken_up_once(docker: tuple[Any, Docker], effect: str) -> None:
    text = '{"debug": false}'
    assert settle(docker, text, effect) == [f"wrote {docker[1].daemon}", f"{effect}ed"]
    assert docker[1].taken == [text]
    assert not record(docker).exists()
    docker[1].calls.clear()
    assert settle(docker, text, effect) == []
    assert docker[1].calls == []


def test_check_mode_says_the_same_and_does_nothing(docker: tuple[Any, Docker]) -> None:
    assert settle(docker, "{}", check_mode=True) == [f"wrote {docker[1].daemon}", "reload"]
    assert docker[1].calls == []
    assert docker[1].daemon.read_text() == '{"debug": true}'


def test_a_key_that_goes_is_told_with_its_default_first(docker: tuple[Any, Docker]) -> None:
    settle(docker, '{"labels": []}')
    assert [json.loads(text) for text in docker[1].taken] == [{"labels": [], "debug": False}]
    assert docker[1].daemon.read_text() == '{"labels": []}'


def test_a_file_that_goes_is_taken_back_too(docker: tuple[Any, Docker]) -> None:
    assert settle(docker, None) == [f"removed {docker[1].daemon}", "reloaded"]
    assert docker[1].taken == ['{"debug": false}']
    assert not docker[1].daemon.exists()


@pytest.mark.parametrize("effect", ["reload", "restart"])
def test_what_docker_refuses_is_not_written(docker: tuple[Any, Docker], effect: str) -> None:
    docker[1].refuses = "nonsense"
    with pytest.raises(docker[0].DaemonError, match=r"dockerd refuses .*nonsense; nothing was done"):
        settle(docker, '{"x": "nonsense"}', effect)
    assert docker[1].daemon.read_text() == '{"debug": true}'
    assert docker[1].taken == []


@pytest.mark.parametrize("effect", ["reload", "restart"])
def test_what_an_older_docker_refuses_later_is_put_back(docker: tuple[Any, Docker], effect: str) -> None:
    docker[1].refuses, docker[1].validates = "nonsense", False
    with pytest.raises(
        docker[0].DaemonError, match=r'it says "nonsense".*the former files are back, and Docker runs'
    ):
        settle(docker, '{"x": "nonsense"}', effect)
    assert docker[1].daemon.read_text() == '{"debug": true}'
    assert docker[1].taken[-1] == '{"debug": true}'
    assert not record(docker).exists()


def test_what_is_no_json_is_refused(docker: tuple[Any, Docker]) -> None:
    docker[1].validates = False
    with pytest.raises(docker[0].DaemonError, match="no JSON"):
        settle(docker, '{"x": ')
    assert docker[1].daemon.read_text() == '{"debug": true}'


def test_a_runtime_that_docker_does_not_know_then_is_a_failure(docker: tuple[Any, Docker]) -> None:
    with pytest.raises(docker[0].DaemonError, match="does not know the runtime ascend"):
        settle(docker, '{"debug": false}', runtimes=["ascend"])
    assert docker[1].daemon.read_text() == '{"debug": true}'


def test_a_file_that_somebody_changed_meanwhile_is_left_alone(docker: tuple[Any, Docker]) -> None:
    path = str(docker[1].daemon)
    seen = {path: hashlib.sha256(b"{}").hexdigest()}
    with pytest.raises(docker[0].DaemonError, match="changed since it was read; nothing was done"):
        settle(docker, '{"debug": false}', seen=seen)
    seen = {path: hashlib.sha256(b'{"debug": true}').hexdigest()}
    assert settle(docker, '{"debug": false}', seen=seen)


def test_what_a_killed_run_owes_is_made_good(docker: tuple[Any, Docker]) -> None:
    record(docker).parent.mkdir()
    record(docker).write_text('{"owed": "restart"}')
    assert settle(docker, '{"debug": true}', "none") == ["restarted"]
    assert not record(docker).exists()


def test_it_is_noted_before_the_first_change(
    docker: tuple[Any, Docker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_file: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(docker[0], "put", killed)
    with pytest.raises(KeyboardInterrupt):
        settle(docker, "{}", "restart")
    assert json.loads(record(docker).read_text()) == {"owed": "restart"}


class Killed(BaseException):
    """The module's process ends here: nothing after it is done, no `finally` either."""


def killed_at(
    docker: tuple[Any, Docker], monkeypatch: pytest.MonkeyPatch, what: str, text: str | None
) -> None:
    def die(*_given: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(docker[0], "put_meant", lambda: None)
        patch.setattr(docker[0].Daemon, what, die)
        with pytest.raises(Killed):
            settle(docker, text)


def left(docker: tuple[Any, Docker]) -> set[str]:
    return {
        path.name for folder in (docker[1].daemon.parent, record(docker).parent) for path in folder.iterdir()
    }


@pytest.mark.parametrize("text", ['{\n "labels": []\n}', None])
@pytest.mark.parametrize("again", [True, False])
def test_a_reload_that_was_killed_in_the_middle_is_finished(
    docker: tuple[Any, Docker],
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    again: bool,  # noqa: FBT001
) -> None:
    killed_at(docker, monkeypatch, "signal", text)
    assert json.loads(docker[1].daemon.read_text())["debug"] is False
    path = str(docker[1].daemon)
    seen = {path: hashlib.sha256(docker[1].daemon.read_bytes()).hexdigest()}
    # The next plan may have the file among what it writes, or have nothing to say of it but what is owed.
    more: dict[str, Any] = {"seen": seen} if again else {"files": []}
    assert settle(docker, text, "none", **more)[-1] == "reloaded"
    assert (docker[1].daemon.read_text() if docker[1].daemon.exists() else None) == text
    assert json.loads(docker[1].taken[-1])["debug"] is False, "Docker was never told that it is the default"
    assert left(docker) <= {"daemon.json", "own"}


def test_what_somebody_wrote_after_the_kill_stays(
    docker: tuple[Any, Docker], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(docker, monkeypatch, "signal", "{}")
    docker[1].daemon.write_text('{"icc": false}')
    assert settle(docker, None, "none", files=[]) == ["reloaded"]
    assert docker[1].daemon.read_text() == '{"icc": false}'
    assert left(docker) == {"daemon.json", "own"}


def test_a_key_that_went_before_the_kill_is_told_with_its_default(
    docker: tuple[Any, Docker], monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_at(docker, monkeypatch, "take_up", "{}")
    assert docker[1].daemon.read_text() == "{}"
    assert settle(docker, "{}", "none") == ["reloaded"]
    assert json.loads(docker[1].taken[-1]) == {"debug": False}
    assert docker[1].daemon.read_text() == "{}"
