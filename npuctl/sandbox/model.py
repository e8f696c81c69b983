"""A sandbox's names and addresses, and what the user may choose; pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

LABEL = "npuctl.sandbox"
LABEL_NODE = "npuctl.sandbox.node"
LABEL_PRODUCT = "npuctl.sandbox.product"
LABEL_NODES = "npuctl.sandbox.nodes"
LABEL_DRIVER = "npuctl.sandbox.driver"
LABEL_INVENTORY = "npuctl.sandbox.inventory"
LABEL_BUILD = "npuctl.sandbox.build"
LABEL_MIRROR = "npuctl.sandbox.mirror"

PRODUCTS = ("a2", "a3", "310p")
ENGINES = ("sim", "cpu", "none")
DEFAULT_NAME = "sandbox"
DEFAULT_NODES = 2
DEFAULT_PRODUCT = "a2"
DEFAULT_DRIVER = "25.5.2"
MIRROR = "mirror"  # the word for it where a node could stand
MIRROR_HOST = "mirror.sandbox"  # its name on the nodes
MOST_NODES = 64
LARGEST_MIRROR_MODEL = 16384  # MiB

SIMULATED = "simulated NPUs"
MODEL_PATH = "/data/models/tiny"
MODEL_ID = "npuctl/tiny"
NPUSIM_STATE = "/var/lib/npusim"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_VERSION = re.compile(r"[0-9]{1,3}(\.[0-9A-Za-z]{1,8}){2,5}", re.ASCII)
_FIRST_HOST = 11
_MIRROR_HOST = 250


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One sandbox: how many nodes of which product, on which subnet.

    Attributes:
        driver: version that the nodes are made with; "" for bare nodes, which have an operating system only.
    """

    name: str
    nodes: int
    product: str
    subnet: str
    driver: str = DEFAULT_DRIVER

    @property
    def bare(self) -> bool:
        """Whether its nodes are made without driver and container engine."""
        return not self.driver

    @property
    def network(self) -> str:
        """The Docker network's name."""
        return network_name(self.name)

    @property
    def members(self) -> tuple[Node, ...]:
        """Its nodes in order."""
        first = ipaddress.ip_network(self.subnet).network_address
        return tuple(
            Node(sandbox=self.name, index=index, address=str(first + _FIRST_HOST - 1 + index))
            for index in range(1, self.nodes + 1)
        )

    @property
    def mirror_address(self) -> str:
        """Where its mirror is, if it has one."""
        return str(ipaddress.ip_network(self.subnet).network_address + _MIRROR_HOST)

    @property
    def mirror_container(self) -> str:
        """Its mirror's container in the outer engine."""
        return f"npuctl-{self.name}-{MIRROR}"

    def node(self, name: str) -> Node:
        """Return the node of that name.

        Raises:
            UsageError: it has no such node.
        """
        for node in self.members:
            if node.name == name:
                return node
        raise UsageError(f"sandbox {self.name!r} has no node {name!r}", hint=f"node-1 to node-{self.nodes}")


@dataclass(frozen=True, slots=True)
class Node:
    """One node: a container with a fixed address."""

    sandbox: str
    index: int
    address: str

    @property
    def name(self) -> str:
        """Its host name, the same as in the inventory."""
        return f"node-{self.index}"

    @property
    def container(self) -> str:
        """Its container's name in the outer engine."""
        return f"npuctl-{self.sandbox}-{self.name}"


def network_name(sandbox: str) -> str:
    """Return the name of a sandbox's Docker network."""
    return f"npuctl-{sandbox}"


def check_name(name: str) -> str:
    """Return `name` if it may name a sandbox.

    Raises:
        UsageError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--name {name!r}: a sandbox's name is 1 to 31 lower-case letters, digits and dashes, a letter first"
        )
    return name


def check_nodes(count: int) -> int:
    """Return `count` if a sandbox may have that many nodes.

    Raises:
        UsageError: it may not.
    """
    if not 1 <= count <= MOST_NODES:
        raise UsageError(f"--nodes {count}: a sandbox has 1 to {MOST_NODES} nodes")
    return count


def check_version(version: str, flag: str) -> str:
    """Return `version` if it looks like one of driver, firmware or runtime.

    Raises:
        UsageError: it does not.
    """
    if not _VERSION.fullmatch(version):
        raise UsageError(f"{flag} {version!r} is no version; one looks like {DEFAULT_DRIVER} or 26.0.rc1")
    return version


def check_mirror_model(mebibytes: int, *, mirror: bool) -> int:
    """Return `mebibytes` if a mirror may serve a model of that size.

    Raises:
        UsageError: it may not, or there is to be no mirror.
    """
    if not mirror:
        raise UsageError("--mirror-model goes with --mirror")
    if not 1 <= mebibytes <= LARGEST_MIRROR_MODEL:
        raise UsageError(f"--mirror-model {mebibytes}: 1 to {LARGEST_MIRROR_MODEL} MiB")
    return mebibytes


def choose_subnet(taken: Iterable[str]) -> str:
    """Return the first 10.77.X.0/24 that overlaps none of the networks in `taken`.

    Raises:
        UsageError: all 256 are taken.
    """
    used = [ipaddress.ip_network(text, strict=False) for text in taken]
    used = [network for network in used if network.version == 4 and network.prefixlen > 0]  # noqa: PLR2004
    for third in range(256):
        candidate = ipaddress.ip_network(f"10.77.{third}.0/24")
        if not any(candidate.overlaps(network) for network in used):
            return str(candidate)
    raise UsageError(
        "no free network: every 10.77.X.0/24 is in use",
        hint="`docker network ls`, `ip route`; remove what is not needed",
    )


def routed_networks(table: str) -> list[str]:
    """Read /proc/net/route: the networks this machine already routes."""
    networks = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        address = ipaddress.IPv4Address(bytes.fromhex(fields[1])[::-1])
        mask = ipaddress.IPv4Address(bytes.fromhex(fields[7])[::-1])
        networks.append(f"{address}/{mask}")
    return networks
