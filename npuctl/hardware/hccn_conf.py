"""/etc/hccn.conf: what hccn_tool brings up at every boot.

Lines of <key>_<physical id>=<value> (hicann/driver, .../hccn/ascend910B). Values are not safe for a
shell: that of "arp" has blanks and options in it, so a line is split at its first "=" and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from npuctl.hardware.lines import Line, ipv4, netmask, numbered_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

HCCN_CONF = "/etc/hccn.conf"

_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_.:-]*)_([0-9]{1,4})")
_SMALLEST_MTU, _LARGEST_MTU = 68, 9702  # the tool's own bounds


@dataclass(frozen=True, slots=True)
class HccnPort:
    """The settings of one chip; None for what is not in the file.

    Attributes:
        others: every other key, such as "arp", with its value as it stands.
    """

    phy_id: int
    address: str | None
    netmask: str | None
    gateway: str | None
    netdetect: str | None
    tls_enable: bool | None
    mtu: int | None
    send_arp_status: bool | None
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HccnConf:
    """The whole file: the chips by their physical id, in ascending order."""

    ports: Mapping[int, HccnPort]


@dataclass(frozen=True, slots=True)
class _Setting:
    value: str
    line: Line


def parse_hccn_conf(text: str) -> HccnConf:
    """Read the file; an empty one is that of a node whose network was never set up.

    Raises:
        UnreadableError: with the number of a line that is no setting, says otherwise than one above,
            or whose value cannot be right; also for an address without netmask, the tool sets both.
    """
    chips: dict[int, dict[str, _Setting]] = {}
    for line in numbered_lines(text):
        if line.content.startswith("#"):
            continue
        name, equals, value = line.content.partition("=")
        key = _KEY.fullmatch(name.rstrip())
        if not equals or not key:
            raise line.error("not <key>_<physical id>=<value>")
        settings = chips.setdefault(int(key[2]), {})
        setting = _Setting(value.strip(), line)
        if settings.setdefault(key[1], setting).value != setting.value:
            raise line.error(f"{name} was set otherwise in line {settings[key[1]].line.number}")
    return HccnConf({chip: _port(chip, chips[chip]) for chip in sorted(chips)})


def _port(chip: int, settings: dict[str, _Setting]) -> HccnPort:
    if ("address" in settings) != ("netmask" in settings):
        line = next(settings[key].line for key in ("address", "netmask") if key in settings)
        raise line.error("an address and its netmask come together")
    rest = dict(settings)
    mask = rest.pop("netmask", None)
    addresses = {key: rest.pop(key, None) for key in ("address", "gateway", "netdetect")}
    switches = {key: rest.pop(key, None) for key in ("tls_enable", "send_arp_status")}
    mtu = rest.pop("mtu", None)
    found = {key: None if setting is None else _ipv4(setting) for key, setting in addresses.items()}
    switched = {key: None if setting is None else _switch(setting) for key, setting in switches.items()}
    return HccnPort(
        phy_id=chip,
        address=found["address"],
        netmask=None if mask is None else netmask(mask.value, mask.line),
        gateway=found["gateway"],
        netdetect=found["netdetect"],
        tls_enable=switched["tls_enable"],
        mtu=None if mtu is None else _mtu(mtu),
        send_arp_status=switched["send_arp_status"],
        others={key: setting.value for key, setting in rest.items()},
    )


def _ipv4(setting: _Setting) -> str:
    return ipv4(setting.value, setting.line)


def _switch(setting: _Setting) -> bool:
    if setting.value not in {"0", "1"}:
        raise setting.line.error("neither 0 nor 1")
    return setting.value == "1"


def _mtu(setting: _Setting) -> int:
    good = re.fullmatch(r"[0-9]{2,4}", setting.value)
    if not good or not _SMALLEST_MTU <= int(setting.value) <= _LARGEST_MTU:
        raise setting.line.error(f"not an MTU between {_SMALLEST_MTU} and {_LARGEST_MTU}")
    return int(setting.value)
