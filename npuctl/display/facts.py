"""What is in the machines, for people: a table of nodes, and a block a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest

from npuctl.display import fact_words as words
from npuctl.display.text import SIMULATED, hint_lines
from npuctl.facts.model import ClusterFacts, NodeFacts
from npuctl.facts.survey import HostFacts, ImageFacts, PortFacts, Survey, WeightsFacts

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
_MOST_QUESTIONS = 4
_LABEL = 13
_DEFAULT = " (default)"


def facts_text(facts: ClusterFacts, *, details: bool = False) -> str:
    """A table of nodes; a block a node where there is only one, or with `details`."""
    lines = [SIMULATED] if facts.simulated else []
    single = len(facts.nodes) == 1
    if not single:
        lines += _table(facts.nodes)
    for name, node in facts.nodes.items():
        if single or details:
            lines += ["", *_block(name, node)] if lines else _block(name, node)
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


def _block(name: str, node: NodeFacts) -> list[str]:
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
        return [", ".join([*error, *devices])]
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
    return [f"NPU {words.numbers_text(sorted(chips))} by {who}" for who, chips in held.items()]


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
        lines.append(f"down: NPU {words.numbers_text(down)}")
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
    told = [f"{text} (NPU {words.numbers_text(chips)})" for text, chips in by_value.items()]
    return f"{title} {', '.join(told)}" if told else ""


def _image(image: ImageFacts) -> str:
    inside = [
        ("CANN", image.cann),
        ("torch-npu", image.torch_npu),
        ("engine", image.engine_version),
        ("for", image.soc_version),
    ]
    told = [f"{title} {value}" for title, value in inside if value]
    return f"{image.reference}: " + ", ".join([*told, words.size(image.size_bytes)])


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
        f"{disk.path} {words.size(disk.free_bytes)} of {words.size(disk.total_bytes)} free"
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
        f"{words.size(found.bytes)} in {len(found.shards)} {'file' if len(found.shards) == 1 else 'files'}",
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
        more = len(questions) - _MOST_QUESTIONS
        shown = ", ".join(questions[:_MOST_QUESTIONS]) + (f" and {more} more" if more > 0 else "")
        lines.append(f"{shown}: {why}")
    return lines
