"""library/module_utils/npuctl_command.py with tools of the test's own, as small scripts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.hardware.hccn_tool import HccnBusyError, parse_link

Script = Callable[[str, str], None]


@pytest.fixture
def command(library_module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    loaded = library_module("npuctl_command")
    monkeypatch.setattr(loaded, "BUSY_PAUSE_SECONDS", 0.01)
    return loaded


@pytest.mark.parametrize(
    ("argv", "seconds", "rc", "words"),
    [
        (["sh", "-c", "echo out; echo err >&2; exit 3"], 5, 3, "err"),
        (["no-such-tool"], 5, None, "no-such-tool is not installed"),
        (["sleep", "5"], 0.05, None, "sleep did not end within 0.05 s"),
        (["/"], 5, None, "/: "),
    ],
)
def test_a_tool_is_run_and_never_waited_for_in_vain(
    command: Any, argv: list[str], seconds: float, rc: int | None, words: str
) -> None:
    answer = command.run(argv, seconds)
    assert answer["rc"] == rc
    assert words in answer["stderr"]


def test_a_tool_that_hangs_leaves_nothing_behind(command: Any, tmp_path: Path) -> None:
    """What it started itself holds the pipe open, and is killed as well."""
    began = time.monotonic()
    command.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], 0.2)
    assert time.monotonic() - began < 5
    pid = int((tmp_path / "pid").read_text())
    while lives(pid):
        assert time.monotonic() - began < 10, "it lives on"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_bytes_that_are_no_text_are_told_apart(command: Any) -> None:
    assert command.run(["printf", r"\377"], 5)["stdout"] == "\ufffd"


def test_a_tool_is_found_in_its_own_folder(command: Any, tool: Script, tmp_path: Path) -> None:
    tool("hccn_tool", "echo here")
    assert command.run(["hccn_tool"], 5, [str(tmp_path / "bin")])["stdout"] == "here\n"


BUSY_TWICE = """
count=$(cat {0}/count 2>/dev/null || echo 0)
echo $((count + 1)) > {0}/count
if [ "$count" -lt 2 ]; then echo 'hccn_tool is busy, please try again.'; exit 1; fi
echo 'link status: UP'
"""


def test_a_busy_tool_is_asked_again(command: Any, tool: Script, tmp_path: Path) -> None:
    tool("hccn_tool", BUSY_TWICE.format(tmp_path))
    asked = command.Tool("hccn_tool", 5, [str(tmp_path / "bin")])
    assert asked.ask(["-i", "0", "-link", "-g"], 0)["stdout"] == "link status: UP\n"
    assert (tmp_path / "count").read_text() == "3\n"


def test_what_is_taken_for_busy_is_what_the_parser_takes_for_it(command: Any) -> None:
    words = "hccn_tool is busy, please try again."
    with pytest.raises(HccnBusyError):
        parse_link(words + "\n")
    assert command.says_busy({"stdout": words, "stderr": ""})
    assert not command.says_busy({"stdout": "link status: UP", "stderr": ""})


def test_a_tool_that_stays_busy_is_left_alone_there_and_only_there(
    command: Any, tool: Script, tmp_path: Path
) -> None:
    tool(
        "hccn_tool", f"echo x >> {tmp_path}/calls\n[ $2 = 0 ] && echo 'hccn_tool is busy, please try again.'"
    )
    asked = command.Tool("hccn_tool", 5, [str(tmp_path / "bin")])
    first = asked.ask(["-i", "0"], 0)
    assert "busy" in first["stdout"]
    tries = len((tmp_path / "calls").read_text().split())
    assert tries == command.BUSY_TRIES
    assert asked.ask(["-i", "0"], 0) == command.failure("not asked: hccn_tool stayed busy")
    assert asked.ask(["-i", "1"], 1)["rc"] is not None
    assert len((tmp_path / "calls").read_text().split()) == tries + 1


def test_a_tool_that_hung_is_not_asked_about_the_same_chip_again(command: Any) -> None:
    asked = command.Tool("sleep", 0.1)
    assert asked.ask(["9"], 3)["stderr"] == "sleep did not end within 0.1 s"
    assert asked.ask(["0"], 3)["stderr"] == "not asked: sleep hung before"
    assert asked.ask(["0"], 4)["rc"] == 0
    asked.give_up("it is gone")
    assert asked.ask(["0"], 4)["stderr"] == "not asked: it is gone"


def test_a_tool_that_is_slow_everywhere_is_asked_no_more_when_its_time_is_over(command: Any) -> None:
    asked = command.Tool("sleep", 5, budget=0.2)
    assert asked.ask(["0.3"], 1)["rc"] == 0
    assert asked.ask(["0"], 2)["stderr"] == "not asked: 0.2 s were over"


def test_a_question_that_hangs_is_given_up(command: Any) -> None:
    assert command.within(5, len, "abc") == (3, "")
    assert command.within(0.05, time.sleep, 5) == (None, "no answer within 0.05 s")
    assert command.within(5, int, "x")[1].startswith("ValueError: ")
