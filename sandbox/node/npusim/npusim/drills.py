"""Drills on the NPU network: what each changes, and how it is taken back."""

from __future__ import annotations

from npusim import network, wire
from npusim.products import product
from npusim.state import State

_STALE = 100  # added to an address's last byte: nobody's, in the same network
NAMES = frozenset(
    {
        *network.RUNNING_FAULTS,
        *network.SAVED_FAULTS,
        "link-down",
        "net-health",
        "port-deaf",
        "cut-pair",
        "hccn-ignores",
    }
)
SUPER_POD_NAMES = frozenset({"vnic-down"})


def check(state: State, name: str, chip: int | None) -> None:
    """Refuse a drill that this product has nothing for, or that needs one chip.

    Raises:
        ValueError: with the reason.
    """
    kind = product(state["product"])
    if name in NAMES and not kind.has_roce:
        raise ValueError(f"{name}: this product has no NPU network")
    if name in SUPER_POD_NAMES and not kind.has_hccs_network:
        raise ValueError(f"{name}: this product is in no super pod")
    if name in {"ip", "duplicate-ip", "cut-pair"} and chip is None:
        raise ValueError(f"{name} needs --chip: an address belongs to one port")


def begin(state: State, name: str, chip: int | None, value: str) -> State:
    """Change what the drill is about; returns its record.

    Raises:
        ValueError: there is nothing to choose as its value.
    """
    record: State = {"name": name, "chip": chip, "value": value}
    if name == "hccn-conf":
        network.break_conf()
    if chip is None:
        return record
    record["value"] = value = value or _usual(state, name, chip)
    if name in network.RUNNING_FAULTS:
        network.set_running(state, name, chip, value)
    elif name in network.SAVED_FAULTS:
        record["before"] = network.misconfigure(state, chip, value)
    return record


def end(state: State, record: State) -> None:
    """Take a drill back."""
    name = record["name"]
    if name == "hccn-conf":
        network.mend_conf()
    elif name in network.RUNNING_FAULTS:
        network.restore_running(state, name, record["chip"])
    elif name in network.SAVED_FAULTS:
        network.misconfigure(state, record["chip"], record["before"])


def _usual(state: State, name: str, chip: int) -> str:
    """The value of a drill for which none was given."""
    ports = state["ports"]
    if name == "ip":
        head, _, last = ports[str(chip)]["address"].rpartition(".")
        return f"{head}.{int(last or 0) + _STALE}" if head else ""
    if name == "duplicate-ip":
        return str(ports[str((chip - 1) % len(ports))]["address"])
    if name == "cut-pair":
        return _same_chip_elsewhere(state, chip)
    return ""


def _same_chip_elsewhere(state: State, chip: int) -> str:
    """The address of the same chip on the next node of the sandbox."""
    here = wire.marker()
    count = int(here["nodes"]) if here else 0
    if count < 2:  # noqa: PLR2004  the other end is on another node
        raise ValueError("cut-pair: no other node is known here; --value says its address")
    other = {**state, "node_index": state["node_index"] % count + 1}
    kind = product(state["product"])
    if kind.has_hccs_network:
        return network.address_on(other, wire.HCCS, chip)
    return str(network.factory_ports(kind, other["node_index"])[str(chip)]["address"])
