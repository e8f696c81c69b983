"""library/module_utils/npuctl_run_package.py with real processes: run once, whoever asks, whatever breaks."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.making import REPOSITORY

Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A package that is a shell script."""

    def build(script: str) -> Path:
        path = tmp_path / "package.run"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return path

    return build


# In a process of its own, as on a node: a fork of one that has threads, as this one may, is none to rely on.
PROGRAM = """
import json, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
from ansible.module_utils import npuctl_run_package as run_package
path, folder, identity, seconds, said = sys.argv[2:]
try:
    print(json.dumps(run_package.run(path, ["--full"], "job", identity, float(seconds), folder, said)))
except run_package.PackageError as error:
    print(json.dumps({"error": str(error)}))
"""


def apart(
    path: Path, folder: Path, identity: str = "one", seconds: float = 20, said: str = ""
) -> subprocess.Popen[bytes]:
    """Begin a run and do not wait."""
    utils = REPOSITORY / "library/module_utils"
    words = [str(word) for word in (utils, path, folder, identity, seconds, said)]
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE)


def answer_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(process.communicate(timeout=30)[0])
    return answer


def run(path: Path, folder: Path, identity: str = "one", seconds: float = 20) -> dict[str, Any]:
    return answer_of(apart(path, folder, identity, seconds))


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_exit_code_and_the_last_lines_come_back(make: Make, tmp_path: Path) -> None:
    answer = run(make("echo arguments $*; pwd; exit 0"), tmp_path / "notes")
    assert answer == {"rc": 0, "reboot_owed": False, "lines": "arguments --full\n/", "started": True}
    assert (tmp_path / "notes/job.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "notes/job.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("said", "rc"), [("Y\n", 0), ("N\n", 3), ("", 3)])
def test_a_question_is_answered_as_was_decided(make: Make, tmp_path: Path, said: str, rc: int) -> None:
    asks = make('echo "accept?"; read -r word || exit 3; [ "$word" = Y ] || exit 3')
    assert answer_of(apart(asks, tmp_path, said=said))["rc"] == rc


@pytest.mark.parametrize(
    ("script", "rc", "owed"),
    [
        ("exit 2", 2, True),
        ("echo 'Reboot needed for installation/upgrade to take effect!'; exit 0", 0, True),
        ("echo 'There are some chips not ready, please check after reboot'", 0, True),
        ("echo 'Kernel modules can not be removed, reboot needed'; exit 1", 1, False),
        ("echo 'The new version takes effect immediately.'", 0, False),
    ],
)
def test_whether_a_reboot_is_owed(make: Make, tmp_path: Path, script: str, rc: int, owed: bool) -> None:  # noqa: FBT001
    answer = run(make(script), tmp_path)
    assert (answer["rc"], answer["reboot_owed"]) == (rc, owed)


def test_for_one_identity_a_package_is_run_once(make: Make, tmp_path: Path) -> None:
    path = make(f"echo x >> {tmp_path}/count")
    first, second, other = run(path, tmp_path), run(path, tmp_path), run(path, tmp_path, "two")
    assert (first["started"], second["started"], other["started"]) == (True, False, True)
    assert (tmp_path / "count").read_text() == "x\nx\n"


def test_a_killed_caller_does_not_end_the_package_and_the_next_one_waits_for_it(
    make: Make, tmp_path: Path
) -> None:
    path = make(f"echo x >> {tmp_path}/count; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 2")
    caller = apart(path, tmp_path)
    until((tmp_path / "count").exists)
    with caller:
        caller.send_signal(signal.SIGKILL)
    assert json.loads((tmp_path / "job.json").read_text())["state"] == "running"
    again = apart(path, tmp_path)
    time.sleep(0.3)
    assert again.poll() is None
    (tmp_path / "go").touch()
    assert answer_of(again)["rc"] == 2
    assert (tmp_path / "count").read_text() == "x\n"


def test_who_does_not_wait_long_enough_is_told_that_it_goes_on(make: Make, tmp_path: Path) -> None:
    path = make(f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    assert "still runs after 0.0 s; it goes on by itself" in run(path, tmp_path, seconds=0)["error"]
    assert "another installation runs here" in run(path, tmp_path, "two", seconds=0)["error"]
    (tmp_path / "go").touch()
    assert run(path, tmp_path)["rc"] == 0


def test_a_package_that_was_killed_is_run_again(make: Make, tmp_path: Path) -> None:
    path = make(f"echo $$ >> {tmp_path}/pids; [ -e {tmp_path}/go ] || exec sleep 60")
    caller = apart(path, tmp_path)
    until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"))
    # The process that watches it first: it must not note an end that it did not see.
    pid = int((tmp_path / "pids").read_text())
    watcher = int(Path(f"/proc/{pid}/stat").read_text().split()[3])
    os.kill(watcher, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert "was ended before its end" in answer_of(caller)["error"]
    (tmp_path / "go").touch()
    assert run(path, tmp_path)["rc"] == 0
    assert len((tmp_path / "pids").read_text().splitlines()) == 2


def test_a_service_that_the_package_starts_stands_in_nobodys_way(make: Make, tmp_path: Path) -> None:
    path = make(f"sleep 60 & echo $! > {tmp_path}/pid; exit 0")
    assert run(path, tmp_path)["rc"] == 0
    try:
        assert run(path, tmp_path, "two")["rc"] == 0
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_a_file_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    assert "cannot be started: No such file" in run(tmp_path / "absent.run", tmp_path)["error"]


@pytest.fixture
def run_package(library_module: Callable[[str], ModuleType]) -> Any:
    return library_module("npuctl_ascend_package").run_package


def test_a_damaged_package_is_refused(make: Make, run_package: Any) -> None:
    path = make('[ "$1" = --check ] || exit 9')
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    run_package.verify(str(path), right)
    with pytest.raises(run_package.PackageError, match="damaged on the way"):
        run_package.verify(str(path), "0" * 64)


def test_a_package_whose_own_check_fails_is_refused(make: Make, run_package: Any) -> None:
    path = make("echo 'Error in MD5 checksums: 1 is different from 2'; exit 1")
    with pytest.raises(run_package.PackageError, match="ended with 1 and said: Error in MD5"):
        run_package.verify(str(path))
