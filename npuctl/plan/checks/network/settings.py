"""Each port as it was set up: what the device has against /etc/hccn.conf."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from npuctl.facts.survey import PortFacts
from npuctl.plan.checks._contract import CheckedNode
from npuctl.plan.checks.network._ports import NOT_JUDGED, Network, Port, not_read, with_mask
from npuctl.plan.model import Finding


def config_readable(nodes: Iterable[CheckedNode], network: Network) -> Iterator[Finding]:
    """/etc/hccn.conf can be read; where nothing spans nodes it need not be there."""
    for node in nodes:
        survey = node.survey
        if survey is None:
            continue
        absent = survey.unread.get("/etc/hccn.conf", "") if network.required and survey.ports else ""
        why = survey.hccn_conf_error or absent
        if why:
            yield Finding(
                id="network.config",
                severity=network.severity,
                node=node.name,
                seen=f"/etc/hccn.conf: {why}",
                expected="a file that says for each NPU which address it gets at the next boot",
                remedy=f"on {node.name}: mend that line of /etc/hccn.conf, or set the addresses anew with"
                " hccn_tool -i N -ip -s address A netmask M, which writes the file",
            )


def addresses_saved(network: Network) -> Iterator[Finding]:
    """Addresses that hccn.conf does not have, where it has those of other NPUs of the node."""
    saving = {port.node.name for port in network.ports if port.saved and port.saved.address}
    for port in network.ports:
        saved = port.saved.address if port.saved else ""
        if port.now.address and not saved and port.node.name in saving:
            yield Finding(
                id="network.config",
                severity=network.severity,
                node=port.node.name,
                npu=port.now.chip,
                seen=f"/etc/hccn.conf has no address for it; the device has {port.now.address} until the next boot",
                expected=f"address_{port.now.chip} in /etc/hccn.conf, as for the others",
                remedy=f"{port.tool} -ip -s address {port.now.address} netmask {port.now.netmask or 'M'}"
                " writes it there",
            )


def addresses_as_saved(network: Network) -> Iterator[Finding]:
    """The device has the address that hccn.conf gives it at the next boot."""
    for port in network.ports:
        saved = port.saved
        if saved is None or not saved.address or not_read(port, "ip"):
            continue
        now = (port.now.address, port.now.netmask)
        same_mask = not saved.netmask or not port.now.netmask or saved.netmask == port.now.netmask
        if port.now.address == saved.address and same_mask:
            continue
        network.blamed.add(port.card)
        yield Finding(
            id="network.address",
            severity=network.severity,
            node=port.node.name,
            npu=port.now.chip,
            seen=f"the device has {with_mask(*now)}{_owner_of(port, network)}",
            expected=f"{with_mask(saved.address, saved.netmask)}, as in /etc/hccn.conf",
            remedy=f"{port.tool} -cfg recovery sets what hccn.conf says; if the device is right,"
            f" hccn_tool -i {port.now.chip} -ip -s address A netmask M corrects the file",
        )


def _owner_of(port: Port, network: Network) -> str:
    for other in network.ports:
        if port.now.address and other.now.address == port.now.address and other.card != port.card:
            return f", which NPU {other.now.chip} of {other.node.name} has as well"
    return ""


def addresses_set(network: Network) -> Iterator[Finding]:
    """Every port that is needed, or whose neighbours on the node have one, has an address."""
    with_address = {port.node.name for port in network.ports if port.now.address}
    for port in network.ports:
        expected = network.required or port.node.name in with_address
        set_once = port.now.address or (port.saved and port.saved.address)
        if set_once or not expected or not_read(port, "ip"):
            continue
        network.blamed.add(port.card)
        yield Finding(
            id="network.unset",
            severity=network.severity,
            node=port.node.name,
            npu=port.now.chip,
            seen="no address, neither on the device nor in /etc/hccn.conf",
            expected="an address in the NPU network",
            remedy=f"{port.tool} -ip -s address A netmask M; then the gateway and the detect address",
        )


def gateways_right(network: Network) -> Iterator[Finding]:
    """The gateway is the one in hccn.conf, and within the port's network."""
    for port in network.ports:
        saved = port.saved.gateway if port.saved else ""
        now = port.now.gateway
        if port.card in network.blamed or not_read(port, "gateway"):
            continue
        if saved and now != saved:
            seen, expected = now or "no gateway", f"{saved}, as in /etc/hccn.conf"
        elif now and not _inside(now, port.now):
            own = with_mask(port.now.address, port.now.netmask)
            seen, expected = f"{now}, outside the port's network", f"a gateway that {own} reaches directly"
        else:
            continue
        network.blamed.add(port.card)
        yield Finding(
            id="network.gateway",
            severity=network.severity,
            node=port.node.name,
            npu=port.now.chip,
            seen=f"gateway {seen}",
            expected=expected,
            remedy=f"{port.tool} -cfg recovery sets what hccn.conf says;"
            f" hccn_tool -i {port.now.chip} -gateway -s gateway G corrects both",
        )


def _inside(gateway: str, port: PortFacts) -> bool:
    if not port.address or not port.netmask:
        return True
    try:
        network = ipaddress.ip_network(f"{port.address}/{port.netmask}", strict=False)
        return ipaddress.ip_address(gateway) in network
    except ValueError:
        return True


def detect_addresses_right(network: Network) -> Iterator[Finding]:
    """A warning at most: without a detect address a port works, but nobody hears when it does not."""
    for port in network.ports:
        saved = port.saved.detect_address if port.saved else ""
        now = port.now.detect_address
        unjudged = not now and port.now.net_health == NOT_JUDGED and port.now.address
        differs = saved and now != saved
        if not (unjudged or differs) or port.card in network.blamed or not_read(port, "netdetect"):
            continue
        yield Finding(
            id="network.detect",
            severity="warning",
            node=port.node.name,
            npu=port.now.chip,
            seen=f"detect address {now}" if now else "no detect address: net health is never judged",
            expected=f"{saved}, as in /etc/hccn.conf"
            if saved
            else "an address to probe, such as the gateway's",
            remedy=f"{port.tool} -cfg recovery sets what hccn.conf says"
            if saved
            else f"{port.tool} -netdetect -s address A, usually the gateway's",
        )
