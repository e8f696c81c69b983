"""The wire between simulated ports: one question to the node that owns an address, one answer.

A simulated address encodes the index of its node, and nodes of a sandbox have consecutive addresses on its
network, so that no node needs a list of the others. A node that is down or cut off does not answer, as on
a real network; so does one whose responder was stopped.
"""

from __future__ import annotations

import _socket  # the class behind socket.socket, whose module takes longer to import than a ping lasts

from npusim import network
from npusim.chips import is_present
from npusim.products import product
from npusim.record import parse_json
from npusim.state import State, fault_value, faults_of, rooted

UDP_PORT = 7355
ROCE, HCCS = "roce", "hccs"
# Two tries: a datagram may be lost on a machine that is busy with many nodes.
_TRIES, _SECONDS = 2, 1.0
_BYTE = 8


def passes(state: State, plane: str, device: int, address: str) -> bool:
    """Whether a packet from this node's port reaches the port with that address, and its answer comes back."""
    own = network.address_on(state, plane, device)
    if not can_send(state, plane, device) or is_cut(state, device, address):
        return False
    if network.node_of(own) != state["node_index"]:
        return False  # its address is another node's: the answer goes there
    if network.node_of(address) == state["node_index"]:
        return answers(state, plane, address, own)
    return _ask(network.node_of(address), f"{plane} {address} {own}")


def answers(state: State, plane: str, address: str, asker: str) -> bool:
    """Whether this node has a port with that address which answers the asker."""
    return any(
        network.address_on(state, plane, chip.device) == address
        and can_send(state, plane, chip.device)
        and not is_cut(state, chip.device, asker)
        for chip in product(state["product"]).chips
    )


def can_send(state: State, plane: str, device: int) -> bool:
    """Whether the port's way out is open: its link, or inside a super pod its vnic."""
    if not is_present(state, device) or faults_of(state, "port-deaf", device):
        return False
    if plane == HCCS:
        return not faults_of(state, "vnic-down", device)
    return network.link_is_up(state, device)


def is_cut(state: State, device: int, address: str) -> bool:
    """Whether a fault keeps just these two apart."""
    return fault_value(state, "cut-pair", device) == address


def marker() -> State | None:
    """What the sandbox wrote about this node; None outside a sandbox."""
    try:
        with open(rooted("/etc/npuctl-sandbox"), encoding="utf-8") as file:  # noqa: PTH123
            found: State = parse_json(file.read())
    except FileNotFoundError:
        return None
    return found


def _ask(index: int, question: str) -> bool:
    here = marker()
    if here is None or not 1 <= index <= int(here["nodes"]):
        return False
    there = _number(here["address"]) - int(here["node"]) + index
    asking = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        asking.settimeout(_SECONDS)
        asking.connect((_text(there), UDP_PORT))
        for _ in range(_TRIES):
            try:
                asking.send(question.encode())
                return asking.recv(16) == b"yes"
            except OSError:  # nobody is there, or the datagram was lost
                continue
    except OSError:  # no way to that network at all
        return False
    finally:
        asking.close()
    return False


def _number(address: str) -> int:
    number = 0
    for part in address.split("."):
        number = number << _BYTE | int(part)
    return number


def _text(number: int) -> str:
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
