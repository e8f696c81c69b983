"""What a person decides about the machines themselves: what `npuctl provision` makes true.

Every key that may be left out leaves the machine alone in that respect.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints, model_validator

from npuctl.spec.parts import AbsolutePath, Frozen, SecretRef, Text

# How many pools there may be, and which chips take from which.
_PLANES = {
    1: "all chips (A2)",
    2: "chip 0 and chip 1 of each NPU (A3)",
    4: "chip N in pool N modulo 4 (910A in SMP mode)",
}
_SMALLEST_NETWORK = 4  # addresses: its own, its broadcast, and two ports
_REGISTRY = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$"


def _url(text: str) -> str:
    # A port is a number: with a slash in it a password would pass for a port and the rest for a path.
    if not re.fullmatch(r"https?://([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\s?#]*)?", text):
        raise ValueError("write an address as https://HOST/PATH; a password in it belongs into the vault")
    return text


def _network(text: str) -> str:
    ipaddress.IPv4Network(text)  # ValueError tells what is wrong with it
    return text


def _address(text: str) -> str:
    ipaddress.IPv4Address(text)
    return text


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("write the sha256 as 64 hexadecimal digits in lower case")
    return text


Url = Annotated[str, StringConstraints(max_length=2048), AfterValidator(_url)]
Registry = Annotated[str, StringConstraints(pattern=_REGISTRY)]
ImagePrefix = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._:/-]{0,254}[a-z0-9]$")]
Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, AfterValidator(_address)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
ChipId = Annotated[int, Field(ge=0, le=1023)]


class PipMirror(Frozen):
    """Where pip takes packages from."""

    index: Url | None = Field(default=None, description="In place of https://pypi.org/simple.")
    extra_index: list[Url] = Field(default_factory=list, description="Asked as well.")
    trusted_hosts: list[Registry] = Field(
        default_factory=list, description="Hosts that pip takes without a valid certificate."
    )


class DockerMirror(Frozen):
    """Where images come from."""

    registry_mirrors: list[Url] = Field(
        default_factory=list, description="Mirrors of docker.io, put before those that daemon.json has."
    )
    insecure_registries: list[Registry] = Field(
        default_factory=list, description="Registries that Docker takes without a valid certificate."
    )
    images: dict[Registry, ImagePrefix] = Field(
        default_factory=dict,
        description="Registry → prefix it is pulled through, as quay.io: m.daocloud.io/quay.io.",
    )


class Mirrors(Frozen):
    """Where the nodes and the engine containers fetch things from.

    A key that is given takes the place of the preset's; null turns the preset's off.
    """

    preset: Literal["china", "none"] = Field(
        default="none", description="Values of all keys that are not given."
    )
    scope: Literal["system", "user"] = Field(
        default="system", description="pip and git for everybody on the node, or for the login user only."
    )
    pip: PipMirror | None = Field(default=None, description="Python packages.")
    git: dict[Url, Url] | None = Field(
        default=None, description="Address → what git fetches instead (insteadOf)."
    )
    docker: DockerMirror | None = Field(default=None, description="Container images.")
    huggingface: Url | None = Field(default=None, description="HF_ENDPOINT.")
    modelscope: Url | None = Field(default=None, description="In place of https://www.modelscope.cn.")
    apt: dict[Url, Url] | None = Field(
        default=None, description="Beginning of a source's address → what takes its place (Debian family)."
    )
    yum: dict[Url, Url] | None = Field(
        default=None, description="The same for the files in /etc/yum.repos.d (openEuler family)."
    )
    ca: Text | None = Field(
        default=None,
        description="Certificate (PEM) that nodes and engines trust as well; a file here, beside the"
        " inventory's hosts.yml unless absolute.",
    )


class Proxy(Frozen):
    """The way out, where there is one; an address with a password stands in the vault."""

    http: Url | SecretRef | None = Field(default=None, description="Proxy for http://.")
    https: Url | SecretRef | None = Field(default=None, description="Proxy for https://.")
    no_proxy: list[Text] = Field(default_factory=list, description="Hosts and networks reached directly.")


class RegistryLogin(Frozen):
    """Who pulls from a registry; used for the pull and kept nowhere on the nodes."""

    username: Text = Field(description="Name of the account.")
    password: SecretRef = Field(description="Its password or token.")


class HubTokens(Frozen):
    """Tokens for models that are not public; used for the download and kept nowhere on the nodes."""

    huggingface: SecretRef | None = Field(default=None, description="Hugging Face.")
    modelscope: SecretRef | None = Field(default=None, description="ModelScope.")


class SystemTuning(Frozen):
    """Settings of the operating system that the vendors publish; null leaves one alone."""

    governor: Text | None = Field(default="performance", description="CPU frequency governor.")
    swappiness: Annotated[int, Field(ge=0, le=200)] | None = Field(default=0, description="vm.swappiness.")
    numa_balancing: bool | None = Field(default=False, description="kernel.numa_balancing.")
    sched_migration_cost_ns: Annotated[int, Field(ge=0)] | None = Field(
        default=50000, description="kernel.sched_migration_cost_ns; newer kernels do not have it."
    )
    transparent_hugepages: Literal["always", "madvise", "never"] | None = Field(
        default="always", description="Unlike GPU habits: the vendors agree on always."
    )
    nofile: Annotated[int, Field(ge=1024, le=1048576)] | None = Field(
        default=65536, description="Open files a process may have: logins, services and containers."
    )
    reserved_ports: bool | None = Field(
        default=True,
        description="Keep the services' ports from being given away (net.ipv4.ip_local_reserved_ports).",
    )
    time_sync: bool | None = Field(
        default=True, description="Install and start chrony where nothing keeps the clock."
    )
    time_servers: list[Registry] = Field(
        default_factory=list, description="Time servers for chrony in place of the distribution's."
    )


class RuntimePackage(Frozen):
    """The Ascend Docker Runtime's .run package."""

    package: Text = Field(
        description="File here, beside the inventory's hosts.yml unless absolute; {arch} stands for the"
        " node's aarch64 or x86_64."
    )
    sha256: Sha256 | dict[Text, Sha256] | None = Field(
        default=None, description="Of the file; with {arch}, one for each file name."
    )
    accept_eula: bool = Field(
        default=False, description="You have read the vendor's licence and accept it; newer installers ask."
    )


