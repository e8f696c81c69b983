"""What `inspect` and `check` read of a node beyond what a plan needs: every question asked of every tool.

A value is None (a list empty, a text "") where the tool did not say; `Survey.unread` then says why. A check
judges what was read and keeps silent about the rest, so that recorded facts of older files still serve.
"""

from __future__ import annotations

from pydantic import Field

from npuctl.facts.frozen import Frozen


class CardFacts(Frozen):
    """`npu-smi info -t board -i NPU`: what one card says of its driver and firmware."""

    npu: int
    driver_version: str = ""
    firmware_version: str = ""
    compatibility: str = Field(default="", description="OK or NOK: whether driver and firmware fit.")
    product_name: str = ""
    serial_number: str = ""


class ChipSurvey(Frozen):
    """What one chip answered when it was asked by its own number (`-i NPU -c CHIP`)."""

    id: int = Field(description="N of /dev/davinciN, as ChipFacts.id.")
    npu: int
    chip: int
    health: str = ""
    error_codes: list[str] = Field(default_factory=list, description="Eight hex digits each.")
    error_texts: list[str] = Field(default_factory=list, description="The tool's own words, one a code.")
    ecc_uncorrectable: int | None = Field(default=None, description="Sum of the double-bit counters.")
    ecc_isolated_pages: int | None = None
    sdid: int | None = Field(default=None, description="Super pod device id (A3).")
    super_pod_id: int | None = None


class PortFacts(Frozen):
    """One chip's port on the NPU network, as `hccn_tool -i ID` shows it now."""

    chip: int = Field(description="Physical id, N of /dev/davinciN.")
    link: str = Field(default="", description="UP or DOWN.")
    net_health: str = Field(default="", description="The tool's word: Success, Init, Fault, ...")
    address: str = ""
    netmask: str = ""
    gateway: str = ""
    detect_address: str = ""
    tls_switch: int | None = None
    mtu: int | None = None
    vnic_address: str = Field(default="", description="Address inside a super pod (A3).")
    vnic_link: str = ""
    switch_port: str = Field(default="", description="The neighbour's port by LLDP.")


class ConfiguredPort(Frozen):
    """One chip's lines in /etc/hccn.conf: what its port gets at the next boot."""

    chip: int
    address: str = ""
    netmask: str = ""
    gateway: str = ""
    detect_address: str = ""
    tls_switch: int | None = None


class DriverFiles(Frozen):
    """The version files that the installers of driver and firmware left."""

    driver: str = ""
    driver_package: str = ""
    firmware: str = ""
    firmware_package: str = ""
    compatible_firmware: str = Field(default="", description="The range that the driver's file names.")
    compatible_driver: str = Field(default="", description="The ranges that the firmware's file names.")
    install_status: str = ""
    install_user: str = ""
    install_group: str = ""


class ImageFacts(Frozen):
    """One container image on the node, looked into where its layers lie on disk; no container is started."""

    reference: str
    id: str = ""
    architecture: str = ""
    size_bytes: int = 0
    soc_version: str = Field(default="", description="SOC_VERSION of the image's environment.")
    cann: str = ""
    torch_npu: str = ""
    engine_version: str = Field(default="", description="Version of vllm-ascend, by its package's folder.")


class NicFacts(Frozen):
    """One network interface of the host."""

    name: str
    kind: str = Field(
        default="", description="physical, bond, bridge, vlan, loopback, or virtual (veth, tunnels)."
    )
    up: bool = False
    mtu: int = 0
    speed_mbit: int | None = None
    addresses: list[str] = Field(default_factory=list, description="IPv4 and IPv6, without prefix length.")


class DiskFacts(Frozen):
    """One file system that something of ours lies on."""

    path: str = Field(description="Where it is mounted.")
    holds: list[str] = Field(
        default_factory=list, description="root, docker, npuctl, cache:PATH, model:PATH."
    )
    filesystem: str = ""
    free_bytes: int = 0
    total_bytes: int = 0


class DeviceNode(Frozen):
    """Rights of one device node."""

    path: str
    mode: str = ""
    owner: str = ""
    group: str = ""


