"""The products that npuctl knows, as data; each figure names its source.

Sources: VA = vllm-project/vllm-ascend docs (installation.md, quick_start.md, the Dockerfiles),
drv = hicann/driver install scripts and manuals, "tables" = published `npu-smi info` outputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MANAGER_DEVICES = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")  # VA installation.md

# VA installation.md, `docker run` of every product: the host's driver as a container needs it.
_DRIVER_MOUNTS = (
    "/usr/local/dcmi",
    "/usr/local/bin/npu-smi",
    "/usr/local/Ascend/driver/lib64",
    "/usr/local/Ascend/driver/version.info",
    "/etc/ascend_install.info",
)
# For products whose NPUs have a network of their own: its tool always (the vendors' single-node lines have it
# too), its configuration where containers of several nodes talk over it (VA multi_node guides).
_NETWORK_TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"
_NETWORK_MOUNTS = ("/etc/hccn.conf",)
# CANN, environment variable HCCL_IF_BASE_PORT: HCCL listens on 16 ports of the host from there on, 60000 where
# it is not set; the vendor asks to reserve them.
HCCL_BASE_PORT = 60000
HCCL_PORTS = 16


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of server: what differs between kinds, and nothing else.

    Attributes:
        key: the word used in specs and inventories.
        chips_per_server: of the usual server; an A3's chips are its dies.
        most_chips_per_server: of the largest server of this kind.
        chips_per_npu: chips that share one card id of npu-smi.
        driver_mounts: host paths that every engine container needs, under the same path inside.
        network_mounts: host paths added when an engine spans nodes; empty without such a network.
        image_suffix: of a vllm-ascend image tag ("" or "-a3"), before "-openeuler".
        package_chips: its word in the names of driver and firmware packages (hardware/run_packages.py).
        hbm_gib: nominal memory of one chip. Chips of one product differ: plan with what npu-smi
            shows for the chip at hand.
        idle_memory_mb: the most that a chip without any work shows as used; a chip above is held.
        reserved_memory_mb: the least that an idle chip was seen to show as used: what no engine can have.
        dtypes: the only data types that work; empty when there is no limit.
        verified: False when the figures come from manuals alone.
    """

    key: str
    title: str
    chips_per_server: int
    most_chips_per_server: int
    chips_per_npu: int
    manager_devices: tuple[str, ...]
    driver_mounts: tuple[str, ...]
    network_mounts: tuple[str, ...]
    image_suffix: str
    package_chips: tuple[str, ...]
    hbm_gib: int
    idle_memory_mb: int
    reserved_memory_mb: int
    dtypes: tuple[str, ...]
    name_pattern: re.Pattern[str]
    verified: bool

    def devices(self, chip_ids: Iterable[int]) -> tuple[str, ...]:
        """The device nodes that a container holding these chips needs, managers last.

        Args:
            chip_ids: numbers of /dev/davinciN: the Phy-ID of an A3, the Device of a 310P.
        """
        return (*(f"/dev/davinci{chip}" for chip in chip_ids), *self.manager_devices)

    def names_chip(self, name: str) -> bool:
        """Whether npu-smi would call a chip of this product so (`info`'s or `info -m`'s word)."""
        return self.name_pattern.fullmatch(name.strip()) is not None


A2 = Product(
    key="a2",
    title="Atlas 800I/800T A2 (910B)",
    chips_per_server=8,  # VA installation.md
    most_chips_per_server=16,  # tables: a Box16 of 16 x 910B2C
    chips_per_npu=1,
    manager_devices=_MANAGER_DEVICES,
    driver_mounts=(*_DRIVER_MOUNTS, _NETWORK_TOOL),
    network_mounts=_NETWORK_MOUNTS,
    image_suffix="",  # VA installation.md
    package_chips=("910b",),
    hbm_gib=64,  # tables: 65536 MB on 910B1, B2, B2C, B3, B4-1; a plain 910B4 has 32768
    idle_memory_mb=5120,  # tables: idle 2818 (910B4) to 4175 (910B1); the rest is margin
    reserved_memory_mb=2818,  # tables: a 910B4; torch_npu then sees 61.27 of 64 GiB (vllm-ascend pull 8289)
    dtypes=(),
    name_pattern=re.compile(r"(?:Ascend ?)?910B[1-9][A-Z]?(?:-[0-9])?"),
    verified=True,
)