class ContainerEngine(Frozen):
    """Docker on the nodes."""

    packages: list[Text] = Field(
        default_factory=list,
        description="Package files here (.deb, .rpm) to install Docker from; left out, the distribution's.",
    )
    ascend_runtime: RuntimePackage | None = Field(
        default=None, description="Ascend Docker Runtime; npuctl's own containers do not need it."
    )
    default_runtime: bool = Field(
        default=False, description="Make `ascend` the runtime of containers that name none."
    )
    daemon: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")], JsonValue] = Field(
        default_factory=dict, description="Further keys of daemon.json, merged into what is there."
    )


class Driver(Frozen):
    """NPU driver and firmware that every node should run."""

    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.]{1,31}$")] = Field(
        description="Of the driver, as 25.5.2."
    )
    firmware: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9A-Za-z.]{1,31}$")] | None = Field(
        default=None, description="Of the firmware, as 7.8.0.7.220; left out, it is left alone."
    )
    packages: Text = Field(
        description="Folder here with the .run packages, beside the inventory's hosts.yml unless absolute."
    )
    sha256: dict[Text, Sha256] = Field(
        default_factory=dict, description="File name → sha256, from the vendor's page."
    )
    reboot: Literal["rolling", "never"] = Field(
        default="never",
        description="Reboot a node that owes a reboot, one node at a time, or leave it owing.",
    )
    reboot_within_seconds: Annotated[int, Field(ge=10, le=86400)] = Field(
        default=1800,
        description="How long a node may take to come back; a server with much memory takes long.",
    )
    build_packages: bool = Field(
        default=True,
        description="Install kernel headers and compiler first, with which the driver's installer builds its"
        " module; false where its package carries one for the kernel.",
    )


class AddressPool(Frozen):
    """One subnet of the NPU network."""

    network: Network = Field(description="As 10.20.0.0/16; decides the netmask.")
    first: Address | None = Field(
        default=None, description="First address to give; left out, the network's first."
    )
    gateway: Address | None = Field(default=None, description="Gateway of its ports.")
    detect: Address | None = Field(
        default=None, description="Address that the ports ping to know their health; left out, the gateway."
    )


