"""The blocks of a `-t` answer: a heading of the card, then one block a chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from npuctl.hardware.npu_smi_fields import NOT_ENDED, Field, Values, integer_of
from npuctl.hardware.npu_smi_records import NpuSmiParseError

# "Chip Name" of what is not a chip: the management controller, and the processor of an Atlas 500.
_CONTROLLER = "mcu"
_NOT_CHIPS = frozenset({_CONTROLLER, "3559"})


@dataclass(frozen=True, slots=True)
class Block:
    """The fields of one chip.

    Attributes:
        npu: None where the answer does not repeat it.
        chip: None likewise, and for what is not a chip.
        unit: empty for a chip, else "mcu" or "3559".
    """

    npu: int | None
    chip: int | None
    unit: str
    fields: tuple[Field, ...]

    @property
    def where(self) -> str:
        """What this is the block of, for errors."""
        return "the answer" if self.chip is None else f"the block of chip {self.chip}"

    @property
    def values(self) -> Values:
        """The fields by their keys."""
        return Values(self.fields, self.where)


def blocks_ended_by_chip(fields: Sequence[Field]) -> list[Block]:
    """Blocks that their "Chip ID" stands below: usages, memory, ecc, proc-mem, health.

    Asked for one chip, npu-smi prints no "Chip ID" at all: then there is one block without a number.

    Raises:
        NpuSmiParseError: blocks are missing or cut.
    """
    heading, rest = _heading(fields)
    blocks: list[Block] = []
    current: list[Field] = []
    last: Field | None = None
    for field in rest:
        unit = field.value.lower() if field.key == "Chip Name" else ""
        if field.key != "Chip ID" and unit not in _NOT_CHIPS:
            current.append(field)
            continue
        if not current:
            raise field.error("a chip without values")
        blocks.append(Block(heading.npu, None if unit else _chip_id(field), unit, tuple(current)))
        current, last = [], field
    if current and (blocks or heading.chip_count is not None):
        raise current[-1].error("the last block has no chip's number below it: the text is cut")
    if current:
        return [Block(heading.npu, None, "", tuple(current))]
    _check_chips(blocks, heading, last)
    return blocks


def blocks_begun_by_chip(fields: Sequence[Field]) -> list[Block]:
    """Blocks that their "Chip ID", or the controller's "Chip Name", stands above: common.

    Raises:
        NpuSmiParseError: blocks are missing or cut.
    """
    heading, rest = _heading(fields)
    begun: list[tuple[int | None, str, list[Field]]] = []
    for field in rest:
        if field.key == "Chip ID":
            begun.append((_chip_id(field), "", []))
        elif field.key == "Chip Name":
            unit = field.value.lower()
            if unit not in _NOT_CHIPS:
                raise field.error(f"neither a chip nor a controller: {field.value!r}")
            begun.append((None, unit, []))
        elif begun:
            begun[-1][2].append(field)
        else:
            begun.append((None, "", [field]))
    blocks = [Block(heading.npu, chip, unit, tuple(below)) for chip, unit, below in begun]
    chips = [block for block in blocks if not block.unit]
    if len(chips) > 1 and chips[0].chip is None:
        raise chips[0].fields[0].error("values above the first chip's number")
    if chips and chips[0].chip is None and heading.chip_count is None:
        return blocks
    _check_chips(chips, heading, None)
    return blocks


@dataclass(frozen=True, slots=True)
class _Heading:
    """What stands above the blocks; all of it None when one chip was asked for."""

    npu: int | None
    chip_count: int | None


def _heading(fields: Sequence[Field]) -> tuple[_Heading, list[Field]]:
    keys = ("NPU ID", "Chip Count")
    above: list[Field] = []
    for field in fields:
        if field.key not in keys:
            break
        above.append(field)
    rest = list(fields[len(above) :])
    for field in rest:
        if field.key in keys:
            raise field.error("a second answer, or a line out of its place")
    values = Values(above, "the heading")
    return _Heading(values.integer(keys[0]), values.integer(keys[1])), rest


def _chip_id(field: Field) -> int | None:
    # The last line of an answer; without its newline it is believed where the count proves it.
    if field.source.ended:
        chip = integer_of(field)
        if chip is None:
            raise field.error("a chip without its number")
        return chip
    return (
        int(field.value)
        if field.value.isascii() and field.value.isdigit() and len(field.value) == 1
        else None
    )


def _check_chips(blocks: Sequence[Block], heading: _Heading, last: Field | None) -> None:
    chips = [block.chip for block in blocks if not block.unit]
    if None in chips or len(set(chips)) != len(chips):
        raise NpuSmiParseError("a chip without a number, or one that stands twice")
    if heading.chip_count is not None and len(chips) != heading.chip_count:
        raise NpuSmiParseError(f"the heading counts {heading.chip_count} chips, the answer has {len(chips)}")
    proven = heading.chip_count is not None and chips == list(range(heading.chip_count))
    if last is not None and not last.source.ended and not proven:
        raise last.error(NOT_ENDED)
