"""Which NPU reaches which NPU of another node: probes asked for, and what they said.

Probes that came back whole are counted, not listed: all pairs of 64 nodes with 8 NPUs are 258,048.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from npuctl.facts.frozen import Frozen

Outcome = Literal["ok", "lost", "partly", "unread"]
Plane = Literal["roce", "hccs"]
Source = Literal["hccn.conf", "device", "vnic"]


class Probe(Frozen):
    """One probe that did not come back whole: from a chip's port to the address of a chip of another node.

    `lost` means no packet came back, `partly` that some did not, `unread` that the tool gave no figures
    (`why` then says what it gave).
    """

    node: str
    chip: int
    peer_node: str
    peer_chip: int
    address: str
    outcome: Outcome
    plane: Plane = "roce"
    loss_percent: float | None = None
    why: str = ""


class Port(Frozen):
    """One chip that took part, and how many of its probes came back whole.

    `source` says where `address`, which the others probed, comes from: hccn.conf before the device itself,
    because engines and rank tables go by hccn.conf (a device that runs with another address is found so);
    "vnic" inside a super pod.
    """

    node: str
    chip: int
    address: str
    source: Source
    super_pod: int | None = Field(default=None, description="Its super pod, for chips that probe inside one.")
    vnic_address: str = Field(default="", description="Where chips of the same super pod probe it.")
    to_asked: int = 0
    to_ok: int = 0
    from_asked: int = 0
    from_ok: int = 0


class Reach(Frozen):
    """All probes of one look.

    `plane` is how they went: "roce" (hccn_tool -ping) or "hccs" (hccn_tool -hccs_ping, inside a super pod),
    "mixed" where some super pods hold several nodes and some pairs lie in two.
    `asked_of`: nodes whose chips probed. `skipped`: node → why it could not take part.
    `sampled`: True where not every pair was probed; `pairs` says how many pairs there are.
    `probes` holds those that did not come back whole; `asked` and `ok` count all of them.
    """

    plane: Literal["roce", "hccs", "mixed"] = "roce"
    asked_of: list[str] = Field(default_factory=list)
    pairs: int = 0
    sampled: bool = False
    asked: int = 0
    ok: int = 0
    repeated: int = Field(default=0, description="Probes that came back whole only when they were repeated.")
    ports: list[Port] = Field(default_factory=list)
    probes: list[Probe] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict)
    seconds: float = 0.0
