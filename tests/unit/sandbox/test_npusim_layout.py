"""The simulated table is drawn as the real one: published tables, read and drawn again, are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from npuctl.hardware.npu_smi import parse_info

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("npu-smi-info_910b4_24.1.rc3_4cards_gap-in-ids.txt", "CLASSIC"),
        ("npu-smi-info_910b2_25.2.0_8cards_tp8-same-pid-on-two-cards.txt", "CLASSIC"),
        ("npu-smi-info_910a_23.0.rc2_1card_ddr-and-hbm.txt", "CLASSIC"),
        ("npu-smi-info_910c_24.1.rc3.3_16dies_with-processes.txt", "CLASSIC_PHY"),
        ("npu-smi-info_a3_25.3.rc1_16dies_4-busy_nameless-processes.txt", "CLASSIC_PHY"),
        ("npu-smi-info_a3_26.0.rc1_2npus_container-pid-column.txt", "WIDE_PHY"),
        ("npu-smi-info_310p3_24.1.0.1_4duo-cards_8chips.txt", "DUO"),
        ("npu-smi-info_310p3_24.1.0.1_1card_idle.txt", "DUO"),
    ],
)
def test_a_published_table_is_drawn_again_byte_for_byte(
    name: str, layout: str, corpus: Path, npusim_module: Callable[[str], ModuleType]
) -> None:
    tables = npusim_module("tables")
    text = (corpus / "npu" / name).read_text(encoding="utf-8")
    info = parse_info(text)
    absent = "NA" if layout == "DUO" else "-"
    rows = [
        tables.ChipRow(
            npu=chip.npu,
            chip=chip.chip,
            device=chip.device if chip.phy_id is None else chip.phy_id,
            name=chip.name,
            health=chip.health,
            power=absent if chip.power_w is None else f"{chip.power_w:.1f}",
            temperature_c=chip.temperature_c,
            bus_id=chip.bus_id,
            aicore_percent=chip.aicore_percent,
            memory_used_mb=chip.memory_used_mb,
            memory_total_mb=chip.memory_total_mb,
            ddr_used_mb=chip.ddr_used_mb,
            ddr_total_mb=chip.ddr_total_mb,
            hugepages_used=chip.hugepages_used,
            hugepages_total=chip.hugepages_total,
        )
        for chip in info.chips
    ]
    processes = [tables.ProcessRow(p.npu, p.chip, p.pid, p.name, p.memory_mb) for p in info.processes]
    drawn = tables.render_info(getattr(tables, layout), info.version, rows, processes, info.driver_version)
    assert drawn.splitlines() == text.rstrip().splitlines()
