"""What the ports of a node's NPUs have now: on the device, in hccn.conf, and in npuctl's record. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from npuctl.facts.survey import PortFacts, Survey
from npuctl.hardware.catalog import identify
from npuctl.hardware.hccn_conf import HCCN_CONF, HccnPort, parse_hccn_conf
from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, Node
from npuctl.plan.provision.npu_addresses import Port, plane_of
from npuctl.spec.machines import AddressPool, NpuAddresses

RECORD = "npu_network"
# The role's word for each setting → hccn_tool's word for the question, as it stands in Survey.unread.
_QUESTIONS = {
    "address": "ip",
    "netmask": "ip",
    "gateway": "gateway",
    "detect": "netdetect",
    "tls": "tls",
    "mtu": "mtu",
}

Settings = dict[str, str]


@dataclass(frozen=True, slots=True)
class PortState:
    """One port: what runs and what hccn.conf has, by the role's words; "" for what is not set.

    `complete`: with the address that it has there is nothing to set.
    """

    chip: int
    plane: int
    runs: Settings
    saved: Settings
    complete: bool


@dataclass(frozen=True, slots=True)
class Noted:
    """One setting of one chip in the record: what ran and what hccn.conf had before, and what npuctl set."""

    ran: str = ""
    saved: str = ""
    ours: str = ""


@dataclass(slots=True)
class Seen:
    """One node, as far as its ports could be read.

    Attributes:
        ports: those that can be set.
        kept: addresses in hccn.conf of chips that have no port to ask: nobody else may have them.
        sure: every address that its ports have is known.
        described: it is known which chips have ports.
    """

    node: Node
    ports: list[PortState] = field(default_factory=list)
    kept: dict[int, str] = field(default_factory=dict)
    sure: bool = True
    described: bool = True
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def held(self) -> list[Port]:
        """Its ports as addresses are given to them."""
        record = record_of(self.node)
        own = [
            Port(
                self.node.name,
                port.chip,
                port.plane,
                running=port.runs["address"],
                saved=port.saved.get("address", ""),
                given=record.get(port.chip, {}).get("address", Noted()).ours,
                settled=port.complete or port.chip in record,
            )
            for port in self.ports
        ]
        own += [Port(self.node.name, chip, -1, saved=address) for chip, address in self.kept.items()]
        return sorted(own, key=lambda port: port.chip)


def see(node: Node, spec: NpuAddresses) -> Seen:
    """Read what was looked up of a node; findings say what could not be read."""
    seen = Seen(node)
    if trouble := record_trouble(node):
        seen.findings.append(unreadable_record(node, trouble))
    facts, survey = node.facts, node.facts.survey
    conf = _read_conf(seen)
    seen.kept = {chip: port.address for chip, port in conf.items() if port.address}
    product = identify([chip.name for chip in facts.chips], len(facts.chips))
    if product is not None and not product.network_mounts:
        seen.notes.append(f"{product.title}: its NPUs have no network of their own, no address is given here")
    elif survey is not None and facts.chips and survey.ports:
        _read_ports(seen, spec, survey, conf)
    elif survey is not None and not facts.chips and not survey.ports:
        # Nothing runs on a port without a driver; what it gets at the next boot stands in the file.
        seen.notes.append("no NPU answers here: addresses are given once its driver runs")
        seen.described = False
    else:
        seen.findings.append(unread(node, f"the ports of its NPUs cannot be read: {_why_no_ports(node)}"))
        seen.sure = bool(facts.chips) and len(seen.kept) >= len(facts.chips)
        seen.described = False
    return seen


def _why_no_ports(node: Node) -> str:
    survey = node.facts.survey
    if survey is None:
        return "nobody looked at them"
    if survey.ports:
        return f"npu-smi does not say which chips there are: {node.facts.npu_error or 'it lists none'}"
    return survey.unread.get("hccn_tool", "hccn_tool names none")


def _read_ports(seen: Seen, spec: NpuAddresses, survey: Survey, conf: Mapping[int, HccnPort]) -> None:
    chips = seen.node.facts.chips
    seats = {chip.id: chip.chip for chip in chips}
    per_npu = 1 + max(seats.values())
    if len(spec.pools) == 2 and per_npu != 2:  # noqa: PLR2004  the two planes of an A3
        expected = "one pool: its NPUs have one chip each" if per_npu == 1 else "one pool"
        seen.findings.append(unfit(seen.node, "two pools, which are for NPUs of two chips", expected))
    for port in survey.ports:
        plane = plane_of(len(spec.pools), port.chip, seats.get(port.chip, port.chip % per_npu))
        runs, kept = running(port), saved(conf.get(port.chip))
        ideal = wanted_settings(spec, spec.pools[plane], port.address)
        complete = all(runs[key] == value == kept.get(key, "") for key, value in ideal.items())
        seen.ports.append(PortState(port.chip, plane, runs, kept, complete and bool(port.address)))
        seen.kept.pop(port.chip, None)
        known = port.chip in conf and conf[port.chip].address
        seen.sure = seen.sure and bool(known or f"chip {port.chip}: ip" not in survey.unread)
    seen.findings += _unread_ports(seen.node, survey, _asked(spec))


def _read_conf(seen: Seen) -> Mapping[int, HccnPort]:
    file = seen.node.setup.files.get(HCCN_CONF)
    why = file.error if file else ""
    if file and not why:
        try:
            return parse_hccn_conf(file.text).ports
        except UnreadableError as error:
            why = str(error)
    if why:
        seen.findings.append(unread(seen.node, f"{HCCN_CONF} cannot be read: {why}"))
    return {}


def running(port: PortFacts) -> Settings:
    """What the device has, by the role's words."""
    return {
        "address": port.address,
        "netmask": port.netmask,
        "gateway": port.gateway,
        "detect": port.detect_address,
        "tls": as_text(port.tls_switch),
        "mtu": as_text(port.mtu),
    }


