"""A chip's port on the NPU network: its running settings and /etc/hccn.conf, which outlives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from npusim.state import State, rooted, write_file

if TYPE_CHECKING:
    from npusim.products import SimProduct

# A port's running settings under the names that hccn.conf gives them, plus "link".
Port = dict[str, Any]
PERSISTED = ("address", "netmask", "netdetect", "gateway", "send_arp_status", "tls_enable", "mtu")
DEFAULT_MTU = 1500
_NETMASK = "255.255.0.0"


def conf_path() -> str:
    """The file that the real tool keeps addresses in."""
    return rooted("/etc/hccn.conf")


def factory_ports(kind: SimProduct, node_index: int) -> dict[str, Port]:
    """The ports of a node that was set up: an address per chip, the gateway as detect address.

    All chips of an A2 cluster share one network. On an A3 the first dies share one and the second
    dies another, as seen in the field. A 310P has no such port.
    """
    if not kind.has_roce:
        return {}
    ports: dict[str, Port] = {}
    for chip in kind.chips:
        network = f"10.{20 + chip.chip}"
        ports[str(chip.device)] = {
            "address": f"{network}.{node_index}.{11 + chip.device}",
            "netmask": _NETMASK,
            "netdetect": f"{network}.255.1",
            "gateway": f"{network}.255.1",
            "send_arp_status": "1",
            "tls_enable": "0",
            "mtu": str(DEFAULT_MTU),
            "link": "up",
        }
    return ports


def write_conf(ports: dict[str, Port]) -> None:
    """Write hccn.conf from the ports' settings."""
    lines = [
        f"{key}_{device}={port[key]}\n"
        for device, port in sorted(ports.items(), key=lambda item: int(item[0]))
        for key in PERSISTED
        if port.get(key) not in (None, "") and (key, port[key]) != ("mtu", str(DEFAULT_MTU))
    ]
    write_file(conf_path(), "".join(lines), mode=0o640)


def read_conf() -> dict[str, Port]:
    """What hccn.conf says, by device; lines that are no setting of ours are passed over."""
    found: dict[str, Port] = {}
    try:
        with open(conf_path(), encoding="utf-8") as file:  # noqa: PTH123
            for line in file:
                name, _, value = line.strip().partition("=")
                key, _, device = name.rpartition("_")
                if key in PERSISTED and device.isdecimal():
                    found.setdefault(device, {})[key] = value
    except FileNotFoundError:
        pass
    return found


def persist(device: int, settings: Port) -> None:
    """Write these settings of one chip into hccn.conf and keep every other line as it stands."""
    try:
        with open(conf_path(), encoding="utf-8") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except FileNotFoundError:
        lines = []
    for key, value in settings.items():
        entry = f"{key}_{device}={value}"
        for position, line in enumerate(lines):
            if line.partition("=")[0].strip() == f"{key}_{device}":
                lines[position] = entry
                break
        else:
            lines.append(entry)
    write_file(conf_path(), "".join(f"{line}\n" for line in lines), mode=0o640)


def recover(state: State, device: str) -> None:
    """Make the running settings those of hccn.conf and bring the link up, as `-cfg recovery` does."""
    saved = read_conf().get(device, {})
    state["ports"][device] = {
        **dict.fromkeys(PERSISTED, ""),
        "tls_enable": "0",
        "mtu": str(DEFAULT_MTU),
        **saved,
        "link": "up",
    }
