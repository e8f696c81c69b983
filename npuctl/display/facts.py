"""What is in the machines, for people: a table of nodes, and a block a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from npuctl.display import fact_words as words
from npuctl.display.node_block import node_block
from npuctl.display.text import SIMULATED, hint_lines
from npuctl.facts.model import ClusterFacts, NodeFacts

_Cell = Callable[[NodeFacts], str]
# What usually is the same on every node, and is then said once.
_SHARED: dict[str, _Cell] = {
    "product": words.product_of,
    "driver": words.driver,
    "firmware": words.firmware,
    "CANN in images": words.cann,
    "Docker": words.engine,
    "system": lambda node: node.os,
    "kernel": lambda node: node.kernel,
}
_OWN: dict[str, _Cell] = {
    "npus": words.chip_count,
    "health": words.health_words,
    "hbm used": words.hbm,
    "npu network": lambda node: words.ports_up(node.survey.ports) if node.survey else "",
    "memory free": words.memory,
    "disk free": words.least_disk,
    "clock": lambda node: words.clock(node.survey.host) if node.survey else "",
}
_MOST_NOTE = 90


def facts_text(facts: ClusterFacts, *, details: bool = False) -> str:
    """A table of nodes; a block a node where there is only one, or with `details`."""
    lines = [SIMULATED] if facts.simulated else []
    single = len(facts.nodes) == 1
    if not single:
        lines += _table(facts.nodes)
    for name, node in facts.nodes.items():
        if single or details:
            lines += ["", *node_block(name, node)] if lines else node_block(name, node)
    for name, silent in facts.unreachable.items():
        lines += [f"{name}: unreachable: {silent.reason}", *hint_lines(silent.hint)]
    return "\n".join(lines)


def _table(nodes: Mapping[str, NodeFacts]) -> list[str]:
    shared = {title: {cell(node) for node in nodes.values()} for title, cell in _SHARED.items()}
    same = [
        f"{title} {values.pop()}" for title, values in shared.items() if len(values) == 1 and "" not in values
    ]
    differing = {title: _SHARED[title] for title, values in shared.items() if len(values) > 1}
    columns: dict[str, _Cell] = {**_OWN, **differing, "notes": _notes}
    rows = [[name, *(cell(node) or "-" for cell in columns.values())] for name, node in nodes.items()]
    kept = [
        position
        for position in range(len(columns) + 1)
        if position == 0 or any(row[position] != "-" for row in rows)
    ]
    heading = ["node", *columns]
    lines = _aligned(
        [[row[position] for position in kept] for row in [[text.upper() for text in heading], *rows]]
    )
    return ([f"the same on all {len(nodes)} nodes: {'; '.join(same)}"] if same else []) + lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows[1:] else []
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
        if widths
    ]


def _notes(node: NodeFacts) -> str:
    """What a person must see before anything else."""
    found = [words.first_line(node.npu_error), words.missing_chips(node), words.unread_of_npus(node)]
    text = "; ".join(entry for entry in found if entry)
    return text if len(text) <= _MOST_NOTE else text[: _MOST_NOTE - 1] + "…"
