"""What each simulated product looks like; values invented inside the ranges of published tables."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

    from npusim.tables import Layout
else:
    from npusim.record import NamedTuple

_WIDE_SINCE = 26  # the first release whose table has a column for the process id in the container


class SimChip(NamedTuple):
    """One chip as it left the factory; `device` is N of /dev/davinciN and the id of hccn_tool."""

    npu: int
    chip: int
    device: int
    bus_id: str
    memory_total_mb: int
    idle_mb: int
    power: str
    temperature_c: int


class SimProduct(NamedTuple):
    """One kind of server; `npu_name` is what a board query of an A3's die has beside the chip's name."""

    key: str
    chip_name: str
    board_name: str
    pci_device: str
    chips: tuple[SimChip, ...]
    busy_mb: int
    has_roce: bool
    has_hccs_network: bool
    npu_name: str = ""

    @property
    def npus(self) -> tuple[int, ...]:
        """Card ids in order."""
        return tuple(dict.fromkeys(chip.npu for chip in self.chips))

    def layout(self, driver: str) -> Layout:
        """The table that this product's npu-smi of that release prints."""
        from npusim.tables import CLASSIC, CLASSIC_PHY, DUO, WIDE, WIDE_PHY  # noqa: PLC0415  few calls print it

        major = driver.partition(".")[0]
        wide = major.isdigit() and int(major) >= _WIDE_SINCE
        if self.key == "310p":
            return DUO
        if self.key == "a3":
            return WIDE_PHY if wide else CLASSIC_PHY
        return WIDE if wide else CLASSIC


def _a2() -> SimProduct:
    buses = ("C1", "C2", "81", "82", "01", "02", "41", "42")
    chips = tuple(
        SimChip(
            npu=n,
            chip=0,
            device=n,
            bus_id=f"0000:{bus}:00.0",
            memory_total_mb=65536,
            idle_mb=3391 + (7 * n) % 27,
            power=f"{90 + (13 * n) % 9}.{(3 * n) % 10}",
            temperature_c=38 + (5 * n) % 7,
        )
        for n, bus in enumerate(buses)
    )
    return SimProduct(
        "a2", "910B3", "Ascend 910B3", "d802", chips, 57000, has_roce=True, has_hccs_network=False
    )


def _a3() -> SimProduct:
    buses = ("9D", "9F", "99", "9B", "95", "97", "91", "93", "8D", "8F", "89", "8B", "85", "87", "81", "83")
    chips = tuple(
        SimChip(
            npu=n // 2,
            chip=n % 2,
            device=n,
            bus_id=f"0000:{bus}:00.0",
            memory_total_mb=65536,
            idle_mb=(3141 if n % 2 == 0 else 2879) + (5 * n) % 19,
            power=f"{160 + (11 * n) % 17}.{(7 * n) % 10}" if n % 2 == 0 else "-",
            temperature_c=30 + (3 * n) % 6,
        )
        for n, bus in enumerate(buses)
    )
    return SimProduct(
        "a3",
        "Ascend910",
        "Ascend910",
        "d803",
        chips,
        57000,
        has_roce=True,
        has_hccs_network=True,
        npu_name="9392",
    )


def _duo() -> SimProduct:
    cards = ((64, "02"), (320, "0A"), (32832, "82"), (33088, "8A"))
    chips = tuple(
        SimChip(
            npu=cards[n // 2][0],
            chip=n % 2,
            device=n,
            bus_id=f"0000:{cards[n // 2][1]}:00.0",  # both chips of a Duo show one bus id
            memory_total_mb=44280 if n % 2 == 0 else 43693,
            idle_mb=1820 + (31 * n) % 97,
            power="NA",
            temperature_c=46 + (3 * n) % 6,
        )
        for n in range(8)
    )
    return SimProduct(
        "310p", "310P3", "Ascend 310P3", "d500", chips, 38000, has_roce=False, has_hccs_network=False
    )


PRODUCTS = {"a2": _a2, "a3": _a3, "310p": _duo}


def product(key: str) -> SimProduct:
    """The product of that key; only the one asked for is built."""
    return PRODUCTS[key]()
