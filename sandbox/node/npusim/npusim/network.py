"""A chip's port on the NPU network: its running settings and /etc/hccn.conf, which outlives them."""

from __future__ import annotations

from npusim.state import State, faults_of, rooted, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from npusim.products import SimProduct

    Port = dict[str, Any]
else:
    Port = dict

# A Port is a port's running settings under the names that hccn.conf gives them, plus "link".
PERSISTED = ("address", "netmask", "netdetect", "gateway", "send_arp_status", "tls_enable", "mtu")
DEFAULT_MTU = 1500
# Drills that change what runs behind hccn.conf's back, and the setting that each changes.
RUNNING_FAULTS = {
    "ip": "address",
    "tls": "tls_enable",
    "gateway": "gateway",
    "detect": "netdetect",
    "npu-mtu": "mtu",
}
# Drills that change both: the address was set wrongly, or never.
SAVED_FAULTS = frozenset({"duplicate-ip", "no-ip"})
_NETMASK = "255.255.0.0"
_BROKEN_LINE = "address_0 10.20"


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


def address_on(state: State, plane: str, device: int) -> str:
    """The address that a chip's port answers to: inside a super pod ("hccs") by a rule, else as it was set."""
    if plane == "hccs":
        # The rule stands in the tool's source: server, 2 + die, 199 - device.
        return f"192.{state['node_index']}.{2 + device % 2}.{199 - device}"
    return str(state["ports"].get(str(device), {}).get("address", ""))


def node_of(address: str) -> int:
    """The index of the node that a sandbox gives such an address to; -1 when none does.

    On the NPU network this is where it was at first: an operator may have given it to another node since.
    """
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isdecimal() for part in parts):  # noqa: PLR2004  bytes of an address
        return -1
    return int(parts[1] if parts[0] == "192" else parts[2])


def number(address: str) -> int:
    """The 32 bits of an address; 0 for none."""
    found = 0
    for part in address.split(".") if address else ():
        found = found << 8 | int(part)
    return found


def same_network(port: Port, address: str) -> bool:
    """Whether an address lies in the port's own network."""
    mask = number(port["netmask"])
    return number(port["address"]) & mask == number(address) & mask


def leads_to(port: Port, address: str) -> bool:
    """Whether the port has a way to an address: in its own network, or through a gateway in it."""
    if not port["address"]:
        return False
    return same_network(port, address) or bool(port["gateway"] and same_network(port, port["gateway"]))


def link_is_up(state: State, device: int) -> bool:
    """Neither shut down by a command nor broken by a fault."""
    return state["ports"][str(device)]["link"] == "up" and not faults_of(state, "link-down", device)


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


def set_running(state: State, name: str, device: int, value: str) -> None:
    """Change the setting that a drill is about, and leave hccn.conf as it is."""
    state["ports"][str(device)][RUNNING_FAULTS[name]] = value


def restore_running(state: State, name: str, device: int) -> None:
    """Run again with what hccn.conf says."""
    key = RUNNING_FAULTS[name]
    unset = {"tls_enable": "0", "mtu": str(DEFAULT_MTU)}.get(key, "")
    state["ports"][str(device)][key] = read_conf().get(str(device), {}).get(key, unset)


def misconfigure(state: State, device: int, address: str) -> str:
    """Set another address, or none, as an operator would have; returns the one before."""
    before = str(state["ports"][str(device)]["address"])
    state["ports"][str(device)]["address"] = address
    if address:
        netmask = state["ports"][str(device)]["netmask"] or _NETMASK
        state["ports"][str(device)]["netmask"] = netmask
        persist(device, {"address": address, "netmask": netmask})
    else:
        _rewrite_conf(lambda line: line.partition("=")[0] not in {f"address_{device}", f"netmask_{device}"})
    return before


def break_conf() -> None:
    """Leave a line in hccn.conf that is no setting, as an editor's slip does."""
    mend_conf()
    with open(conf_path(), "a", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"{_BROKEN_LINE}\n")


def mend_conf() -> None:
    """Take that line out again."""
    _rewrite_conf(lambda line: line != _BROKEN_LINE)


def _rewrite_conf(keeps: Callable[[str], bool]) -> None:
    try:
        with open(conf_path(), encoding="utf-8") as file:  # noqa: PTH123
            lines = file.read().splitlines()
    except FileNotFoundError:
        return
    write_file(conf_path(), "".join(f"{line}\n" for line in lines if keeps(line)), mode=0o640)


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
