"""The chips as they are now: the factory's values, what runs on them, and the faults."""

from __future__ import annotations

from typing import NamedTuple

from npusim import holders
from npusim.products import SimChip, SimProduct, product
from npusim.state import State, fault_value, faults_of
from npusim.tables import ChipRow, ProcessRow

_SECONDARY_MB = 129  # what every further process on a chip shows in a published table (910B2, 25.2.0)

# Code and information as published with the state (Ascend/mind-cluster fixtures and lists).
HEALTH_REPORTS = {
    "OK": ("NA", "NA"),
    "Warning": ("A4025021", "ascend_monitor adda heart beat lost error"),
    "Alarm": ("80C98001", "node type=AIC, sensor type=RAS State, event state=module error can not be fixed"),
    "Critical": (
        "8C084E00",
        "node type=adda, sensor type=Heartbeat Sensor, event state=Heartbeat Lost.",
    ),
}


class LiveChip(NamedTuple):
    """One chip at this moment."""

    sim: SimChip
    health: str
    temperature_c: int
    memory_used_mb: int
    processes: tuple[ProcessRow, ...]

    @property
    def memory_percent(self) -> int:
        """Rounded down, as the tool's usage rates are."""
        return self.memory_used_mb * 100 // self.sim.memory_total_mb

    def row(self, name: str) -> ChipRow:
        """The chip's two rows in the table."""
        return ChipRow(
            npu=self.sim.npu,
            chip=self.sim.chip,
            device=self.sim.device,
            name=name,
            health=self.health,
            power=self.sim.power,
            temperature_c=self.temperature_c,
            bus_id=self.sim.bus_id,
            aicore_percent=0,
            memory_used_mb=self.memory_used_mb,
            memory_total_mb=self.sim.memory_total_mb,
        )


def present(state: State) -> list[LiveChip]:
    """The chips that did not drop off the bus, in the table's order."""
    kind = product(state["product"])
    held = holders.scan()
    return [
        _live(state, kind, sim, held.get(sim.device, []))
        for sim in kind.chips
        if not faults_of(state, "chip-dropped", sim.device)
    ]


def is_present(state: State, device: int) -> bool:
    """Whether the chip of that device number answers."""
    known = any(sim.device == device for sim in product(state["product"]).chips)
    return known and not faults_of(state, "chip-dropped", device)


def _live(state: State, kind: SimProduct, sim: SimChip, held_by: list[holders.Holder]) -> LiveChip:
    busy = round(kind.busy_mb * float(state["busy_share"]))
    rows = tuple(
        ProcessRow(sim.npu, sim.chip, holder.pid, holder.name, _SECONDARY_MB if index else busy)
        for index, holder in enumerate(held_by)
    )
    leaked = int(fault_value(state, "hbm-leak", sim.device) or 0)
    used = sim.idle_mb + leaked + sum(row.memory_mb for row in rows)
    return LiveChip(
        sim=sim,
        health=fault_value(state, "health", sim.device) or "OK",
        temperature_c=int(fault_value(state, "temperature", sim.device) or sim.temperature_c),
        memory_used_mb=min(used, sim.memory_total_mb),
        processes=rows,
    )
