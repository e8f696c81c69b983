"""The ports that are judged, and the cards that something was found at already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from npuctl.facts.survey import ConfiguredPort, PortFacts
from npuctl.plan.checks._contract import CheckedNode
from npuctl.plan.model import Severity
from npuctl.plan.reach import Card

# "Init" is said where no detect address was set, or nothing was probed yet: mind-cluster's NPU exporter counts
# it as healthy, its faultdiag does not.
NOT_JUDGED = "Init"


@dataclass(frozen=True, slots=True)
class Port:
    """One card's port: as it runs, and as hccn.conf has it."""

    node: CheckedNode
    now: PortFacts
    saved: ConfiguredPort | None

    @property
    def card(self) -> Card:
        """Its name in the cluster."""
        return self.node.name, self.now.chip

    @property
    def tool(self) -> str:
        """How to ask or set it, for a remedy."""
        return f"on {self.node.name}: hccn_tool -i {self.now.chip}"


@dataclass(frozen=True, slots=True)
class Network:
    """What is judged, how grave it is, and the cards that something was found at already."""

    ports: tuple[Port, ...]
    severity: Severity
    required: bool
    blamed: set[Card] = field(default_factory=set)


def ports_of(nodes: Iterable[CheckedNode]) -> Iterator[Port]:
    """Every port that was read."""
    for node in nodes:
        if node.survey is not None:
            saved = {port.chip: port for port in node.survey.configured_ports}
            yield from (Port(node, port, saved.get(port.chip)) for port in node.survey.ports)


def not_read(port: Port, question: str) -> bool:
    """Whether the tool could not say; that something was never set is an answer."""
    return port.node.survey is not None and f"chip {port.now.chip}: {question}" in port.node.survey.unread


def with_mask(address: str, netmask: str) -> str:
    """An address with its netmask, or that there is none."""
    if not address:
        return "no address"
    return f"{address}/{netmask}" if netmask else address
