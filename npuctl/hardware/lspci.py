"""The chips on the PCI bus, before any driver: `lspci -n -d 19e5:`, and lspci's other lay-outs.

Device ids: hicann/driver's install scripts; the vendor's other devices (the iBMC's 1711, network and
storage controllers 02xx to a2xx) are in the PCI ID list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from npuctl.hardware.lines import Line, numbered_lines

_PRODUCTS = {
    "d100": "310",
    "d107": "310B",
    "d500": "310P",
    "d801": "910A",
    "d802": "A2",
    "d803": "A3",
    "d806": "950",
}
_VENDOR = "19e5"
_VENDOR_NAME = "Huawei Technologies Co., Ltd."
_VENDOR_WORD = "Huawei "
_ACCELERATOR, _ACCELERATOR_NAME = "1200", "Processing accelerators"

_HEX = r"[0-9a-fA-F]"
_BUS = rf"(?:{_HEX}{{4,8}}:)?{_HEX}{{2}}:{_HEX}{{2}}\.[0-7]"
_LINE = re.compile(rf"({_BUS})\s+(\S.*?):\s+(\S.*)")
# Kunpeng's own engines, for compression and keys, which are accelerators too.
_NO_NPU = re.compile(r"Huawei Technologies Co\., Ltd\. HiSilicon \S.*")
_REVISION = r"(?:\s+\(rev [0-9a-f]{2}\))?(?:\s+\(prog-if [0-9a-f]{2}[^()]*\))?"
_NUMERIC = re.compile(rf"({_HEX}{{4}}):({_HEX}{{4}}){_REVISION}")
_IDS_AT_END = re.compile(rf".*\[({_HEX}{{4}}):({_HEX}{{4}})\]{_REVISION}")
_CLASS_NUMBER = re.compile(rf"(?:.*\[)?({_HEX}{{4}})\]?")
_NAMELESS = re.compile(rf"Huawei(?: Technologies Co\., Ltd\.)? Device ({_HEX}{{4}}){_REVISION}")


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One of the vendor's devices.

    Attributes:
        bus: as lspci says it, with or without the domain.
        device_id: four digits in small letters; None where the lay-out has a name in its place.
        product: of an NPU, such as "A2"; None for anything else, and for a chip that is not known.
        accelerator: of the class "processing accelerators", as NPUs are.
    """

    bus: str
    device_id: str | None
    product: str | None
    accelerator: bool


def parse_lspci(text: str) -> tuple[PciDevice, ...]:
    """The vendor's devices in the output of `lspci`, `-n` or `-nn`, with or without `-D` and `-d`.

    Nothing at all is what `lspci -n -d 19e5:` says on a machine without NPUs.

    Raises:
        UnreadableError: a line that is no device, a device twice, or an accelerator of the vendor
            whose id is not said: ask with -n.
    """
    devices: list[PciDevice] = []
    for line in numbered_lines(text):
        if line.raw[0].isspace() and not re.match(_BUS, line.content):
            continue  # details of the device above, as -k and -v say them
        found = _LINE.fullmatch(line.content)
        if not found:
            raise line.error("not a device of lspci")
        device = _device(found[1].lower(), found[2], found[3], line)
        if device is None:
            continue
        if any(other.bus == device.bus for other in devices):
            raise line.error(f"{device.bus} is listed twice")
        devices.append(device)
    return tuple(devices)


def npus(devices: tuple[PciDevice, ...]) -> tuple[PciDevice, ...]:
    """Those that are known to be NPUs."""
    return tuple(device for device in devices if device.product)


def _device(bus: str, kind: str, rest: str, line: Line) -> PciDevice | None:
    number = _CLASS_NUMBER.fullmatch(kind)
    accelerator = (number is not None and number[1] == _ACCELERATOR) or kind.startswith(_ACCELERATOR_NAME)
    ids = (_NUMERIC if number and number[1] == kind else _IDS_AT_END).fullmatch(rest)
    if ids:
        vendor, device_id = ids[1].lower(), ids[2].lower()
        if vendor != _VENDOR:
            return None
        return PciDevice(bus, device_id, _PRODUCTS.get(device_id), accelerator)
    if number and number[1] == kind:
        raise line.error("not <vendor>:<device>")
    if _VENDOR_NAME.startswith(rest):
        raise line.error("a device without its name")
    if not rest.startswith(_VENDOR_WORD):
        return None
    nameless = _NAMELESS.fullmatch(rest)
    if nameless:
        device_id = nameless[1].lower()
        return PciDevice(bus, device_id, _PRODUCTS.get(device_id), accelerator)
    if accelerator and not _NO_NPU.fullmatch(rest):
        raise line.error("an accelerator whose id is not said: ask with -n")
    return PciDevice(bus, None, None, accelerator)
