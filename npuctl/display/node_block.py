"""One node for people: a subject a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from npuctl.display import fact_words as words
from npuctl.facts.model import NodeFacts
from npuctl.facts.survey import HostFacts, ImageFacts, PortFacts, Survey, WeightsFacts
from npuctl.plan.wording import ranges, several, size_for_table

_MOST_QUESTIONS = 4
_LABEL = 13
_DEFAULT = " (default)"


def node_block(name: str, node: NodeFacts) -> list[str]:
    """Everything about one node, a subject a line."""
    title = [words.product_of(node), node.os, node.architecture, node.kernel and f"kernel {node.kernel}"]
    lines = [f"{name}: " + ", ".join(part for part in title if part)]
    for label, texts in _subjects(node):
        for position, text in enumerate(texts):
            lines.append(f"  {label if position == 0 else '':<{_LABEL}} {text}".rstrip())
    return lines


def _subjects(node: NodeFacts) -> Iterator[tuple[str, list[str]]]:
    survey = node.survey
    yield "NPUs", _npus(node)
    yield "held", _holders(node)
    yield "driver", _driver(node)
    if survey:
        yield "NPU network", _npu_network(survey)
        yield "images", [_image(image) for image in survey.images]
        yield "network", _nics(survey.host)
        yield "disks", _disks(survey.host)
    memory = f"{words.memory(node)} free"
    yield "memory", [f"{memory}, {survey.host.cpus} CPUs" if survey and survey.host.cpus else memory]
    if survey:
        yield "clock", _clock(survey.host)
    yield "containers", [_engine(node), *(f"{entry.name}: {entry.state}" for entry in node.containers)]
    if survey:
        yield "models", [_weights(found) for found in survey.weights.values()]
        yield "not read", _unread(survey)


def _npus(node: NodeFacts) -> list[str]:
    if node.npu_error:
        error = [words.first_line(node.npu_error)]
        devices = [f"{len(node.devices)} device nodes"] if node.devices else []
        on_bus = [words.missing_chips(node)] if words.missing_chips(node) else []
        return [", ".join([*error, *devices, *on_bus])]
    if not node.chips:
        return ["none"]
    names = ", ".join(sorted({chip.name for chip in node.chips}))
    health = words.health_words(node)
    heat = [chip.temperature_c for chip in node.chips if chip.temperature_c is not None]
    parts = [
        f"{words.chip_count(node)} x {names}",
        "all OK" if health == "OK" else f"not OK: {health}",
        f"HBM {words.hbm(node)} used",
        *([f"{min(heat)} to {max(heat)} °C"] if heat else []),
    ]
    lines = ["; ".join(parts)]
    missing = words.missing_chips(node)
    if missing:
        lines.append(missing)
    for chip in node.survey.chips if node.survey else []:
        told = [
            f"{code} {text}".strip()
            for code, text in zip_longest(chip.error_codes, chip.error_texts, fillvalue="")
        ]
        if told:
            lines.append(f"NPU {chip.id}: " + "; ".join(told))
        if chip.ecc_uncorrectable:
            lines.append(f"NPU {chip.id}: {chip.ecc_uncorrectable} uncorrectable ECC errors")
    return lines


def _holders(node: NodeFacts) -> list[str]:
    """Who holds which NPUs open."""
    held: dict[str, set[int]] = {}
    for holder in node.holders:
        who = f"container {holder.container}" if holder.container else f"pid {holder.pid} {holder.command}"
        held.setdefault(who[:80], set()).add(holder.chip)
    return [f"NPU {ranges(chips)} by {who}" for who, chips in held.items()]


def _driver(node: NodeFacts) -> list[str]:
    parts = [words.driver(node)]
    survey = node.survey
    if survey:
        fits = sorted({card.compatibility for card in survey.cards} - {""})
        on_disk = survey.files.firmware
        running = words.firmware(node)
        if running:
            differs = on_disk and on_disk != running
            parts.append(f"firmware {running}" + (f" (on disk {on_disk})" if differs else ""))
        parts += [f"compatibility {'/'.join(fits)}"] if fits else []
        parts += [f"installation {survey.files.install_status}"] if survey.files.install_status else []
    return [", ".join(parts)]


def _npu_network(survey: Survey) -> list[str]:
    ports = survey.ports
    if not ports:
        return []
    health = sorted({port.net_health for port in ports} - {""})
    parts = [
        f"{sum(port.link == 'UP' for port in ports)} of {len(ports)} ports up",
        *([f"{silent} unread"] if (silent := sum(not port.link for port in ports)) else []),
        *([f"health {', '.join(health)}"] if health else []),
        words.addresses_text(port.address for port in ports),
        _each(ports, "gateway", lambda port: port.gateway),
        _each(ports, "TLS", lambda port: {None: "", 0: "off", 1: "on"}.get(port.tls_switch, "?")),
        _each(ports, "MTU", lambda port: str(port.mtu or "")),
    ]
    lines = ["; ".join(part for part in parts if part)]
    vnic = words.addresses_text(port.vnic_address for port in ports)
    if vnic:
        up = sum(port.vnic_link == "UP" for port in ports)
        lines.append(f"in the super pod: {up} of {len(ports)} up; {vnic}")
    down = [port.chip for port in ports if port.link and port.link != "UP"]
    if down:
        lines.append(f"down: NPU {ranges(down)}")
    if survey.hccn_conf_error:
        lines.append(f"/etc/hccn.conf cannot be read: {survey.hccn_conf_error}")
    return lines


def _each(ports: Sequence[PortFacts], title: str, value: Callable[[PortFacts], str]) -> str:
    """A setting that ought to be the same everywhere: its value, or each with its chips."""
    by_value: dict[str, list[int]] = {}
    for port in ports:
        by_value.setdefault(value(port), []).append(port.chip)
    by_value.pop("", None)
    if len(by_value) == 1:
        return f"{title} {next(iter(by_value))}"
    told = [f"{text} (NPU {ranges(chips)})" for text, chips in by_value.items()]
    return f"{title} {', '.join(told)}" if told else ""


def _image(image: ImageFacts) -> str:
    inside = [
        ("CANN", image.cann),
        ("torch-npu", image.torch_npu),
        ("engine", image.engine_version),
        ("for", image.soc_version),
    ]
    told = [f"{title} {value}" for title, value in inside if value]
    return f"{image.reference}: " + ", ".join([*told, size_for_table(image.size_bytes)])


def _nics(host: HostFacts) -> list[str]:
    lines = []
    for nic in host.nics:
        if nic.kind == "loopback" or not (nic.up or nic.addresses) or nic.kind == "bridge":
            continue
        parts = [
            " ".join([nic.name, *nic.addresses]),
            f"MTU {nic.mtu}",
            *([f"{nic.speed_mbit} Mbit/s"] if nic.speed_mbit else []),
            *([] if nic.up else ["down"]),
        ]
        lines.append(", ".join(parts))
    resolved = ", ".join(host.hostname_addresses)
    if resolved:
        lines.append(f"its own name is {resolved}")
    if host.firewalls:
        lines.append(f"firewall: {', '.join(host.firewalls)}")
    return lines


def _disks(host: HostFacts) -> list[str]:
    return [
        f"{disk.path} {size_for_table(disk.free_bytes)} of {size_for_table(disk.total_bytes)} free"
        f" ({disk.filesystem}: {', '.join(disk.holds)})"
        for disk in host.disks
    ]


def _clock(host: HostFacts) -> list[str]:
    text = words.clock(host)
    if not text:
        return []
    told = f"{text} off this machine's"
    if not text.startswith("<"):
        told += f", give or take {host.clock_doubt_seconds:.1f} s"
    synchronized = {None: "", True: ", synchronised", False: ", not synchronised"}[host.clock_synchronized]
    return [told + synchronized]


def _engine(node: NodeFacts) -> str:
    parts = [f"Docker {words.engine(node)}"]
    host = node.survey.host if node.survey else None
    if host and host.docker_runtimes:
        names = [
            name + (_DEFAULT if name == host.docker_default_runtime else "")
            for name in sorted(host.docker_runtimes)
            if not name.startswith("io.containerd.")
        ]
        parts.append(f"runtimes {', '.join(names)}")
        parts.append(f"{host.docker_driver} in {host.docker_root}")
        parts += [f"programs missing: {', '.join(host.missing_runtimes)}"] if host.missing_runtimes else []
    return "; ".join(parts)


def _weights(found: WeightsFacts) -> str:
    if not found.exists:
        return f"{found.path}: not there"
    config = found.config or {}
    architectures = config.get("architectures")
    kind = str(architectures[0]) if isinstance(architectures, list) and architectures else ""
    broken = [name for name, shard in found.shards.items() if shard.error]
    parts = [
        f"{size_for_table(found.bytes)} in {len(found.shards)} {'file' if len(found.shards) == 1 else 'files'}",
        kind,
        str(config.get("torch_dtype") or ""),
        found.quantization,
        found.config_error,
        f"cannot read {broken[0]}: {found.shards[broken[0]].error}" if broken else "",
    ]
    return f"{found.path}: " + ", ".join(part for part in parts if part)


def _unread(survey: Survey) -> list[str]:
    lines = []
    for why, questions in words.by_reason(survey.unread).items():
        lines.append(f"{several(questions, _MOST_QUESTIONS)}: {why}")
    return lines