class NpuAddresses(Frozen):
    """Addresses of the NPUs' own ports.

    One pool: all chips in it (A2). Two: chip 0 of each NPU in the first, chip 1 in the second (A3). Four: chip N
    in pool N modulo 4 (910A in SMP mode).
    """

    pools: list[AddressPool] = Field(min_length=1, max_length=8, description="Subnets, plane by plane.")
    nodes: dict[Text, dict[ChipId, Address]] = Field(
        default_factory=dict,
        description="Node → chip → address where you decide; the others are given, and kept once given.",
    )
    tls: bool = Field(default=False, description="TLS of the ports; must be the same everywhere.")
    mtu: Annotated[int, Field(ge=68, le=9702)] | None = Field(default=None, description="MTU of the ports.")

    @model_validator(mode="after")
    def _pools_can_be_given_from(self) -> NpuAddresses:
        wrong = [*_wrong_count(self.pools), *(text for pool in self.pools for text in _wrong_pool(pool))]
        networks = [ipaddress.IPv4Network(pool.network) for pool in self.pools]
        for index, network in enumerate(networks):
            wrong += [
                f"{network} and {other} overlap" for other in networks[:index] if network.overlaps(other)
            ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @model_validator(mode="after")
    def _addresses_lie_in_pools(self) -> NpuAddresses:
        wrong = []
        owners: dict[str, str] = {}
        for node, chips in self.nodes.items():
            for chip, address in chips.items():
                place = f"{node}: chip {chip}: {address}"
                pool = next((pool for pool in self.pools if address_in(address, pool)), None)
                if pool is None:
                    wrong.append(f"{place} is in none of the pools")
                elif address in reserved_in(pool):
                    wrong.append(f"{place} is {reserved_in(pool)[address]} of {pool.network}")
                first = owners.setdefault(address, f"chip {chip} of {node}")
                if first != f"chip {chip} of {node}":
                    wrong.append(f"{place} is given to {first} as well")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


def address_in(address: str, pool: AddressPool) -> bool:
    """Whether the address is in the pool's network."""
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(pool.network)


def reserved_in(pool: AddressPool) -> dict[str, str]:
    """Addresses of a pool's network that no port may have, and what each is."""
    network = ipaddress.IPv4Network(pool.network)
    reserved = {pool.detect: "the detect address", pool.gateway: "the gateway"}
    reserved |= {str(network[0]): "the network's own address", str(network[-1]): "the broadcast address"}
    return {address: what for address, what in reserved.items() if address}


def _wrong_count(pools: list[AddressPool]) -> list[str]:
    if len(pools) in _PLANES:
        return []
    known = "; ".join(f"{count}: {what}" for count, what in _PLANES.items())
    return [f"{len(pools)} pools fit no product; {known}"]


def _wrong_pool(pool: AddressPool) -> list[str]:
    network = ipaddress.IPv4Network(pool.network)
    if network.num_addresses < _SMALLEST_NETWORK:
        return [f"{pool.network} has no room for ports"]
    inside = {"first": pool.first, "gateway": pool.gateway}
    wrong = [
        f"{what} {address} is not in {pool.network}"
        for what, address in inside.items()
        if address and not address_in(address, pool)
    ]
    if pool.detect and not pool.gateway and not address_in(pool.detect, pool):
        wrong.append(f"detect {pool.detect} is not in {pool.network}, and no gateway leads to it")
    for what in ("gateway", "detect"):
        address = getattr(pool, what)
        if address in {str(network[0]), str(network[-1])}:
            wrong.append(f"{what} {address} is {network}'s own or its broadcast address")
    return wrong


class ModelStore(Frozen):
    """How weights get to the nodes."""

    download_on: Text | None = Field(
        default=None, description="Node that downloads from a hub; left out, this machine does."
    )
    staging: AbsolutePath | None = Field(
        default=None,
        description="Folder of this machine that keeps downloads; left out, ~/.cache/npuctl/models.",
    )
    mbit_per_second: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="What a node sends at most."
    )
    port: Annotated[int, Field(ge=1024, le=65535)] = Field(
        default=7356, description="Port over which nodes hand weights on while a copy goes on."
    )
