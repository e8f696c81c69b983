"""The NPU network: every port as it was set up, up, and within reach of every other node's.

One cause, one finding. A port whose link is down has no gateway, no health and no peers: only the link is
said. So each check is given the cards that something was found at, and is silent about those where what it
sees would follow from that. The order below is the order of causes.
"""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks.network import alike, reach, settings, state, unread
from npuctl.plan.checks.network._ports import Network, ports_of
from npuctl.plan.model import Finding


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the NPU network; nothing where the spec says that it is unused."""
    nodes = [node for node in checked.nodes if _has_network(node)]
    if checked.spec.npu_network == "unused" or not nodes:
        return
    required = checked.network_required
    network = Network(tuple(ports_of(nodes)), "error" if required else "warning", required)
    # A single server without cables is common and in order: only what was set up and is not so is said.
    alone = len(checked.nodes) == 1 and not required
    yield from settings.config_readable(nodes, network)
    yield from settings.addresses_saved(network)
    if not alone:
        yield from state.links_up(network)
    yield from settings.addresses_as_saved(network)
    if not alone:
        yield from settings.addresses_set(network)
    yield from alike.addresses_unique(network)
    if alone:
        return
    yield from alike.tls_alike(network)
    yield from alike.mtu_alike(network)
    yield from settings.gateways_right(network)
    yield from settings.detect_addresses_right(network)
    yield from state.health_good(network)
    yield from state.vnics_up(network)
    yield from unread.everything_read(nodes, checked.reach)
    if checked.reach is not None:
        yield from reach.peers_reached(checked.reach, network, {node.name for node in checked.nodes})


def _has_network(node: CheckedNode) -> bool:
    return node.survey is not None and node.product is not None and bool(node.product.network_mounts)