def saved(port: HccnPort | None) -> Settings:
    """What hccn.conf has, by the role's words."""
    if port is None:
        return {}
    return {
        "address": port.address or "",
        "netmask": port.netmask or "",
        "gateway": port.gateway or "",
        "detect": port.netdetect or "",
        "tls": as_text(None if port.tls_enable is None else int(port.tls_enable)),
        "mtu": as_text(port.mtu),
    }


def as_text(number: int | None) -> str:
    """A number as hccn.conf has it; "" for none."""
    return "" if number is None else str(number)


def detect_of(pool: AddressPool) -> str:
    """What the ports of a pool ask about their health."""
    return pool.detect or pool.gateway or ""


def wanted_settings(spec: NpuAddresses, pool: AddressPool, address: str) -> Settings:
    """What a port with that address should have; what the spec does not say is left as it is."""
    settings = {
        "address": address,
        "netmask": str(ipaddress.IPv4Network(pool.network).netmask),
        "gateway": pool.gateway or "",
        "detect": detect_of(pool),
        "tls": as_text(int(spec.tls)),
        "mtu": as_text(spec.mtu),
    }
    return {key: value for key, value in settings.items() if value}


def _asked(spec: NpuAddresses) -> Sequence[str]:
    """hccn_tool's words for what has to be known of a port."""
    unneeded = {
        "gateway": not any(pool.gateway for pool in spec.pools),
        "netdetect": not any(detect_of(pool) for pool in spec.pools),
        "mtu": spec.mtu is None,
    }
    return [word for word in dict.fromkeys(_QUESTIONS.values()) if not unneeded.get(word)]


def _unread_ports(node: Node, survey: Survey, asked: Sequence[str]) -> Iterator[Finding]:
    for port in survey.ports:
        for word in asked:
            why = survey.unread.get(f"chip {port.chip}: {word}")
            if why is not None:
                yield replace(unread(node, f"hccn_tool does not say its {word}: {why}"), npu=port.chip)
                break


def unread(node: Node, why: str) -> Finding:
    """The refusal of a node whose ports cannot be read."""
    return Finding(
        id="provision.ports_unread",
        severity="error",
        node=node.name,
        seen=why,
        expected="hccn_tool and hccn.conf say what every port has, before one is set",
        remedy=f"on {node.name}: hccn_tool -i 0 -ip -g; npuctl check says more of the cause",
    )


def unreadable_record(node: Node, why: str) -> Finding:
    """Without the note nobody knows what the ports had before, and a new one would lose it for good."""
    return Finding(
        id="provision.ports_record",
        severity="error",
        node=node.name,
        seen=f"{RECORDS}/{RECORD}.json: {why}",
        expected="what npuctl noted there of the ports that it set, and of what they had before",
        remedy=f"mend the file on {node.name}, or move it away: its ports then stay as they are now, for good",
    )


def unfit(node: Node, what: str, expected: str) -> Finding:
    """The refusal of what the spec says of a node."""
    return Finding(
        id="provision.address_unfit",
        severity="error",
        node=node.name,
        seen=what,
        expected=expected,
        remedy=f"correct npu_addresses in the spec, where it is about {node.name}",
    )


def record_of(node: Node) -> dict[int, dict[str, Noted]]:
    """Chip → key → what npuctl noted on the node before it set it; nothing where the note cannot be read."""
    try:
        return _read_record(node.setup.records.get(RECORD, {}))
    except UnreadableError:
        return {}


def record_trouble(node: Node) -> str:
    """Why nothing can be gone on from npuctl's note on the node; "" where it can, or there is none."""
    try:
        _read_record(node.setup.records.get(RECORD, {}))
    except UnreadableError as error:
        return str(error)
    return ""


def _read_record(record: Mapping[str, object]) -> dict[int, dict[str, Noted]]:
    if not record:
        return {}
    if "error" in record:
        raise UnreadableError(str(record["error"]))
    ports = record.get("ports")
    if not isinstance(ports, dict) or not isinstance(record.get("cluster"), str):
        raise UnreadableError("it does not say whose ports it is about")
    found: dict[int, dict[str, Noted]] = {}
    for chip, keys in ports.items():
        if not str(chip).isdecimal() or not isinstance(keys, dict):
            raise UnreadableError(f"{chip!r} is no chip with what was set on it")
        found[int(chip)] = {key: _read_noted(f"chip {chip}: {key}", entry) for key, entry in keys.items()}
    return found


def _read_noted(where: str, entry: object) -> Noted:
    values = [entry.get(key) for key in ("ran", "saved", "ours")] if isinstance(entry, dict) else []
    ran, saved_, ours = values or (None, None, None)
    if not isinstance(ours, str) or not isinstance(ran, str | None) or not isinstance(saved_, str | None):
        raise UnreadableError(f"{where} is not as npuctl writes it")
    return Noted(ran or "", saved_ or "", ours)
