from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.measure import (
    Meters,
    Sample,
    Spread,
    background_seconds,
    processes_naming,
    ratios,
    rounds,
    run,
    spread,
    stat_seconds,
)

TICKS = os.sysconf("SC_CLK_TCK")


def stat_line(name: str, utime: int, stime: int) -> str:
    return f"42 ({name}) S 1 42 42 0 -1 4194560 100 0 0 0 {utime} {stime} 7 8 20 0 1 0 100 0 0"


def test_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([1.0, 2.0]) == Spread(1.5, 1.0, 2.0)


def test_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no figures"):
        spread([])


def test_ratios_pair_rounds_and_leave_out_those_that_one_side_did_not_run() -> None:
    assert ratios([1.0, 2.0, 9.0], [2.0, 8.0]) == [0.5, 0.25]


def test_a_ratio_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        ratios([1.0], [0.0])


def test_the_median_of_ratios_is_not_the_ratio_of_medians() -> None:
    """A slow moment of the machine hits a pair, not one side."""
    assert spread(ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0])).median == 0.5


def test_background_counts_new_processes_from_zero_and_forgets_those_that_ended() -> None:
    assert background_seconds({1: 2.0, 2: 5.0}, {1: 2.5, 3: 0.25}) == pytest.approx(0.75)


def test_background_of_a_reused_pid_is_never_negative() -> None:
    assert background_seconds({1: 9.0}, {1: 0.5}) == 0.0


@pytest.mark.parametrize("name", ["ssh", "a b", "odd) name (x"])
def test_stat_seconds_reads_user_and_system_time_whatever_the_name(name: str) -> None:
    assert stat_seconds(stat_line(name, 3 * TICKS, 2 * TICKS)) == 5.0


def test_processes_are_found_by_their_command_line(tmp_path: Path) -> None:
    for pid, line in ((7, b"ssh: /x/socket [mux]\0"), (8, b"other\0")):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_bytes(line)
        (folder / "stat").write_text(stat_line("ssh", TICKS, 0))
    (tmp_path / "9").mkdir()  # it ended while it was looked at
    (tmp_path / "meminfo").write_text("")
    assert processes_naming("ssh: /x/", tmp_path) == {7: 1.0}


def test_run_counts_wall_and_cpu_of_grandchildren_and_keeps_the_output(tmp_path: Path) -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('said'); sys.exit(3)"
    done = run([sys.executable, "-c", child], tmp_path / "log", Meters(), environment=os.environ)
    assert (done.code, done.output) == (3, "said\n")
    assert done.sample.controller >= 0.2
    assert done.sample.wall >= 0.2
    assert done.sample.nodes is None


def test_run_adds_what_background_and_nodes_used(tmp_path: Path) -> None:
    background = iter([{1: 1.0}, {1: 101.0}])
    nodes = iter([10.0, 12.5])
    meters = Meters(lambda: next(background), lambda: next(nodes))
    sample = run(["true"], tmp_path / "log", meters, environment=os.environ).sample
    assert 100.0 <= sample.controller < 101.0
    assert sample.nodes == 2.5


def test_rounds_interleave_and_stop_slow_ones_early() -> None:
    order: list[str] = []

    def once(name: str) -> Sample:
        order.append(name)
        return Sample(float(len(order)), 0.0)

    samples = rounds({"a": lambda: once("a"), "b": lambda: once("b")}, 3, {"b": 2})
    assert order == ["a", "b", "a", "b", "a"]
    assert [sample.wall for sample in samples["b"]] == [2.0, 4.0]
