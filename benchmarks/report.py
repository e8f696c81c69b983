# ruff: noqa: RUF001  Chinese punctuation, and a dash where nothing was measured
"""The measured figures as a table on the screen and as Markdown, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.results import HELP_SECONDS
from benchmarks.startup import PYTHON

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

_TEXT: dict[str, dict[str, str]] = {
    "en": {
        "deploy-npuctl": "`npuctl deploy`",
        "deploy-npuctl-cold": "`npuctl deploy`, no connection open yet",
        "deploy-pyinfra": "pyinfra",
        "deploy-ansible": "ordinary Ansible tasks",
        "deploy-ansible-one-module": "Ansible, one task with npuctl's own module (only looks)",
        "health-npuctl": "`npuctl health`",
        "health-plain": "the same probe by ssh, plainest loop",
        "health-pyinfra": "pyinfra (cold connections: it keeps none)",
        "health-ansible": "ordinary Ansible tasks",
        "deploy": "Deploy where nothing has to change",
        "health": "Health: a token of every replica",
        "startup": "Start-up",
        "head": "| | rounds | wall s | controller CPU s | controller CPU ms a node | nodes' CPU s, together |",
        "ratio_head": "| ratio, round by round | wall | controller CPU | goal (wall, set for 16 nodes) | |",
        "start_head": "| | CPU s | |",
        "met": "met",
        "missed": "**not met**",
        "to": "to",
        "simulated": "Simulated NPUs: {nodes} sandbox nodes, containers on the machine that also runs the controller.",
        "machine": (
            "{date}, `{command}`. {cores} cores, {memory_gib} GiB, Linux {kernel} {architecture}; "
            "load average at the start {load_before}. {versions}."
        ),
        "cells": "Each cell: median (least to most).",
        "noticed": "Before the rounds every deploy had to notice, on one node: {noticed}.",
        "mode of a file": "the mode of a file",
        "content of a file": "the content of a file",
        "restart policy of the container": "the restart policy of the container",
        "model folder": "a model folder that is gone",
        "idle": "The idle nodes together use {idle:.2f} CPU seconds a second; the nodes' figures include that.",
    },
    "zh": {
        "deploy-npuctl": "`npuctl deploy`",
        "deploy-npuctl-cold": "`npuctl deploy`，尚无已打开的连接",
        "deploy-pyinfra": "pyinfra",
        "deploy-ansible": "普通 Ansible 任务",
        "deploy-ansible-one-module": "Ansible，一个任务调用 npuctl 自己的模块（只查看）",
        "health-npuctl": "`npuctl health`",
        "health-plain": "同一探测程序，用 ssh 最朴素的循环",
        "health-pyinfra": "pyinfra（它不保留连接，每次新建）",
        "health-ansible": "普通 Ansible 任务",
        "deploy": "无需改动的部署",
        "health": "健康检查：每个副本产出一个 token",
        "startup": "启动",
        "head": "| | 轮数 | 耗时（秒） | 控制端 CPU（秒） | 每节点控制端 CPU（毫秒） | 全部节点 CPU 合计（秒） |",
        "ratio_head": "| 逐轮比值 | 耗时 | 控制端 CPU | 目标（耗时，针对 16 个节点） | |",
        "start_head": "| | CPU（秒） | |",
        "met": "达到",
        "missed": "**未达到**",
        "to": "至",
        "simulated": "模拟 NPU：{nodes} 个沙箱节点，即与控制端同一台机器上的容器。",
        "machine": (
            "{date}，`{command}`。{cores} 核，{memory_gib} GiB，Linux {kernel} {architecture}；"
            "开始时平均负载 {load_before}。{versions}。"
        ),
        "cells": "每格：中位数（最小至最大）。",
        "noticed": "各轮开始之前，每种部署都必须在一个节点上发现：{noticed}。",
        "mode of a file": "文件权限变了",
        "content of a file": "文件内容变了",
        "restart policy of the container": "容器的重启策略变了",
        "model folder": "模型目录不见了",
        "idle": "空闲时全部节点每秒合计使用 {idle:.2f} 秒 CPU，节点一列包含这部分。",
    },
}
_SEPARATOR = {"en": ", ", "zh": "、"}


def markdown(measured: Mapping[str, Any], language: str) -> str:
    """The tables of the documentation."""
    text = _TEXT[language]
    versions = _SEPARATOR[language].join(f"{name} {number}" for name, number in measured["versions"].items())
    noticed = _SEPARATOR[language].join(text[what] for what in measured["noticed_by_all"])
    lines = [
        text["simulated"].format(nodes=measured["nodes"]),
        text["machine"].format(
            date=measured["date"], command=measured["command"], versions=versions, **measured["machine"]
        ),
        text["cells"],
        text["noticed"].format(noticed=noticed),
    ]
    if measured["idle_nodes"] is not None:
        lines.append(text["idle"].format(idle=measured["idle_nodes"]))
    for group in ("deploy", "health"):
        lines += ["", f"### {text[group]}", "", *_rows(measured[group]["rows"], text)]
        lines += ["", *_ratios(measured[group]["ratios"], text)]
    lines += ["", f"### {text['startup']}", "", *_starts(measured["startup"], text)]
    return "\n".join(lines) + "\n"


def screen(measured: Mapping[str, Any]) -> str:
    """The same, its tables aligned for a terminal."""
    shown: list[str] = []
    pending: list[list[str]] = []
    for line in [*markdown(measured, "en").splitlines(), ""]:
        if line.startswith("|"):
            if not line.startswith("|---"):
                pending.append([_plain(cell) for cell in line.strip("|").split("|")])
            continue
        shown += _aligned(pending)
        pending = []
        shown.append(_plain(line).lstrip("# "))
    return "\n".join(shown).rstrip()


def all_met(measured: Mapping[str, Any]) -> bool:
    """Whether no goal was missed."""
    ratios = [row["met"] for group in ("deploy", "health") for row in measured[group]["ratios"]]
    starts = [row["cpu"]["median"] < HELP_SECONDS for row in measured["startup"]]
    return all(met is not False for met in ratios) and all(starts)


def write_between_markers(page: Path, text: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put the text into a page, in place of that of the last time.

    Raises:
        ValueError: the page has not both markers in their order.
    """
    old = page.read_text(encoding="utf-8")
    before, opened, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"{page} has no {begin} … {end}")
    page.write_text(f"{before}{begin}\n{text}{end}{after}", encoding="utf-8")


