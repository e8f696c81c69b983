"""The chips as they are now: the factory's values, what runs on them, and the faults."""

from __future__ import annotations

from npusim.products import SimChip, SimProduct, product
from npusim.state import State, fault_value, faults_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NamedTuple

    from npusim.holders import Holder
    from npusim.tables import ChipRow, ProcessRow
else:
    from npusim.record import NamedTuple

_SECONDARY_MB = 129  # what every further process on a chip shows in a published table (910B2, 25.2.0)

# A code that was published with the word (Ascend/mind-cluster fixtures and lists).
HEALTH_CODES = {
    "OK": (),
    "Warning": ("A4025021",),
    "Alarm": ("80C98001",),
    "Critical": ("8C084E00",),
    "UNKNOWN": (),
}
# What npu-smi was seen to say of a code.
ERROR_INFORMATION = {
    "A4025021": "ascend_monitor adda heart beat lost error",
    "80C98001": "node type=AIC, sensor type=RAS State, event state=module error can not be fixed",
    "8C084E00": "node type=adda, sensor type=Heartbeat Sensor, event state=Heartbeat Lost.",
    "8C03A000": (
        "node type=process-manager, sensor type=General Software, "
        "event state=The process start failed or exit abnormally"
    ),
}


class Health(NamedTuple):
    """A health word and the error codes that stand behind it."""

    word: str = "OK"
    codes: tuple[str, ...] = ()


class LiveChip(NamedTuple):
    """One chip at this moment.

    Attributes:
        health: what the chip answers when it is asked by its number.
        shown_health: the word of the table, which a controller may know better or worse.
        uncorrectable_errors: double-bit errors of its memory, each of which cost a page.
    """

    sim: SimChip
    health: Health
    shown_health: str
    temperature_c: int
    memory_used_mb: int
    processes: tuple[ProcessRow, ...]
    uncorrectable_errors: int
    firmware: str
    compatibility: str

    @property
    def memory_percent(self) -> int:
        """Rounded down, as the tool's usage rates are."""
        return self.memory_used_mb * 100 // self.sim.memory_total_mb

    def row(self, name: str) -> ChipRow:
        """The chip's two rows in the table."""
        from npusim.tables import ChipRow  # noqa: PLC0415  few calls print it

        return ChipRow(
            npu=self.sim.npu,
            chip=self.sim.chip,
            device=self.sim.device,
            name=name,
            health=self.shown_health,
            power=self.sim.power,
            temperature_c=self.temperature_c,
            bus_id=self.sim.bus_id,
            aicore_percent=0,
            memory_used_mb=self.memory_used_mb,
            memory_total_mb=self.sim.memory_total_mb,
        )


def present(state: State, held: Mapping[int, list[Holder]] | None = None) -> list[LiveChip]:
    """The chips that did not drop off the bus, in the table's order.

    Args:
        state: the node's.
        held: who holds them, as `holders.scan` finds; without it they look idle.
    """
    kind = product(state["product"])
    return [
        _live(state, kind, sim, (held or {}).get(sim.device, []))
        for sim in kind.chips
        if not faults_of(state, "chip-dropped", sim.device)
    ]


def is_present(state: State, device: int) -> bool:
    """Whether the chip of that device number answers: none does without a driver."""
    known = state["driver"] and any(sim.device == device for sim in product(state["product"]).chips)
    return bool(known) and not faults_of(state, "chip-dropped", device)


def is_on_bus(state: State, device: int) -> bool:
    """Whether the chip of that device number is on the PCI bus."""
    return fault_value(state, "chip-dropped", device) != "bus"


def health_of(text: str | None) -> Health:
    """The health that a fault's value stands for: one of npu-smi's words, or error codes of an Alarm."""
    if text is None:
        return Health()
    if text in HEALTH_CODES:
        return Health(text, HEALTH_CODES[text])
    return Health("Alarm", tuple(text.upper().replace(",", " ").split()))


def _compatibility(state: State) -> str:
    """What driver and firmware that run say of each other; a factory's pair fits, whatever a drill made of it."""
    running = {"driver": state["driver"], "firmware": state["firmware"]}
    if not any(running[part] == version for part, version in state["packaged"].items()):
        return "OK"
    from npusim.releases import fit  # noqa: PLC0415  few nodes had packages

    return "OK" if fit(running["driver"], running["firmware"]) else "NOK"


def _live(state: State, kind: SimProduct, sim: SimChip, held_by: list[Holder]) -> LiveChip:
    rows: tuple[ProcessRow, ...] = ()
    if held_by:
        from npusim.tables import ProcessRow  # noqa: PLC0415  few calls print it

        busy = round(kind.busy_mb * float(state["busy_share"]))
        rows = tuple(
            ProcessRow(sim.npu, sim.chip, holder.pid, holder.name, _SECONDARY_MB if index else busy)
            for index, holder in enumerate(held_by)
        )
    leaked = int(fault_value(state, "hbm-leak", sim.device) or 0)
    used = sim.idle_mb + leaked + sum(row.memory_mb for row in rows)
    shown = health_of(fault_value(state, "health", sim.device))
    hidden = fault_value(state, "health-mcu", sim.device)
    return LiveChip(
        sim=sim,
        health=health_of(hidden) if hidden else shown,
        shown_health=shown.word,
        temperature_c=int(fault_value(state, "temperature", sim.device) or sim.temperature_c),
        memory_used_mb=min(used, sim.memory_total_mb),
        processes=rows,
        uncorrectable_errors=int(fault_value(state, "ecc", sim.device) or 0),
        firmware=fault_value(state, "firmware", sim.device) or state["firmware"],
        compatibility=fault_value(state, "compatibility", sim.device) or _compatibility(state),
    )