class HostFacts(Frozen):
    """The machine that the NPUs sit in."""

    clock_offset_seconds: float | None = Field(
        default=None, description="Node's clock minus the controller's; read within half a round trip."
    )
    clock_doubt_seconds: float = Field(default=0.0, description="Half the round trip: what it may be off by.")
    clock_synchronized: bool | None = Field(default=None, description="The kernel's own word (adjtimex).")
    nics: list[NicFacts] = Field(default_factory=list)
    hostname_addresses: list[str] = Field(
        default_factory=list, description="What the node's own name resolves to, on the node."
    )
    disks: list[DiskFacts] = Field(default_factory=list)
    device_nodes: list[DeviceNode] = Field(default_factory=list)
    sysctl: dict[str, str] = Field(default_factory=dict, description="Name with dots → text.")
    transparent_hugepages: str = ""
    governors: list[str] = Field(default_factory=list, description="Distinct CPU frequency governors.")
    firewalls: list[str] = Field(default_factory=list, description="Active services that filter packets.")
    cpus: int = 0
    uid: int | None = None
    docker_root: str = ""
    docker_runtimes: dict[str, str] = Field(default_factory=dict, description="Name → path.")
    docker_default_runtime: str = ""
    docker_driver: str = Field(default="", description="Storage driver.")
    missing_runtimes: list[str] = Field(
        default_factory=list, description="Runtimes whose program is not on the node."
    )


class ShardFacts(Frozen):
    """One safetensors file; `error` says what its header lacks."""

    size_bytes: int
    header_sha256: str = ""
    data_bytes: int | None = Field(
        default=None, description="Bytes that the header promises, header included."
    )
    tensor_bytes: int | None = None
    dtypes: dict[str, int] = Field(default_factory=dict, description="Data type → bytes of its tensors.")
    error: str = ""


class WeightsFacts(Frozen):
    """The folder of a model, read without its tensors."""

    path: str
    exists: bool = True
    config: dict[str, object] | None = Field(default=None, description="config.json.")
    config_error: str = ""
    config_sha256: str = ""
    generation_config_sha256: str = Field(default="", description="'' where there is none.")
    quantization: str = Field(default="", description="Kind of a quantised model, by its description file.")
    index_shards: list[str] | None = Field(default=None, description="Shards that the index names.")
    index_bytes: int | None = Field(default=None, description="metadata.total_size of the index.")
    index_error: str = ""
    shards: dict[str, ShardFacts] = Field(default_factory=dict)
    other_files: dict[str, int] = Field(default_factory=dict, description="Every other file and its size.")

    @property
    def bytes(self) -> int:
        """Size of the weights: what the headers promise, else the files."""
        promised = [shard.tensor_bytes for shard in self.shards.values()]
        if promised and all(size is not None for size in promised):
            return sum(size for size in promised if size is not None)
        return sum(shard.size_bytes for shard in self.shards.values())


class SecondOpinion(Frozen):
    """One finding of another tool that is installed on the node."""

    tool: str
    tool_version: str = ""
    severity: str = ""
    what: str = ""
    seen: str = ""
    expected: str = ""
    advice: str = ""


class Survey(Frozen):
    """Everything that one thorough look at a node adds to NodeFacts."""

    cards: list[CardFacts] = Field(default_factory=list)
    chips: list[ChipSurvey] = Field(default_factory=list)
    ports: list[PortFacts] = Field(default_factory=list)
    configured_ports: list[ConfiguredPort] = Field(default_factory=list)
    hccn_conf_error: str = ""
    pci_chips: int | None = Field(default=None, description="NPUs on the PCI bus.")
    pci_product: str = Field(
        default="", description="What these are, as a2; known before any driver is installed, where lspci is."
    )
    files: DriverFiles = DriverFiles()
    images: list[ImageFacts] = Field(default_factory=list)
    host: HostFacts = HostFacts()
    weights: dict[str, WeightsFacts] = Field(
        default_factory=dict, description="Model folder → what it holds."
    )
    second_opinions: list[SecondOpinion] = Field(default_factory=list)
    unread: dict[str, str] = Field(
        default_factory=dict, description="Question (as 'chip 3: link') → why there is no answer."
    )
    seconds: float = Field(default=0.0, description="How long the node took to read all this.")
