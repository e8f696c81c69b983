"""The parser of npu-smi on what nobody thought of: any text, damaged samples, any state of a node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npuctl.hardware.npu_smi import NpuSmiInfo, NpuSmiParseError, parse_info, parse_mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SAMPLES = sorted((Path(__file__).parent.parent / "unit" / "hardware" / "samples").glob("*.txt"))
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in SAMPLES}
WHOLE = sorted(name for name in TEXTS if name not in {"driver_unusable", "mapping_a3"})

# No deadline: these tests ask for right answers, also on a machine that is busy.
patient = settings(deadline=None)
thorough = settings(patient, max_examples=400)
with_fixture = settings(
    patient, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def _parse(text: str) -> NpuSmiInfo | None:
    try:
        return parse_info(text)
    except NpuSmiParseError:
        return None


@given(st.text())
@patient
def test_any_text_is_read_or_refused(text: str) -> None:
    assert _parse(text) is None or "|" in text
    with pytest.raises(NpuSmiParseError):
        parse_mapping(text.replace("NPU ID", ""))


@given(st.lists(st.text(alphabet="+-=| 0123456789/.:NPUChipBus-IdHealthOKA(MB)%", max_size=110), max_size=20))
@patient
def test_any_heap_of_rows_is_read_or_refused(lines: list[str]) -> None:
    _parse("\n".join(lines))


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, str]:
    """A sample and the same with lines or cells deleted, doubled, cut or swapped."""
    name = draw(st.sampled_from(WHOLE))
    lines = TEXTS[name].split("\n")
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["delete", "double", "cut", "end", "cell", "swap", "characters"])):
            case "delete":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "end":
                lines = lines[: at + 1]
            case "cell":
                cells = lines[at].split("|")
                del cells[draw(st.integers(0, len(cells) - 1))]
                lines[at] = "|".join(cells)
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                start = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:start] + lines[at][start + draw(st.integers(1, 4)) :]
        if not lines:
            break
    return name, "\n".join(lines)


@given(damaged())
@thorough
def test_a_damaged_sample_is_read_or_refused(case: tuple[str, str]) -> None:
    _, text = case
    _parse(text)


@st.composite
def bereft(draw: st.DrawFn) -> tuple[str, str]:
    """A sample and the same cut at any character, or without any one of its lines."""
    name = draw(st.sampled_from(WHOLE))
    text = TEXTS[name]
    if draw(st.booleans()):
        return name, text[: draw(st.integers(0, len(text)))]
    lines = text.split("\n")
    del lines[draw(st.integers(0, len(lines) - 1))]
    return name, "\n".join(lines)


@given(bereft())
@thorough
def test_a_chip_that_is_read_from_a_cut_sample_has_its_true_numbers(case: tuple[str, str]) -> None:
    name, text = case
    whole, left = parse_info(TEXTS[name]), _parse(text)
    if left is not None:
        assert set(left.chips) <= set(whole.chips)
        assert set(left.processes) <= set(whole.processes)
        assert not left.complete or left.chips == whole.chips


@given(st.data())
@patient
def test_a_damaged_mapping_is_read_or_refused(data: st.DataObject) -> None:
    text = TEXTS["mapping_a3"]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    try:
        parse_mapping(text[:start] + text[end:])
    except NpuSmiParseError as error:
        assert error.reason  # noqa: PT017


NAMES = st.text(alphabet="abcXYZ019._-:|", max_size=15)


@st.composite
def node_states(draw: st.DrawFn) -> dict[str, Any]:
    """What a simulated node may be in the midst of."""
    product = draw(st.sampled_from(["a2", "a3", "310p"]))
    count = {"a2": 8, "a3": 16, "310p": 8}[product]
    chips = {
        device: {
            "health": draw(st.sampled_from(["OK", "Warning", "Alarm", "Critical", "UNKNOWN"])),
            "temperature_c": draw(st.integers(0, 120)),
            "memory_used_mb": draw(st.integers(0, 65536)),
            "aicore_percent": draw(st.integers(0, 100)),
            "processes": draw(
                st.lists(st.tuples(st.integers(1, 4194304), NAMES, st.integers(0, 65536)), max_size=3)
            ),
        }
        for device in sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    }
    version = draw(st.sampled_from(["23.0.7", "24.1.rc3", "25.5.2", "26.0.rc1"]))
    return {"product": product, "chips": chips, "version": version}


@given(state=node_states())
@with_fixture
def test_what_the_simulated_tool_prints_reads_back_as_it_was(
    state: dict[str, Any], npusim_module: Callable[[str], ModuleType]
) -> None:
    products, tables = npusim_module("products"), npusim_module("tables")
    kind = products.product(state["product"])
    rows, processes = [], []
    for sim in kind.chips:
        if sim.device not in state["chips"]:
            continue
        now = dict(state["chips"][sim.device])
        processes += [tables.ProcessRow(sim.npu, sim.chip, *process) for process in now.pop("processes")]
        rows.append(
            tables.ChipRow(
                npu=sim.npu,
                chip=sim.chip,
                device=sim.device,
                name=kind.chip_name,
                power=sim.power,
                bus_id=sim.bus_id,
                memory_total_mb=sim.memory_total_mb,
                **now,
            )
        )
    layout = kind.layout(state["version"])
    info = parse_info(tables.render_info(layout, state["version"], rows, processes))
    assert info.complete
    assert info.version == info.driver_version == state["version"]
    for row, chip in zip(rows, info.chips, strict=True):
        assert (chip.npu, chip.chip, chip.name, chip.health) == (row.npu, row.chip, row.name, row.health)
        assert (chip.temperature_c, chip.aicore_percent) == (row.temperature_c, row.aicore_percent)
        assert (chip.memory_used_mb, chip.memory_total_mb) == (row.memory_used_mb, row.memory_total_mb)
        assert chip.power_w == (None if row.power in {"-", "NA"} else float(row.power))
        number = {"": None, "Phy-ID": chip.phy_id, "Device": chip.device}[layout.id_column]
        assert number in (None, row.device)
        assert (number is None) == (layout.id_column == "")
    assert [(p.npu, p.chip, p.pid, p.name, p.memory_mb) for p in info.processes] == [
        tuple(p) for p in processes
    ]
