from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import node_cpu, report, results
from benchmarks.measure import Sample
from benchmarks.variants import ansible_runs, pyinfra_runs

ID = "5382be" * 10 + "abcd"


def samples(pairs: dict[str, tuple[float, ...]]) -> dict[str, list[Sample]]:
    return {key: [Sample(wall, wall / 2, wall * 3) for wall in walls] for key, walls in pairs.items()}


DEPLOY = samples(
    {
        "deploy-npuctl": (1.0, 1.2, 1.1),
        "deploy-pyinfra": (4.0, 4.0, 2.0),
        "deploy-ansible": (100.0, 90.0),
        "deploy-ansible-one-module": (3.0, 3.0, 3.0),
        "deploy-npuctl-cold": (2.0, 2.0, 2.0),
    }
)
HEALTH = samples(
    {
        "health-npuctl": (3.0,),
        "health-plain": (1.0,),
        "health-pyinfra": (5.0,),
        "health-ansible": (9.0,),
    }
)


@pytest.fixture
def measured() -> dict[str, Any]:
    return {
        "simulated": True,
        "date": "2031-01-02",
        "command": "python -m benchmarks",
        "nodes": 16,
        "machine": {
            "cores": 2,
            "memory_gib": 24,
            "kernel": "6.1",
            "architecture": "x86_64",
            "load_before": 0.5,
        },
        "versions": {"pyinfra": "3.9"},
        "noticed_by_all": ["mode of a file"],
        "idle_nodes": 0.1,
        "deploy": {"rows": results.table(DEPLOY, 16), "ratios": results.compared(DEPLOY, "deploy")},
        "health": {"rows": results.table(HEALTH, 16), "ratios": results.compared(HEALTH, "health")},
        "startup": results.started(samples({"python -c pass": (0.02,), "npuctl --help": (0.2,)})),
    }


def test_a_goal_is_judged_by_the_median_of_the_pairs() -> None:
    pyinfra, ansible, *_ = results.compared(DEPLOY, "deploy")
    assert (pyinfra["wall"]["median"], pyinfra["wall"]["most"], pyinfra["met"]) == (0.3, 0.55, True)
    assert (ansible["goal"], ansible["met"]) == (0.05, True)
    assert results.compared(HEALTH, "health")[0]["met"] is False


def test_a_row_tells_rounds_and_cpu_a_node() -> None:
    row = results.table(DEPLOY, 16)[2]
    assert (row["key"], row["rounds"]) == ("deploy-ansible", 2)
    assert row["controller_per_node"] == pytest.approx(47.5 / 16)


def test_nodes_that_could_not_be_read_are_no_zero() -> None:
    assert results.table({"x": [Sample(1.0, 1.0)]}, 1)[0]["nodes"] is None


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_figure_stands_in_both_languages(measured: dict[str, Any], language: str) -> None:
    text = report.markdown(measured, language)
    assert "1.10 (1.00 " in text
    assert "≤ 0.05" in text
    assert {"en": "Simulated NPUs", "zh": "模拟 NPU"}[language] in text


def test_a_missed_goal_is_said(measured: dict[str, Any]) -> None:
    assert "**not met**" in report.markdown(measured, "en")
    assert "not met" in report.screen(measured)
    assert not report.all_met(measured)


def test_a_slow_start_is_a_missed_goal(measured: dict[str, Any]) -> None:
    measured["health"]["ratios"][0]["met"] = True
    assert report.all_met(measured)
    measured["startup"] = results.started({"npuctl --help": [Sample(0.3, 0.26)]})
    assert not report.all_met(measured)


def test_only_what_is_between_the_markers_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_between_markers(page, "new\n")
    assert page.read_text() == f"before\n{report.BEGIN}\nnew\n{report.END}\nafter\n"


def test_a_page_without_markers_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("words\n")
    with pytest.raises(ValueError, match="has no"):
        report.write_between_markers(page, "new\n")
    assert page.read_text() == "words\n"


@pytest.mark.parametrize(
    ("membership", "controller", "group"),
    [
        (f"2:cpuacct:/docker/{ID}\n1:cpu:/docker/{ID}/init.scope\n", "cpuacct", f"/docker/{ID}"),
        (f"4:cpu,cpuacct:/docker/{ID}/system.slice\n", "cpuacct", f"/docker/{ID}"),
        (
            f"0::/system.slice/docker-{ID}.scope/init.scope\n",
            "",
            f"/system.slice/docker-{ID}.scope",
        ),
        ("0::/user.slice\n", "", ""),
    ],
)
def test_the_control_group_of_a_container(membership: str, controller: str, group: str) -> None:
    assert node_cpu.group_of(membership, controller, ID) == group


def test_cpu_of_both_kinds_of_control_groups() -> None:
    assert node_cpu.seconds("cpuacct.usage", "2500000000\n") == 2.5
    assert node_cpu.seconds("cpu.stat", "usage_usec 1500000\nuser_usec 1\n") == 1.5


RECAP = "node-1 : ok=9    changed={}    unreachable=0    failed=0    skipped=1\n"


def test_a_play_that_changed_something_does_not_count() -> None:
    assert ansible_runs.complaint(1, 0, RECAP.format(0)) == ""
    assert ansible_runs.complaint(1, 0, RECAP.format(2)) == "changed node-1"
    assert ansible_runs.complaint(2, 0, RECAP.format(0)) == "1 of 2 nodes in the recap"
    assert ansible_runs.complaint(1, 4, RECAP.format(0)) == "ended with 4"


def pyinfra_output(no_change: int, success: int) -> str:
    totals = f'{{"hosts": 3, "success": {success}, "error": 0, "no_change": {no_change}}}'
    return f'--> Loading\n{{"plan": [], "results": {{"totals": {totals}}}}}\n'


def test_a_pyinfra_run_that_changed_something_does_not_count() -> None:
    assert pyinfra_runs.complaint(0, pyinfra_output(3, 0), operations=3) == ""
    assert "changed something" in pyinfra_runs.complaint(0, pyinfra_output(2, 1), operations=3)
    assert pyinfra_runs.complaint(0, pyinfra_output(3, 0), operations=6) == "3 of 6 operations"
    assert (
        pyinfra_runs.complaint(0, '{"plan": [], "results": null}\n', operations=3) == "None of 3 operations"
    )
