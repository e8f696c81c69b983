"""What each port says of itself: link, net health, its way inside the super pod."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.plan.checks.network._ports import NOT_JUDGED, Network
from npuctl.plan.model import Finding

_UP = "UP"
_DOWN = "DOWN"
_HEALTHY = "Success"


def links_up(network: Network) -> Iterator[Finding]:
    """Every link is up."""
    if not network.required and not any(port.now.link == _UP for port in network.ports):
        return  # nothing is cabled, and nothing needs to be
    for port in network.ports:
        if port.now.link and port.now.link != _UP:
            network.blamed.add(port.card)
            yield Finding(
                id="network.link",
                severity=network.severity,
                node=port.node.name,
                npu=port.now.chip,
                seen=f"link {port.now.link}",
                expected="link UP",
                remedy=f"{port.tool} -optical -g shows the module; look after module, cable and switch port,"
                f" then hccn_tool -i {port.now.chip} -cfg recovery",
            )


def health_good(network: Network) -> Iterator[Finding]:
    """The detect address answers, by the tool's own word."""
    for port in network.ports:
        word = port.now.net_health
        waiting = word == NOT_JUDGED
        if word in {"", _HEALTHY} or port.card in network.blamed or (waiting and not port.now.detect_address):
            continue
        saved = port.saved.detect_address if port.saved else ""
        if saved and saved != port.now.detect_address:
            continue  # said as network.detect: it probes somebody else
        network.blamed.update(() if waiting else (port.card,))
        yield Finding(
            id="network.health",
            severity="warning" if waiting else network.severity,
            node=port.node.name,
            npu=port.now.chip,
            seen=f"net health {word}",
            expected=f"net health {_HEALTHY}: the detect address {port.now.detect_address or ''} answers".replace(
                "  ", " "
            ),
            remedy=f"{port.tool} -net_health -g again in a minute"
            if waiting
            else f"{port.tool} -ping -g address {port.now.detect_address or 'A'}; look after the switch port"
            " and its VLAN",
        )


def vnics_up(network: Network) -> Iterator[Finding]:
    """The link inside the super pod is not down."""
    for port in network.ports:
        if port.now.vnic_link == _DOWN:
            network.blamed.add(port.card)
            yield Finding(
                id="network.vnic",
                severity=network.severity,
                node=port.node.name,
                npu=port.now.chip,
                seen="vnic link DOWN",
                expected="vnic link UP: the way to the other servers of the super pod",
                remedy=f"{port.tool} -vnic -g; npu-smi info -t spod-info and the super pod's own manager say"
                " whether the server has its place in it",
            )
