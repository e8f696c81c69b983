"""hccn_tool's answer about a chip's optical module.

The lines and their order: hicann/driver, .../hccn/ascend910B/hccn_tool/tool.c. Older drivers and some
modules have one lane whose lines bear no number, as in mind-cluster's faultdiag documents. A chip
that shares its module with another one says "NA" for the lanes that are not its own.
"""

from __future__ import annotations

import re

from npuctl.hardware.hccn_lines import Value, read_answer
from npuctl.hardware.hccn_records import Optical, OpticalLane, OpticalLimits
from npuctl.hardware.unreadable import UnreadableError

_ABSENT = frozenset({"NA", "N/A", "-", "not supported", "get failed"})
_PRESENT = {"present": True, "not present": False}
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9 _./()-]*?)\s*:\s*(.*)")
_LANE = re.compile(r"(Tx Power|Rx Power|Tx Bias)([0-7]?)|(Host SNR|Media SNR) Lane([0-7])")
_FLAGS = ("Tx Los Flag", "Rx Los Flag", "Tx LoL Flag", "Rx LoL Flag")


def parse_optical(text: str) -> Optical:
    """Read `-optical -g`.

    Raises:
        HccnFailedError: "Control link unreachable." or "Optical module is not present.".
        UnreadableError: also for a text in which not every lane has all its lines.
    """
    values: dict[str, Value] = {}
    started = False
    for line in read_answer(text).lines:
        found = _KEY.fullmatch(line.content)
        key = found[1] if found else ""
        started = started or line.content == "optical info:" or key == "present"
        if not started or line.content == "optical info:":
            if line.content == "optical info:" and values:
                raise line.error("said twice: one answer at a time")
            continue
        if not found:
            raise line.error("an unknown line")
        if key in values:
            raise line.error("said twice: one answer at a time")
        values[key] = Value(found[2], line)
    if "present" not in values:
        raise UnreadableError("no optical module in the text")
    lanes = _lanes(values)
    flags = {flag: _flag(values, flag) for flag in _FLAGS}
    if any(lane.tx_power_mw is not None for lane in lanes) and None in flags.values():
        raise UnreadableError("lanes, but not all flags: the text is cut")
    return Optical(
        present=_PRESENT[values["present"].match("|".join(_PRESENT), "presence")[0]],
        temperature_c=_whole(values, "temperature", "C"),
        vendor=_word(values, "vendor name"),
        part_number=_word(values, "vendor part number"),
        serial_number=_word(values, "vendor serial number"),
        wavelength_nm=_whole(values, "xsfp wave length", "nm"),
        vcc_mv=_measured(values, "Vcc", "mV"),
        lanes=lanes,
        limits=OpticalLimits(
            vcc_high_mv=_measured(values, "Vcc High Thres", "mV"),
            vcc_low_mv=_measured(values, "Vcc Low Thres", "mV"),
            temperature_high_c=_whole(values, "Temp High Thres", "C"),
            temperature_low_c=_whole(values, "Temp Low Thres", "C"),
            tx_power_high_mw=_measured(values, "TxPower High Thres", "mW"),
            tx_power_low_mw=_measured(values, "TxPower Low Thres", "mW"),
            rx_power_high_mw=_measured(values, "RxPower High Thres", "mW"),
            rx_power_low_mw=_measured(values, "RxPower Low Thres", "mW"),
        ),
        tx_los=flags["Tx Los Flag"],
        rx_los=flags["Rx Los Flag"],
        tx_lol=flags["Tx LoL Flag"],
        rx_lol=flags["Rx LoL Flag"],
    )


def _lanes(values: dict[str, Value]) -> tuple[OpticalLane, ...]:
    """Every lane with all its lines; a kind of line is there for all lanes or for none."""
    kinds: dict[str, dict[int, str]] = {}
    for key, value in values.items():
        found = _LANE.fullmatch(key)
        if found:
            kind, lane = found[1] or found[3], found[2] or found[4] or "0"
            if int(lane) in kinds.setdefault(kind, {}):
                raise value.error("said twice: one answer at a time")
            kinds[kind][int(lane)] = key
    for kind, keys in kinds.items():
        if sorted(keys) != list(range(len(keys))) or len(keys) != len(kinds.get("Tx Power", ())):
            raise UnreadableError(f"not every lane has its {kind}")
    if not {"Tx Power", "Rx Power"} <= set(kinds) or "RxPower Low Thres" not in values:
        raise UnreadableError("no power of the lanes, or no limits of it: the text is cut")
    lanes = tuple(
        OpticalLane(
            tx_power_mw=_measured(values, kinds["Tx Power"][lane], "mW"),
            rx_power_mw=_measured(values, kinds["Rx Power"][lane], "mW"),
            tx_bias_ma=_measured(values, kinds.get("Tx Bias", {}).get(lane), "mA"),
            host_snr_db=_measured(values, kinds.get("Host SNR", {}).get(lane), "dB"),
            media_snr_db=_measured(values, kinds.get("Media SNR", {}).get(lane), "dB"),
        )
        for lane in range(len(kinds.get("Tx Power", ())))
    )
    if any(lane.tx_power_mw is not None for lane in lanes) and "Tx Bias" not in kinds:
        raise UnreadableError("lanes without bias: the text is cut")
    if lanes and all(lane == OpticalLane(None, None, None, None, None) for lane in lanes):
        return ()
    return lanes


def _present(values: dict[str, Value], key: str | None) -> Value | None:
    value = values.get(key) if key else None
    return None if value is None or value.text in _ABSENT else value


def _measured(values: dict[str, Value], key: str | None, unit: str) -> float | None:
    value = _present(values, key)
    if value is None:
        return None
    return float(value.match(rf"(-?[0-9]{{1,7}}\.[0-9]{{1,6}}) {unit}", f"a figure in {unit}")[1])


def _whole(values: dict[str, Value], key: str, unit: str) -> int | None:
    value = _present(values, key)
    return None if value is None else int(value.match(rf"(-?[0-9]{{1,5}}) {unit}", f"a figure in {unit}")[1])


def _flag(values: dict[str, Value], key: str) -> int | None:
    value = _present(values, key)
    return None if value is None else int(value.match(r"0x([0-9a-fA-F]{1,4})", "a flag")[1], 16)


def _word(values: dict[str, Value], key: str) -> str | None:
    value = _present(values, key)
    return value.text or None if value else None
