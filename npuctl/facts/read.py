"""What library/npuctl_facts.py returned → NodeFacts. Pure; tool output is parsed here, not on the node."""

from __future__ import annotations

from typing import Any

from npuctl.facts.model import ChipFacts, ContainerFacts, HolderFacts, ListenerFacts, NodeFacts
from npuctl.facts.read_setup import read_setup
from npuctl.facts.read_survey import read_survey
from npuctl.hardware.npu_smi import Chip, NpuSmiInfo, NpuSmiParseError, parse_info


def read_node(raw: dict[str, Any]) -> NodeFacts:
    """Type one node's answer; what a tool could not say becomes `npu_error`, never a wrong number."""
    info, npu_error = _read_npu_smi(raw["npu_smi"])
    chips = [_chip(chip) for chip in info.chips] if info else []
    names = raw.get("container_names", {})
    survey, setup = raw.get("survey"), raw.get("setup")
    return NodeFacts(
        **{key: raw[key] for key in NodeFacts.model_fields if key in raw and key not in _OURS},
        npu_error=npu_error,
        npu_table_complete=info is None or info.complete,
        chips=chips,
        driver_running=(info.driver_version or info.version or "") if info else "",
        driver_on_disk=_version(raw.get("version_info", "")),
        holders=[HolderFacts(**_named(holder, names)) for holder in raw.get("holders", [])],
        listeners=[ListenerFacts(**_named(entry, names)) for entry in raw.get("listeners", [])],
        containers=[ContainerFacts(**entry) for entry in raw.get("containers", [])],
        setup=None if setup is None else read_setup(setup),
        survey=None if survey is None else read_survey(survey, chips, simulated=raw["simulated"]),
    )


_OURS = frozenset(
    {
        "npu_error",
        "npu_table_complete",
        "chips",
        "driver_running",
        "driver_on_disk",
        "holders",
        "listeners",
        "containers",
        "setup",
        "survey",
    }
)


def _read_npu_smi(answer: dict[str, Any]) -> tuple[NpuSmiInfo | None, str]:
    text = f"{answer['stdout']}\n{answer['stderr']}".strip()
    if answer["rc"] != 0:
        return None, text or f"npu-smi info ended with {answer['rc']}"
    try:
        return parse_info(answer["stdout"]), ""
    except NpuSmiParseError as error:
        return None, f"cannot read npu-smi info: {error}"


def _chip(chip: Chip) -> ChipFacts:
    return ChipFacts(
        id=_device_number(chip),
        npu=chip.npu,
        chip=chip.chip,
        name=chip.name,
        health=chip.health,
        bus_id=chip.bus_id or "",
        memory_used_mb=chip.memory_used_mb,
        memory_total_mb=chip.memory_total_mb,
        temperature_c=chip.temperature_c,
        power_w=chip.power_w,
        aicore_percent=chip.aicore_percent,
    )


def _device_number(chip: Chip) -> int:
    """N of /dev/davinciN: the Phy-ID (A3), the Device column (310P), else the NPU id (A2)."""
    if chip.phy_id is not None:
        return chip.phy_id
    return chip.device if chip.device is not None else chip.npu


def _version(version_info: str) -> str:
    for line in version_info.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "Version":
            return value.strip()
    return ""


def _named(entry: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {**entry, "container": names.get(entry.get("container_id", ""), "")}
