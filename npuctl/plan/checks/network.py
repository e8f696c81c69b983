"""The NPU network: every port as it was set up, up, and within reach of every other node's.

One cause, one finding. A port whose link is down has no gateway, no health and no peers: only the link is
said. So each check is given the cards that something was found at, and is silent about those where what it
sees would follow from that.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from npuctl.facts.reach import Reach
from npuctl.facts.survey import ConfiguredPort, PortFacts
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.culprits import Break, Tally, name_breaks
from npuctl.plan.model import Finding, Severity
from npuctl.plan.reach import Card

_UP = "UP"
_DOWN = "DOWN"
_HEALTHY = "Success"
# "Init" is said where no detect address was set, or nothing was probed yet: mind-cluster's NPU exporter counts
# it as healthy, its faultdiag does not.
_NOT_JUDGED = "Init"
_MOST_NAMED = 4
_QUESTIONS = ("hccn_tool", "link", "net_health", "ip", "gateway", "netdetect", "tls", "mtu")


@dataclass(frozen=True, slots=True)
class _Port:
    """One card's port: as it runs, and as hccn.conf has it."""

    node: CheckedNode
    now: PortFacts
    saved: ConfiguredPort | None

    @property
    def card(self) -> Card:
        return self.node.name, self.now.chip

    @property
    def tool(self) -> str:
        return f"on {self.node.name}: hccn_tool -i {self.now.chip}"


