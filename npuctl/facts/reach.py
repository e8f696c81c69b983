"""Which NPU reaches which NPU of another node: probes asked for, and what they said."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from npuctl.facts.frozen import Frozen

Outcome = Literal["ok", "lost", "partly", "unread"]


class Probe(Frozen):
    """One probe: from a chip's port to the address of a chip of another node.

    `lost` means no packet came back, `partly` that some did not, `unread` that the tool gave no figures
    (`why` then says what it gave).
    """

    node: str
    chip: int
    peer_node: str
    peer_chip: int
    address: str
    outcome: Outcome
    loss_percent: float | None = None
    why: str = ""


class Reach(Frozen):
    """All probes of one look.

    `plane` is how they went: "roce" (hccn_tool -ping) or "hccs" (hccn_tool -hccs_ping, inside a super pod).
    `asked_of`: nodes whose chips probed. `skipped`: node → why it could not take part.
    `sampled`: True where not every pair was probed; `pairs` says how many pairs there are.
    """

    plane: Literal["roce", "hccs"] = "roce"
    asked_of: list[str] = Field(default_factory=list)
    pairs: int = 0
    sampled: bool = False
    probes: list[Probe] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