A3 = Product(
    key="a3",
    title="Atlas 800I/800T A3 (910C)",
    chips_per_server=16,  # 8 NPUs of two dies; VA: /dev/davinci0 to 15
    most_chips_per_server=16,
    chips_per_npu=2,
    manager_devices=_MANAGER_DEVICES,
    driver_mounts=(*_DRIVER_MOUNTS, _NETWORK_TOOL),
    network_mounts=_NETWORK_MOUNTS,
    image_suffix="-a3",  # VA installation.md
    package_chips=("a3",),
    hbm_gib=64,  # tables: 65536 MB a die
    idle_memory_mb=4608,  # tables: idle 2879 to 3411 a die; the rest is margin
    reserved_memory_mb=2879,  # tables
    dtypes=(),
    # tables: "Ascend910"; the longer names are the SOC_VERSION of the A3 image (VA Dockerfile.a3).
    name_pattern=re.compile(r"Ascend ?910(?:_93[0-9]{2}|C)?|910_93[0-9]{2}|910C"),
    verified=True,
)

ATLAS_310P = Product(
    key="310p",
    title="Atlas 300I Duo / 300I Pro (310P)",
    chips_per_server=8,  # tables: four Duo cards
    most_chips_per_server=16,  # no source: eight Duo cards, only to refuse a misreading
    chips_per_npu=2,  # Duo; a 300I Pro has one
    manager_devices=_MANAGER_DEVICES,
    driver_mounts=_DRIVER_MOUNTS,
    network_mounts=(),  # no RoCE port on these cards
    image_suffix="-310p",  # VA installation.md
    package_chips=("310p",),
    hbm_gib=43,  # tables: 44280 and 43693 MB on the two chips of a Duo; 21527 on a 300I Pro
    idle_memory_mb=4096,  # tables: idle 931 to 1910, one table with 3292; the rest is margin
    reserved_memory_mb=931,  # tables
    dtypes=("float16",),  # VA tutorials for 310P: --dtype float16 is required
    name_pattern=re.compile(r"(?:Ascend ?)?310P[0-9]?"),
    verified=True,
)

ATLAS_950 = Product(
    key="950",
    title="Ascend 950 (A5)",
    chips_per_server=8,  # VA: /dev/davinci0 to 7
    most_chips_per_server=8,
    chips_per_npu=1,
    # drv names asdrv_svm in place of devmm_svm, VA's docs the usual three: not settled.
    manager_devices=_MANAGER_DEVICES,
    driver_mounts=(*_DRIVER_MOUNTS, _NETWORK_TOOL),
    network_mounts=_NETWORK_MOUNTS,
    image_suffix="-950dt",  # VA docs; VA's build workflow says "-a5": look into the registry
    package_chips=("950",),
    hbm_gib=84,  # drv manual: 86016 MB
    idle_memory_mb=6144,  # drv manual: 4439 on the chip of its example
    reserved_memory_mb=4439,  # drv manual
    dtypes=(),
    name_pattern=re.compile(r"(?:Ascend ?)?950[A-Z0-9_]*"),
    verified=False,
)

PRODUCTS: tuple[Product, ...] = (A2, A3, ATLAS_310P, ATLAS_950)


def identify(chip_names: Sequence[str], chip_count: int) -> Product | None:
    """The product whose chips npu-smi shows, or None when it is none that npuctl knows.

    Fewer chips than the server has are no reason to say None: cards drop, and containers see some.

    Args:
        chip_names: what npu-smi calls each chip, or each kind of chip.
        chip_count: how many chips npu-smi lists.
    """
    if not chip_names or chip_count < 1:
        return None
    for product in PRODUCTS:
        if all(product.names_chip(name) for name in chip_names):
            return product if chip_count <= product.most_chips_per_server else None
    return None