@dataclass(frozen=True, slots=True)
class _Network:
    """What is judged, how grave it is, and the cards that something was found at already."""

    ports: tuple[_Port, ...]
    severity: Severity
    required: bool
    blamed: set[Card] = field(default_factory=set)


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the NPU network; nothing where the spec says that it is unused."""
    nodes = [node for node in checked.nodes if _has_network(node)]
    if checked.spec.npu_network == "unused" or not nodes:
        return
    required = checked.network_required
    network = _Network(tuple(_ports(nodes)), "error" if required else "warning", required)
    # A single server without cables is common and in order: only what was set up and is not so is said.
    alone = len(checked.nodes) == 1 and not required
    yield from _config(nodes, network)
    yield from _unsaved(network)
    if not alone:
        yield from _links(network)
    yield from _addresses(network)
    if not alone:
        yield from _unset(network)
    yield from _duplicates(network)
    if alone:
        return
    yield from _tls(network)
    yield from _mtu(network)
    yield from _gateways(network)
    yield from _detect_addresses(network)
    yield from _health(network)
    yield from _vnics(network)
    yield from _unread(nodes, checked.reach)
    if checked.reach is not None:
        yield from _reach(checked.reach, network, {node.name for node in checked.nodes})


def _has_network(node: CheckedNode) -> bool:
    return node.survey is not None and node.product is not None and bool(node.product.network_mounts)


def _ports(nodes: Iterable[CheckedNode]) -> Iterator[_Port]:
    for node in nodes:
        if node.survey is not None:
            saved = {port.chip: port for port in node.survey.configured_ports}
            yield from (_Port(node, port, saved.get(port.chip)) for port in node.survey.ports)


def _config(nodes: Iterable[CheckedNode], network: _Network) -> Iterator[Finding]:
    for node in nodes:
        if node.survey is not None and node.survey.hccn_conf_error:
            yield Finding(
                id="network.config",
                severity=network.severity,
                node=node.name,
                seen=f"/etc/hccn.conf: {node.survey.hccn_conf_error}",
                expected="a file that says for each NPU which address it gets at the next boot",
                remedy=f"on {node.name}: mend that line of /etc/hccn.conf, or set the addresses anew with"
                " hccn_tool -i N -ip -s address A netmask M, which writes the file",
            )


def _unsaved(network: _Network) -> Iterator[Finding]:
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


def _links(network: _Network) -> Iterator[Finding]:
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


def _addresses(network: _Network) -> Iterator[Finding]:
    for port in network.ports:
        saved = port.saved
        if saved is None or not saved.address or _not_read(port, "ip"):
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
            seen=f"the device has {_with_mask(*now)}{_owner_of(port, network)}",
            expected=f"{_with_mask(saved.address, saved.netmask)}, as in /etc/hccn.conf",
            remedy=f"{port.tool} -cfg recovery sets what hccn.conf says; if the device is right,"
            f" hccn_tool -i {port.now.chip} -ip -s address A netmask M corrects the file",
        )


def _owner_of(port: _Port, network: _Network) -> str:
    for other in network.ports:
        if port.now.address and other.now.address == port.now.address and other.card != port.card:
            return f", which NPU {other.now.chip} of {other.node.name} has as well"
    return ""


def _with_mask(address: str, netmask: str) -> str:
    if not address:
        return "no address"
    return f"{address}/{netmask}" if netmask else address


def _unset(network: _Network) -> Iterator[Finding]:
    with_address = {port.node.name for port in network.ports if port.now.address}
    for port in network.ports:
        expected = network.required or port.node.name in with_address
        set_once = port.now.address or (port.saved and port.saved.address)
        if set_once or not expected or _not_read(port, "ip"):
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


def _not_read(port: _Port, question: str) -> bool:
    """Whether the tool could not say; that something was never set is an answer."""
    return port.node.survey is not None and f"chip {port.now.chip}: {question}" in port.node.survey.unread


def _duplicates(network: _Network) -> Iterator[Finding]:
    owners: dict[str, _Port] = {}
    for port in network.ports:
        if not port.now.address or port.card in network.blamed:
            continue
        first = owners.setdefault(port.now.address, port)
        if first is port:
            continue
        network.blamed.update((first.card, port.card))
        yield Finding(
            id="network.duplicate",
            severity=network.severity,
            node=port.node.name,
            npu=port.now.chip,
            seen=f"{port.now.address}, which NPU {first.now.chip} of {first.node.name} has as well",
            expected="an address of its own for every NPU of the cluster",
            remedy=f"{port.tool} -ip -s address A netmask M gives it another one; or give"
            f" NPU {first.now.chip} of {first.node.name} another one",
        )


def _tls(network: _Network) -> Iterator[Finding]:
    switches = {port.card: port.now.tls_switch for port in network.ports if port.now.tls_switch is not None}
    for odd in _odd_ones(switches):
        network.blamed.update((odd.card,) if odd.card else ())
        yield Finding(
            id="network.tls",
            severity=network.severity,
            node=odd.card[0] if odd.card else "",
            npu=odd.card[1] if odd.card else None,
            seen=f"TLS switch {odd.seen}",
            expected=f"the same TLS switch on every NPU{odd.majority}",
            remedy="hccn_tool -i N -tls -s enable 0 on the NPUs that differ (0 is what msprechecker"
            " expects), or 1 on all the others",
        )


def _mtu(network: _Network) -> Iterator[Finding]:
    sizes = {port.card: port.now.mtu for port in network.ports if port.now.mtu is not None}
    for odd in _odd_ones(sizes):
        yield Finding(
            id="network.mtu",
            severity=network.severity,
            node=odd.card[0] if odd.card else "",
            npu=odd.card[1] if odd.card else None,
            seen=f"MTU {odd.seen}",
            expected=f"the same MTU on every NPU{odd.majority}",
            remedy="hccn_tool -i N -mtu -s size S on the NPUs that differ; the switch must carry that size",
        )


@dataclass(frozen=True, slots=True)
class _Odd:
    """A card that differs from most; or, without a majority, all sides in one."""

    card: Card | None
    seen: str
    majority: str


def _odd_ones(values: dict[Card, int]) -> Iterator[_Odd]:
    """The minority, card by card; where two values are equally common, one entry that names both sides."""
    common = Counter(values.values()).most_common()
    if len(common) <= 1:
        return
    (most, count), (_, next_count) = common[:2]
    if count == next_count:
        sides = (f"{value} on {_named([card for card in values if values[card] == value], values)}"
                 for value, _ in sorted(common))  # fmt: skip
        yield _Odd(None, "; ".join(sides), "")
        return
    for card, value in values.items():
        if value != most:
            yield _Odd(card, str(value), f": {most}, as {count} of {len(values)} have")


def _named(cards: list[Card], every: Iterable[Card]) -> str:
    """Cards in words; a node whose cards are all among them by its name."""
    whole = Counter(node for node, _ in every)
    words = []
    for node, count in Counter(node for node, _ in cards).items():
        chips = ", ".join(str(chip) for owner, chip in cards if owner == node)
        words.append(node if count == whole[node] else f"NPU {chips} of {node}")
    return ", ".join(words)


def _gateways(network: _Network) -> Iterator[Finding]:
    for port in network.ports:
        saved = port.saved.gateway if port.saved else ""
        now = port.now.gateway
        if port.card in network.blamed or _not_read(port, "gateway"):
            continue
        if saved and now != saved:
            seen, expected = now or "no gateway", f"{saved}, as in /etc/hccn.conf"
        elif now and not _inside(now, port.now):
            own = _with_mask(port.now.address, port.now.netmask)
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


def _detect_addresses(network: _Network) -> Iterator[Finding]:
    """A warning at most: without a detect address a port works, but nobody hears when it does not."""
    for port in network.ports:
        saved = port.saved.detect_address if port.saved else ""
        now = port.now.detect_address
        unjudged = not now and port.now.net_health == _NOT_JUDGED and port.now.address
        differs = saved and now != saved
        if not (unjudged or differs) or port.card in network.blamed or _not_read(port, "netdetect"):
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


def _health(network: _Network) -> Iterator[Finding]:
    for port in network.ports:
        word = port.now.net_health
        waiting = word == _NOT_JUDGED
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


def _vnics(network: _Network) -> Iterator[Finding]:
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


def _unread(nodes: Iterable[CheckedNode], reach: Reach | None) -> Iterator[Finding]:
    """What could not be proven is no proof: said once a node."""
    for node in nodes:
        why = _why_ports_unread(node) or (_why_probes_unread(node.name, reach) if reach else "")
        if why:
            yield Finding(
                id="network.unread",
                severity="warning",
                node=node.name,
                seen=why,
                expected="answers of hccn_tool about every port",
                remedy=f"on {node.name}: hccn_tool -i 0 -link -g shows what it says; end whoever calls it all"
                " the time, then check again",
            )


def _why_ports_unread(node: CheckedNode) -> str:
    survey = node.survey
    if survey is None or any(port.link or port.address or port.net_health for port in survey.ports):
        return ""
    reasons = Counter(
        why for question, why in survey.unread.items() if question.rpartition(": ")[2] in _QUESTIONS
    )
    return f"no port could be read: {_cause(reasons)}" if reasons else ""


def _why_probes_unread(node: str, reach: Reach) -> str:
    own = [port for port in reach.ports if port.node == node]
    if own and node in reach.skipped:
        return f"no probe was made from here: {reach.skipped[node]}"
    asked = sum(port.from_asked for port in own)
    reasons = Counter(probe.why for probe in reach.probes if probe.node == node and probe.outcome == "unread")
    if not reasons:
        return ""
    return f"{reasons.total()} of {asked} probes gave no figures: {_cause(reasons)}"


def _cause(reasons: Counter[str]) -> str:
    """The commonest reason that does not merely follow from another one ("not asked: …")."""
    own = [why for why, _ in reasons.most_common() if not why.startswith("not ")]
    return (own or list(reasons))[0]


def _reach(reach: Reach, network: _Network, judged: Collection[str]) -> Iterator[Finding]:
    """What probes between the judged nodes got lost at; others may have probed, and serve nothing."""
    others = {(port.node, port.chip) for port in reach.ports if port.node not in judged}
    breaks = name_breaks(reach, explained=network.blamed | others)
    only = len(breaks) == 1 and not network.blamed
    for found in breaks:
        yield Finding(
            id="network.reach",
            severity=network.severity,
            node="" if found.kind == "islands" else found.nodes[0],
            npu=found.chip,
            seen=_SEEN[found.kind](found) + (_OTHERS[found.kind] if only else ""),
            expected="every NPU reaches every NPU of the other nodes",
            remedy=_remedy(found, reach),
        )


def _seen_card(found: Break) -> str:
    return f"{_said(found.to)} to it and {_said(found.back, short=True)} from it lost"


def _seen_node(found: Break) -> str:
    return f"{_said(found.to)} to its NPUs and {_said(found.back, short=True)} from them lost"


def _seen_islands(found: Break) -> str:
    groups = "; ".join(_listed(group) for group in found.islands)
    return f"nothing passes between {len(found.islands)} groups of nodes: {groups} ({_said(found.to)} lost)"


def _seen_nodes(found: Break) -> str:
    other = found.nodes[1]
    return f"{_said(found.to)} to {other} and {_said(found.back, short=True)} from {other} lost"


def _seen_pairs(found: Break) -> str:
    both = {(a, b) for a, b in found.pairs if (b, a) in found.pairs}
    pairs = [
        f"NPU {a[1]} of {a[0]} {'and' if (a, b) in both else 'to'} NPU {b[1]} of {b[0]}"
        for a, b in found.pairs
        if (a, b) not in both or a < b
    ]
    return f"lost between cards that reach all others: {_listed(pairs)}"


_SEEN: dict[str, Callable[[Break], str]] = {
    "card": _seen_card,
    "node": _seen_node,
    "islands": _seen_islands,
    "nodes": _seen_nodes,
    "pairs": _seen_pairs,
}
_OTHERS = {
    "card": "; all others reach each other",
    "node": "; the other nodes reach each other",
    "islands": "",
    "nodes": "; all others reach each other",
    "pairs": "",
}


def _said(tally: Tally, *, short: bool = False) -> str:
    partly = f" ({tally.partly} of them in part)" if tally.partly else ""
    return f"{tally.lost} of {tally.asked}{'' if short else ' probes'}{partly}"


def _listed(words: Iterable[str]) -> str:
    own = list(words)
    more = f" and {len(own) - _MOST_NAMED} more" if len(own) > _MOST_NAMED else ""
    return ", ".join(own[:_MOST_NAMED]) + more


def _remedy(found: Break, reach: Reach) -> str:
    if found.kind == "card":
        own = next(port for port in reach.ports if (port.node, port.chip) == (found.nodes[0], found.chip))
        return (
            f"look after cable, optical module and switch port of that NPU ({own.address}); on another node:"
            f" hccn_tool -i 0 -ping -g address {own.address} shows whether it helped"
        )
    if found.kind == "pairs":
        return (
            "probe that pair again; if it stays, the switch forwards this pair of ports wrongly (hash, ACL)"
        )
    return "look after the switch between them, its VLAN and the routes between their NPU networks"
