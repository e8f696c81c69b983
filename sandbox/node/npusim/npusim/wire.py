"""The wire between simulated ports: a question to the node that may own an address, and its answer.

The address that a sandbox gives to a port says which node it is on, and nodes of a sandbox have consecutive
addresses on its network, so that no node needs a list of the others. An address that an operator gave to a port
may be anywhere: then all nodes are asked. A node that is down or cut off does not answer, as on a real network;
so does one whose responder was stopped.
"""

from __future__ import annotations

import _socket  # the class behind socket.socket, whose module takes longer to import than a ping lasts
import select
import time

from npusim import network
from npusim.chips import is_present
from npusim.products import product
from npusim.record import parse_json
from npusim.state import State, fault_value, faults_of, rooted

UDP_PORT = 7355
ROCE, HCCS = "roce", "hccs"
# Two tries: a datagram may be lost on a machine that is busy with many nodes.
_TRIES, _SECONDS = 2, 1.0
# How much longer to listen after a yes, for a node that has the asker's own address.
_AFTERWARDS_SECONDS = 0.1
YES, NO, MINE = b"yes", b"no", b"mine"


def passes(state: State, plane: str, device: int, address: str) -> bool:
    """Whether a packet from this node's port reaches the port with that address, and its answer comes back."""
    own = network.address_on(state, plane, device)
    if not own or not can_send(state, plane, device) or is_cut(state, device, address):
        return False
    if plane == ROCE and not network.leads_to(state["ports"][str(device)], address):
        return False
    if has(state, plane, address):
        return answers(state, plane, address, own)
    likely, question = network.node_of(address), f"{plane} {address} {own}"
    others = _others(int(state["node_index"]))
    if plane == HCCS:
        return _ask([index for index in others if index == likely], question)
    if likely in others and network.node_of(own) == state["node_index"] and _ask([likely], question):
        return True
    return _ask(others, question)


def reply(state: State, plane: str, address: str, asker: str) -> bytes:
    """What this node says to a question: MINE when the answer would come to it and not to the asker."""
    if plane == ROCE and has(state, plane, asker):
        return MINE
    return YES if answers(state, plane, address, asker) else NO


def has(state: State, plane: str, address: str) -> bool:
    """Whether a port of this node has that address."""
    chips = product(state["product"]).chips
    return any(network.address_on(state, plane, chip.device) == address for chip in chips)


def answers(state: State, plane: str, address: str, asker: str) -> bool:
    """Whether this node has a port with that address which answers the asker."""
    return any(
        network.address_on(state, plane, chip.device) == address
        and can_send(state, plane, chip.device)
        and not is_cut(state, chip.device, asker)
        and (plane == HCCS or network.leads_to(state["ports"][str(chip.device)], asker))
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


def _others(own: int) -> list[int]:
    """The indexes of the sandbox's other nodes."""
    here = marker()
    return [index for index in range(1, int(here["nodes"]) + 1) if index != own] if here else []


def _ask(indexes: list[int], question: str) -> bool:
    """Whether one of these nodes says yes, and none that the answer is its own."""
    here = marker()
    if here is None:
        return False
    first = network.number(here["address"]) - int(here["node"])
    asking = []
    try:
        for index in indexes:
            asking.append(_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM))
            asking[-1].connect((_text(first + index), UDP_PORT))
        said = _said(asking, question.encode())
    except OSError:  # no way to that network at all
        return False
    finally:
        for one in asking:
            one.close()
    return YES in said and MINE not in said


def _said(asking: list[_socket.socket], question: bytes) -> set[bytes]:
    """What was answered; a node that does not answer is asked again, unless another one said yes."""
    silent = list(asking)
    said: set[bytes] = set()
    for _ in range(_TRIES):
        if not silent or YES in said:
            break
        silent = [one for one in silent if _sent(one, question)]
        until = time.monotonic() + _SECONDS
        while silent and (left := until - time.monotonic()) > 0:
            for one in select.select(silent, [], [], left)[0]:
                silent.remove(one)
                try:
                    said.add(one.recv(16))
                except OSError:  # nobody listens there
                    continue
            if YES in said:
                until = min(until, time.monotonic() + _AFTERWARDS_SECONDS)
    return said


def _sent(one: _socket.socket, question: bytes) -> bool:
    try:
        one.send(question)
    except OSError:  # its machine says that nobody listens
        return False
    return True


def _text(number: int) -> str:
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
