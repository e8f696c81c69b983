"""The chips' health, memory errors and temperature."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl.facts.model import ChipFacts
from npuctl.facts.survey import ChipSurvey
from npuctl.hardware.fault_codes import Level, fault_code, gravest
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding

_OK = "OK"
_WARNING = "Warning"
# mind-cluster faultdiag, npu_anomaly/na_detection.py, calls an NPU too hot from here on, of any product; the
# vendor's data sheet of an Ascend 310 has the same figure as the highest that the chip may reach.
_HOT_C = 105
# Rows of HBM isolated after uncorrectable errors: mind-cluster faultdiag's notices 80E18401 and 80E18402.
_MANY_ISOLATED = 16
_ALL_ISOLATED = 64


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about how well the chips of every node are."""
    for node in checked.nodes:
        yield from _chips_healthy(node)
        yield from _memory_sound(node)
        yield from _chips_cool(node)


def _chips_healthy(node: CheckedNode) -> Iterator[Finding]:
    """By the chips' own answers where they were asked; a planned chip that is not well refuses the deploy."""
    asked = {chip.id: chip for chip in node.survey.chips} if node.survey else {}
    planned = {chip: replica for replica in node.replicas for chip in replica.chips}
    for chip in node.facts.chips:
        if node.survey is None and chip.id not in planned:
            continue
        word, seen = _health(chip, asked.get(chip.id))
        if word != _OK:
            replica = planned.get(chip.id)
            codes = _codes(asked.get(chip.id))
            yield Finding(
                id="npu.health",
                severity="error" if replica and word != _WARNING else "warning",
                node=node.name,
                seen="; ".join([seen, *codes]),
                expected=_OK,
                remedy=_how_to_cure(node, chip, asked.get(chip.id)),
                npu=chip.id,
                service=replica.service if replica else "",
            )


def _health(chip: ChipFacts, asked: ChipSurvey | None) -> tuple[str, str]:
    """The word to judge by, and both words where they differ."""
    if asked is None or not asked.health:
        return chip.health, f"health {chip.health}"
    if asked.health != _OK:
        other = "" if chip.health != _OK else " when asked by its number; the table of npu-smi info says OK"
        return asked.health, f"health {asked.health}{other}"
    if chip.health != _OK:
        # npu-smi itself (npucli, handle_health_state) calls a chip without any error code OK.
        return _WARNING, f"health {chip.health} in the table of npu-smi info; asked by its number it says OK"
    return _OK, ""


def _codes(asked: ChipSurvey | None) -> list[str]:
    if asked is None:
        return []
    texts = [*asked.error_texts, *[""] * len(asked.error_codes)]
    return [fault_code(code).in_words(text) for code, text in zip(asked.error_codes, texts, strict=False)]


def _how_to_cure(node: CheckedNode, chip: ChipFacts, asked: ChipSurvey | None) -> str:
    known = [fault_code(code) for code in asked.error_codes] if asked else []
    level = gravest(known)
    seat = f"-i {chip.npu} -c {chip.chip}"
    if level is None:
        named = "nothing is published about the code: ask the vendor" if known else "it names the error code"
        return f"npu-smi info -t health {seat} on {node.name}: {named}; use other chips until it says OK"
    return f"{level.do}{_how_to_reset(node, seat, level)} (mind-cluster's level {level.mind_cluster})"


def _how_to_reset(node: CheckedNode, seat: str, level: Level) -> str:
    if not level.name.startswith("reset"):
        return ""
    return (
        f": on {node.name}, npu-smi set -t reset {seat}, which resets every NPU that HCCS links to it as well"
    )


def _memory_sound(node: CheckedNode) -> Iterator[Finding]:
    for chip in node.survey.chips if node.survey else ():
        errors, pages = chip.ecc_uncorrectable or 0, chip.ecc_isolated_pages or 0
        if errors or pages:
            yield Finding(
                id="npu.ecc",
                severity="warning",
                node=node.name,
                seen=f"{errors} uncorrectable memory errors since the driver was loaded, {pages} isolated pages",
                expected="none",
                remedy=_how_to_treat_memory(node, chip, pages),
                npu=chip.id,
            )


def _how_to_treat_memory(node: CheckedNode, chip: ChipSurvey, pages: int) -> str:
    look = f"npu-smi info -t ecc -i {chip.npu} -c {chip.chip} on {node.name}"
    if pages >= _ALL_ISOLATED:
        return f"have the card replaced: no more pages can be isolated ({look})"
    if pages >= _MANY_ISOLATED:
        return f"have the card checked soon: {_ALL_ISOLATED} isolated pages are its end ({look})"
    return f"what ran on the chip then may have failed; watch the number ({look}): if it grows, have the card checked"


def _chips_cool(node: CheckedNode) -> Iterator[Finding]:
    for chip in node.facts.chips:
        if chip.temperature_c is not None and chip.temperature_c >= _HOT_C:
            yield Finding(
                id="npu.temperature",
                severity="warning",
                node=node.name,
                seen=f"{chip.temperature_c} C",
                expected=f"below {_HOT_C} C; hotter, the chip slows down or stops",
                remedy=f"check fans, air inlet and room of {node.name}; its BMC shows which sensor is hot",
                npu=chip.id,
            )
