"""One change at a time; the kernel gives the lock of a dead process back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from npuctl.errors import LockedError
from npuctl.state.lock import hold_lock
from tests.making import REPOSITORY

HOLDER = """
import sys, pathlib
sys.path.insert(0, sys.argv[2])
from npuctl.state.lock import hold_lock
with hold_lock(pathlib.Path(sys.argv[1]), "deploy"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(state: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", HOLDER, str(state), str(REPOSITORY)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
        holder.kill()


def test_a_second_one_is_refused_and_told_who(tmp_path: Path) -> None:
    with another(tmp_path) as holder, pytest.raises(LockedError) as caught, hold_lock(tmp_path, "stop"):
        pass
    assert "`npuctl deploy`" in str(caught.value)
    assert f"(pid {holder.pid})" in str(caught.value)
    assert "since 2" in str(caught.value)
    assert caught.value.exit_code == 8


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    with another(tmp_path) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(10)
        with hold_lock(tmp_path, "stop"):
            assert '"verb": "stop"' in (tmp_path / "lock").read_text(encoding="utf-8")


def test_the_lock_is_given_back_whatever_ends_the_block(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold_lock(tmp_path, "stop"):
        raise RuntimeError
    with hold_lock(tmp_path, "stop"):
        pass


def test_within_one_process_too(tmp_path: Path) -> None:
    with hold_lock(tmp_path, "deploy"), pytest.raises(LockedError), hold_lock(tmp_path, "stop"):
        pass


def test_a_refusal_leaves_the_holders_name(tmp_path: Path) -> None:
    with hold_lock(tmp_path, "deploy"):
        for _ in range(2):
            with pytest.raises(LockedError, match="npuctl deploy"), hold_lock(tmp_path, "stop"):
                pass


@pytest.mark.parametrize("text", ["", "[]", "{", '{"verb": 1}'])
def test_a_holder_that_has_not_written_its_name_yet(tmp_path: Path, text: str) -> None:
    with hold_lock(tmp_path, "deploy"):
        (tmp_path / "lock").write_text(text, encoding="utf-8")
        with pytest.raises(LockedError, match="only just begun"), hold_lock(tmp_path, "stop"):
            pass


def test_the_folder_is_made_private(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "state", "deploy"):
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_who_has_the_lock_removes_what_a_killed_run_left(tmp_path: Path) -> None:
    """Also where nothing has to change, so that no new run begins."""
    left = tmp_path / "runs" / "20260101T000000-deploy-abcd" / "runner" / "artifacts"
    left.mkdir(parents=True)
    (left / "command").write_text("TOKEN=canary", encoding="utf-8")
    with hold_lock(tmp_path, "deploy"):
        assert not left.exists()
    assert left.parents[1].is_dir()
