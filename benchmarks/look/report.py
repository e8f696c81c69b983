# ruff: noqa: RUF001  Chinese punctuation
"""The figures of the look as Markdown, in English and in Chinese."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from npuctl.remote.ssh import CONNECT_SECONDS

BEGIN, END = "<!-- look: begin -->", "<!-- look: end -->"
_MOST_SECONDS, _MOST_MB = 60.0, 400.0

_TEXT: dict[str, dict[str, str]] = {
    "en": {
        "title": "Inspect and check on {nodes} nodes",
        "scene": (
            "Simulated NPUs: {nodes} light nodes of 8 each, containers on the machine that also runs the controller"
            " ({cores} cores), so that its cores do the work of all nodes too. {date}, `python -m benchmarks.look`,"
            " load average at the start {load_before}. No connection is open before the first round. Memory is that"
            " of npuctl, its SSH clients and the kept connections together, at the fullest moment."
            " The nodes' NPU tools answer from what the simulator said in an unmeasured round before."
        ),
        "probes": "In each check {count} probes between the NPUs{sampled}; {ok} came back whole.",
        "sampled": ", a sample of {pairs} pairs",
        "head": "| | rounds | wall s | controller CPU s | peak MB |",
        "inspect": "`npuctl inspect`",
        "check": "`npuctl check`",
        "ansible": "Ansible, one task that calls the module of `npuctl inspect`",
        "inspect-frozen": "`npuctl inspect`, one node frozen",
        "goal-time": "inspect + check under 60 s",
        "goal-memory": "under 400 MB",
        "goal-frozen": "a node that does not answer costs no more than its connect time-out (10 s)",
        "met": "met",
        "missed": "**not met**",
        "to": "to",
    },
    "zh": {
        "title": "{nodes} 个节点上的 inspect 和 check",
        "scene": (
            "模拟 NPU：{nodes} 个轻量节点，每个 8 个 NPU，都是控制机（{cores} 核）上的容器，因此所有节点的工作也由这些核心完成。"
            "{date}，`python -m benchmarks.look`，开始时负载 {load_before}。第一轮之前没有打开任何连接。内存为 npuctl、其 SSH "
            "客户端和保留的连接合计的峰值。节点上的 NPU 工具用之前一轮（不计时）里模拟器给出的答案作答。"
        ),
        "probes": "每次 check 在 NPU 之间探测 {count} 次{sampled}；{ok} 次完整返回。",
        "sampled": "（从 {pairs} 对中抽样）",
        "head": "| | 轮数 | 用时 s | 控制机 CPU s | 峰值 MB |",
        "inspect": "`npuctl inspect`",
        "check": "`npuctl check`",
        "ansible": "Ansible，一个任务调用 `npuctl inspect` 的模块",
        "inspect-frozen": "`npuctl inspect`，一个节点卡死",
        "goal-time": "inspect + check 在 60 s 以内",
        "goal-memory": "400 MB 以内",
        "goal-frozen": "不应答的节点最多只增加连接超时的时间（10 s）",
        "met": "达到",
        "missed": "**未达到**",
        "to": "至",
    },
}


def goals(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """What was to be reached, what was seen, and whether it was."""
    rows = measured["rows"]
    both = max(rows["inspect"]["wall"]) + max(rows["check"]["wall"])
    memory = max(figure for name in ("inspect", "check") for figure in rows[name]["peak_mb"])
    delay = statistics.median(rows["inspect-frozen"]["wall"]) - statistics.median(rows["inspect"]["wall"])
    return [
        {"key": "goal-time", "seen": f"{both:.1f} s", "met": both < _MOST_SECONDS},
        {"key": "goal-memory", "seen": f"{memory:.0f} MB", "met": memory < _MOST_MB},
        {"key": "goal-frozen", "seen": f"{delay:.1f} s", "met": delay <= CONNECT_SECONDS},
    ]


def markdown(measured: dict[str, Any], language: str) -> str:
    """The section, without its markers."""
    text, reach = _TEXT[language], measured["reach"]
    facts = {"nodes": measured["nodes"], "date": measured["date"], **measured["machine"]}
    sampled = text["sampled"].format(pairs=reach["pairs"]) if reach["sampled"] else ""
    lines = [f"### {text['title'].format(**facts)}", "", text["scene"].format(**facts)]
    lines += [text["probes"].format(count=reach["asked"], ok=reach["ok"], sampled=sampled), ""]
    lines += [text["head"], "|---|---|---|---|---|"]
    for name, row in measured["rows"].items():
        cells = [_spread(row[figure], text) for figure in ("wall", "cpu", "peak_mb")]
        lines.append(f"| {text[name]} | {len(row['wall'])} | {' | '.join(cells)} |")
    lines.append("")
    for goal in goals(measured):
        word = text["met"] if goal["met"] else text["missed"]
        lines.append(f"- {text[goal['key']]}: {goal['seen']}, {word}")
    return "\n".join(lines) + "\n"


def _spread(figures: Sequence[float], text: dict[str, str]) -> str:
    middle = _short(statistics.median(figures))
    if len(figures) == 1:
        return middle
    return f"{middle} ({_short(min(figures))} {text['to']} {_short(max(figures))})"


def _short(figure: float) -> str:
    return f"{figure:.0f}" if figure >= 100 else f"{figure:.1f}"  # noqa: PLR2004  three digits tell enough
