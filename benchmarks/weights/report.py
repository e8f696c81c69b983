# ruff: noqa: RUF001  Chinese punctuation
"""The figures of weights to many nodes as Markdown, in English and in Chinese."""

from __future__ import annotations

from statistics import median
from typing import Any

BEGIN, END = "<!-- weights: begin -->", "<!-- weights: end -->"
_MOST_IDEAL, _MOST_GROWTH, _MOST_DEATH = 1.25, 1.10, 1.5

_TEXT: dict[str, dict[str, str]] = {
    "en": {
        "title": "Weights to {few} and {many} nodes",
        "scene": (
            "A file of {mb:.0f} MB on one node, for {few} and {many} others: light nodes, containers on one machine"
            " ({cores} cores) whose links are held to {mbit} Mbit/s in both directions (`tc tbf`), so that one copy"
            " takes {ideal:.1f} s at best. {date}, `python -m benchmarks.weights`, load average at the start"
            " {load_before}. npuctl verifies sha256 on every node within the time; the others do not. Ansible copies"
            " from the machine that runs it. After each round the bytes are verified on every node."
        ),
        "head": "| | rounds | seconds | × one copy at best |",
        "one": "npuctl, one node",
        "chain": "npuctl, {} nodes",
        "star": "star: every node fetches it from the first by HTTP, {} nodes",
        "ansible": "`ansible.builtin.copy`, {} nodes",
        "killed": "npuctl, {many} nodes, one in the middle killed when it has half",
        "goal-ideal": "{many} nodes within 1.25 × size / bandwidth",
        "goal-growth": "from {few} to {many} nodes no more than 1.10 ×",
        "goal-death": "a node that dies costs the others no more than 1.5 ×, and nothing that they have is sent again",
        "met": "met",
        "missed": "**not met**",
    },
    "zh": {
        "title": "把权重分发到 {few} 个和 {many} 个节点",
        "scene": (
            "一个节点上有 {mb:.0f} MB 的文件，分发到另外 {few} 个和 {many} 个节点：轻量节点，都是一台机器（{cores} 核）上的容器，"
            "链路双向限速 {mbit} Mbit/s（`tc tbf`），因此一份副本最快需要 {ideal:.1f} s。{date}，`python -m benchmarks.weights`，"
            "开始时负载 {load_before}。npuctl 的用时包含每个节点上的 sha256 校验，其他方式不包含。Ansible 从运行它的机器复制。"
            "每一轮之后都在每个节点上核对内容。"
        ),
        "head": "| | 轮数 | 秒 | 为一份副本最短用时的倍数 |",
        "one": "npuctl，1 个节点",
        "chain": "npuctl，{} 个节点",
        "star": "星形：每个节点用 HTTP 从第一个节点获取，{} 个节点",
        "ansible": "`ansible.builtin.copy`，{} 个节点",
        "killed": "npuctl，{many} 个节点，中间一个收到一半时被杀死",
        "goal-ideal": "{many} 个节点不超过 1.25 × 大小 / 带宽",
        "goal-growth": "从 {few} 个到 {many} 个节点不超过 1.10 倍",
        "goal-death": "一个节点死亡时其他节点用时不超过 1.5 倍，已有的内容不重发",
        "met": "达到",
        "missed": "**未达到**",
    },
}


def goals(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """What was to be reached, what was seen, and whether it was."""
    rows = {name: median(figures) for name, figures in measured["rows"].items()}
    few, many = measured["counts"]
    ratios = {
        "goal-ideal": (rows[f"chain-{many}"] / measured["ideal"], _MOST_IDEAL),
        "goal-growth": (rows[f"chain-{many}"] / rows[f"chain-{few}"], _MOST_GROWTH),
        "goal-death": (rows["killed"] / rows[f"chain-{many}"], _MOST_DEATH),
    }
    return [
        {"key": key, "seen": f"{ratio:.2f} ×", "met": ratio <= most} for key, (ratio, most) in ratios.items()
    ]


def markdown(measured: dict[str, Any], language: str) -> str:
    """The section, without its markers."""
    text = _TEXT[language]
    few, many = measured["counts"]
    facts = {key: measured[key] for key in ("date", "mb", "mbit", "ideal")}
    facts |= {"few": few, "many": many, **measured["machine"]}
    lines = [f"### {text['title'].format(**facts)}", "", text["scene"].format(**facts), ""]
    lines += [text["head"], "|---|---|---|---|"]
    for name, figures in measured["rows"].items():
        kind, _, count = name.partition("-")
        words = text[kind].format(count, **facts)
        seconds = median(figures)
        lines.append(f"| {words} | {len(figures)} | {seconds:.1f} | {seconds / measured['ideal']:.2f} |")
    lines.append("")
    for goal in goals(measured):
        word = text["met"] if goal["met"] else text["missed"]
        lines.append(f"- {text[goal['key']].format(**facts)}: {goal['seen']}, {word}")
    return "\n".join(lines) + "\n"