def _rows(rows: list[dict[str, Any]], text: Mapping[str, str]) -> list[str]:
    lines = [text["head"], "|---|---|---|---|---|---|"]
    for row in rows:
        nodes = _spread(row["nodes"], text) if row["nodes"] else "–"
        lines.append(
            f"| {text[row['key']]} | {row['rounds']} | {_spread(row['wall'], text)} "
            f"| {_spread(row['controller'], text)} | {row['controller_per_node'] * 1000:.0f} | {nodes} |"
        )
    return lines


def _ratios(rows: list[dict[str, Any]], text: Mapping[str, str]) -> list[str]:
    lines = [text["ratio_head"], "|---|---|---|---|---|"]
    for row in rows:
        goal = "" if row["goal"] is None else f"≤ {row['goal']:g}"
        lines.append(
            f"| {text[row['ours']]} / {text[row['theirs']]} | {_spread(row['wall'], text)} "
            f"| {_spread(row['controller'], text)} | {goal} | {_verdict(met=row['met'], text=text)} |"
        )
    return lines


def _starts(rows: list[dict[str, Any]], text: Mapping[str, str]) -> list[str]:
    lines = [text["start_head"], "|---|---|---|"]
    for row in rows:
        met = None if row["key"] == PYTHON else row["cpu"]["median"] < HELP_SECONDS
        goal = "" if met is None else f"< {HELP_SECONDS:g}: {_verdict(met=met, text=text)}"
        lines.append(f"| `{row['key']}` | {_spread(row['cpu'], text)} | {goal} |")
    return lines


def _verdict(*, met: bool | None, text: Mapping[str, str]) -> str:
    return "" if met is None else text["met"] if met else text["missed"]


def _spread(figures: Mapping[str, float], text: Mapping[str, str]) -> str:
    median, least, most = (_figure(figures[name]) for name in ("median", "least", "most"))
    return f"{median} ({least} {text['to']} {most})"


def _figure(number: float) -> str:
    """Three digits that mean something."""
    if number >= 100:  # noqa: PLR2004
        return f"{number:.0f}"
    if number >= 10:  # noqa: PLR2004
        return f"{number:.1f}"
    return f"{number:.2f}" if number >= 0.1 else f"{number:.3f}"  # noqa: PLR2004


def _plain(text: str) -> str:
    return text.replace("`", "").replace("**", "").strip()


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
