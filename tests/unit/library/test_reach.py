"""library/npuctl_reach.py: probes side by side, repeated once, and never longer than allowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

GOOD = 'echo "3 packets transmitted, 3 received, 0.00% packet loss"'
LOST = 'echo "3 packets transmitted, 0 received, 100.00% packet loss"; echo "Command execute failed!" >&2; exit 1'

Tool = Callable[[str, str], None]
Collect = Callable[..., dict[str, Any]]


@pytest.fixture
def collect(
    library_module: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Collect:
    module: Any = library_module("npuctl_reach")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(module.command, "BUSY_PAUSE_SECONDS", 0.01)

    def call(probes: dict[str, list[list[str]]], *, seconds: float = 30, **settings: Any) -> dict[str, Any]:
        for name, value in settings.items():
            monkeypatch.setattr(module, name, value)
        answer: dict[str, Any] = module.collect({"probes": probes, "seconds": seconds})
        return answer

    return call


def targets(count: int, plane: str = "roce") -> list[list[str]]:
    return [[plane, f"10.20.2.{11 + number}"] for number in range(count)]


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text(encoding="utf-8").splitlines()


def test_what_came_back_whole_needs_no_words(tool: Tool, collect: Collect, tmp_path: Path) -> None:
    tool("hccn_tool", f'echo "$@" >> {tmp_path}/calls; {GOOD}')
    answer = collect({"0": targets(2), "5": [["hccs", "192.2.2.199"]]})
    assert answer == {"chips": {"0": [None, None], "5": [None]}, "repeated": 0}
    assert sorted(calls(tmp_path)) == [
        "-i 0 -ping -g address 10.20.2.11",
        "-i 0 -ping -g address 10.20.2.12",
        "-i 5 -hccs_ping -g address 192.2.2.199",
    ]


def test_a_lost_probe_is_made_again_before_it_counts(tool: Tool, collect: Collect, tmp_path: Path) -> None:
    tool("hccn_tool", f'echo "$6" >> {tmp_path}/calls; [ -e {tmp_path}/blip ] && {GOOD} && exit\n'
         f'case $6 in *.12) touch {tmp_path}/blip; {LOST};; esac; {GOOD}')  # fmt: skip
    answer = collect({"0": targets(3)})
    assert answer == {"chips": {"0": [None, None, None]}, "repeated": 1}
    assert calls(tmp_path) == ["10.20.2.11", "10.20.2.12", "10.20.2.13", "10.20.2.12"]


def test_a_card_that_loses_all_is_not_asked_everything_twice(
    tool: Tool, collect: Collect, tmp_path: Path
) -> None:
    tool("hccn_tool", f"echo >> {tmp_path}/calls; {LOST}")
    answer = collect({"0": targets(24)})
    entries = answer["chips"]["0"]
    assert all("0 received" in entry["text"] and "failed" in entry["text"] for entry in entries)
    assert len(calls(tmp_path)) == 24 + 4


def test_the_figures_decide_though_the_tool_ends_well(tool: Tool, collect: Collect) -> None:
    tool(
        "hccn_tool",
        'echo "3 packets transmitted, 0 received, 100.00% packets loss"; echo "Cmd executed successfully!"',
    )
    (entry,) = collect({"0": targets(1, "hccs")})["chips"]["0"]
    assert (entry["rc"], "0 received" in entry["text"]) == (0, True)


def test_nothing_sent_is_not_everything_back(tool: Tool, collect: Collect) -> None:
    tool("hccn_tool", 'echo "0 packets transmitted, 0 received, 0.00% packet loss"')
    assert collect({"0": targets(1)})["chips"]["0"][0] is not None


def test_chips_are_asked_side_by_side_and_each_one_at_a_time(
    tool: Tool, collect: Collect, tmp_path: Path
) -> None:
    tool("hccn_tool", f"mkdir {tmp_path}/$2 || exit 9; sleep 0.1; rmdir {tmp_path}/$2; {GOOD}")
    began = time.monotonic()
    answer = collect({str(chip): targets(6) for chip in range(4)})
    assert all(entry is None for entries in answer["chips"].values() for entry in entries)
    assert time.monotonic() - began < 4 * 6 * 0.1


def test_a_tool_that_bears_one_caller_a_node_is_asked_in_turns(
    tool: Tool, collect: Collect, tmp_path: Path
) -> None:
    busy = 'echo "hccn_tool is busy, please try again."; exit 11'
    tool(
        "hccn_tool",
        f"mkdir {tmp_path}/lock 2>/dev/null || {{ {busy}; }}; sleep 0.02; rmdir {tmp_path}/lock; {GOOD}",
    )
    answer = collect({str(chip): targets(12) for chip in range(8)})
    assert all(entry is None for entries in answer["chips"].values() for entry in entries)


def test_a_tool_that_stays_busy_is_given_up_and_says_so(tool: Tool, collect: Collect, tmp_path: Path) -> None:
    tool("hccn_tool", f'echo >> {tmp_path}/calls; echo "hccn_tool is busy, please try again."; exit 11')
    entries = collect({"0": targets(24)})["chips"]["0"]
    assert "is busy" in entries[0]["text"]
    assert {entry["text"] for entry in entries[1:]} == {"not probed: hccn_tool stayed busy"}
    assert len(calls(tmp_path)) == 6


def test_probes_that_hang_cost_two_time_outs_and_not_one_each(
    tool: Tool, collect: Collect, tmp_path: Path
) -> None:
    tool("hccn_tool", f"echo >> {tmp_path}/calls; sleep 30")
    began = time.monotonic()
    entries = collect({"0": targets(24)}, PROBE_SECONDS=0.3)["chips"]["0"]
    assert time.monotonic() - began < 5
    assert "did not end" in entries[0]["text"]
    assert entries[-1]["text"] == "not probed: hccn_tool hung before"
    assert len(calls(tmp_path)) == 2


def test_when_the_time_is_up_the_rest_is_not_probed(tool: Tool, collect: Collect) -> None:
    tool("hccn_tool", f"sleep 0.2; {GOOD}")
    began = time.monotonic()
    entries = collect({"0": targets(50)}, seconds=1)["chips"]["0"]
    assert time.monotonic() - began < 3
    assert len(entries) == 50
    assert entries[0] is None
    assert entries[-1] == {"text": "not probed: out of time"}


def test_a_node_without_the_tool_says_so(collect: Collect) -> None:
    (entry,) = collect({"0": targets(1)})["chips"]["0"]
    assert entry["text"] == "hccn_tool is not installed"
