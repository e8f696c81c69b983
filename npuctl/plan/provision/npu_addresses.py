"""Which port of the NPU network gets which address. Pure.

A port keeps the address that it has, wherever its node stands in the inventory: a node that comes or goes
moves nobody. What has to be given is given in the inventory's order, from the pool's first free address on.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from npuctl.plan.reach import Card
from npuctl.spec.machines import AddressPool, NpuAddresses, address_in, reserved_in

Lack = Literal["full", "unsure"]


@dataclass(frozen=True, slots=True)
class Port:
    """One chip's port, as far as addresses go; "" where it has none.

    Attributes:
        plane: index of the pool that it takes from; -1 for a port that is given none, but keeps others off its own.
        running: the address on the device.
        saved: the one that hccn.conf gives it at the next boot.
        given: the one that npuctl gave it before, by its record on the node.
        settled: npuctl set this port before, or there is nothing to set: it goes before a newcomer.
    """

    node: str
    chip: int
    plane: int
    running: str = ""
    saved: str = ""
    given: str = ""
    settled: bool = False

    @property
    def card(self) -> Card:
        """Its name in the cluster."""
        return self.node, self.chip

    @property
    def held(self) -> tuple[str, ...]:
        """The addresses that it has: the one npuctl gave it first, then what hccn.conf has."""
        own = dict.fromkeys(address for address in (self.saved, self.running) if address)
        return tuple(sorted(own, key=lambda address: address != self.given))


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who gets what.

    Attributes:
        addresses: port → address.
        lacking: ports for which there is none: their pool is full, or it cannot be told which are free.
        lost: ports that had an address which another port has as well → that port.
    """

    addresses: Mapping[Card, str]
    lacking: Mapping[Card, Lack]
    lost: Mapping[Card, Card]


def plane_of(pools: int, chip: int, chip_of_npu: int) -> int:
    """Which pool a chip takes from.

    Args:
        pools: how many there are.
        chip: its physical id.
        chip_of_npu: its number on its NPU: 0 or 1 on an A3.
    """
    if pools == 1:
        return 0
    # 910A in SMP mode: chips 0 and 4, 1 and 5, 2 and 6, 3 and 7 share a subnet each (published hccn.conf samples).
    return (chip_of_npu if pools == 2 else chip) % pools  # noqa: PLR2004  the planes of an A3


def assign(spec: NpuAddresses, ports: Sequence[Port], *, unsure: bool) -> Assignment:
    """Give every port its address.

    Args:
        spec: pools, and the addresses that were written.
        ports: all that are known, in the inventory's order; chips in ascending order.
        unsure: ports are there whose addresses are not known: none that is not in use for sure is given.
    """
    explicit = {(node, chip): text for node, chips in spec.nodes.items() for chip, text in chips.items()}
    forbidden = {address for pool in spec.pools for address in reserved_in(pool)}
    owners = {address: card for card, address in explicit.items()}
    addresses = {
        port.card: explicit[port.card] for port in ports if port.card in explicit and port.plane >= 0
    }
    waiting = [port for port in ports if port.plane >= 0 and port.card not in explicit]
    lost: dict[Card, Card] = {}
    for port in sorted(waiting, key=lambda port: not port.settled):
        pool = spec.pools[port.plane]
        for address in port.held:
            if address in forbidden or not address_in(address, pool):
                continue
            if owners.setdefault(address, port.card) == port.card:
                addresses[port.card] = address
                break
            lost[port.card] = owners[address]
    taken = forbidden | set(owners) | {address for port in ports for address in port.held}
    free = [_free(pool, taken) for pool in spec.pools]
    lacking: dict[Card, Lack] = {}
    for port in waiting:
        if port.card in addresses:
            lost.pop(port.card, None)
        elif unsure:
            lacking[port.card] = "unsure"
        elif found := next(free[port.plane], ""):
            addresses[port.card] = found
        else:
            lacking[port.card] = "full"
    return Assignment(addresses, lacking, lost)


def room_in(pool: AddressPool, spec: NpuAddresses) -> int:
    """How many addresses a pool has for ports, given or not."""
    network = ipaddress.IPv4Network(pool.network)
    forbidden = {address for entry in spec.pools for address in reserved_in(entry)}
    first = int(ipaddress.IPv4Address(pool.first)) if pool.first else int(network[0])
    span = range(first, int(network[-1]) + 1)
    return len(span) - sum(int(ipaddress.IPv4Address(address)) in span for address in forbidden)


def _free(pool: AddressPool, taken: set[str]) -> Iterator[str]:
    network = ipaddress.IPv4Network(pool.network)
    first = int(ipaddress.IPv4Address(pool.first)) if pool.first else int(network[0])
    for number in range(first, int(network[-1])):
        address = str(ipaddress.IPv4Address(number))
        if address not in taken:
            yield address
