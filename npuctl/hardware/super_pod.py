"""`npu-smi info -t spod-info`: the place of a die in an A3 super pod, by the number that stands for it."""

from __future__ import annotations

from dataclasses import dataclass

# Bits of an SDID from the left: server 10, NPU 4, chip 2, die 16 (CANN documentation; two logged dies of
# a super pod of 384 agree).
_SERVER_BIT, _NPU_BIT, _CHIP_BIT = 22, 18, 16
_SERVERS, _NPUS, _CHIPS, _DIES = 1 << 10, 1 << 4, 1 << 2, 1 << 16


@dataclass(frozen=True, slots=True)
class SuperPodPlace:
    """Where a die is: what an SDID says."""

    server: int
    npu: int
    chip: int
    die: int


@dataclass(frozen=True, slots=True)
class SuperPod:
    """`npu-smi info -t spod-info`: an A3's die in its super pod; a 950 has no SDID but a type.

    Attributes:
        server_index: None on a 950 that gives its chassis instead.
    """

    sdid: int | None
    super_pod_size: int
    super_pod_id: int
    server_index: int | None
    chassis_id: int | None
    super_pod_type: int | None

    @property
    def place(self) -> SuperPodPlace | None:
        """What the SDID says; its server need not be asked for again."""
        return None if self.sdid is None else decode_sdid(self.sdid)


def decode_sdid(sdid: int) -> SuperPodPlace:
    """The place that an SDID names.

    Raises:
        ValueError: the number has more than 32 bits.
    """
    if not 0 <= sdid < _SERVERS << _SERVER_BIT:
        raise ValueError(f"not an SDID of 32 bits: {sdid}")
    return SuperPodPlace(
        server=sdid >> _SERVER_BIT,
        npu=(sdid >> _NPU_BIT) % _NPUS,
        chip=(sdid >> _CHIP_BIT) % _CHIPS,
        die=sdid % _DIES,
    )
