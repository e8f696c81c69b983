"""hccn_tool's answers about settings: addresses, routes, TLS."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal, cast

from npuctl.hardware.hccn_lines import read_answer, values_of
from npuctl.hardware.hccn_records import Certificate, CertificateState, Gateway, IpConfig, Route, Tls, Vnic
from npuctl.hardware.lines import Line, ipv4, netmask
from npuctl.hardware.unreadable import UnreadableError

_INTERFACE = r"[A-Za-z][A-Za-z0-9_.:-]{0,31}"
_LARGEST_MTU = 65535
_NO_ADDRESS = "0.0.0.0"  # noqa: S104  the tool's word for an address that is not set


def parse_ip(text: str) -> IpConfig:
    """Read `-ip -g`."""
    found = values_of(text, {"address": "ipaddr:", "netmask": "netmask:"})
    address, mask = found["address"], found["netmask"]
    return IpConfig(ipv4(address.text, address.line), netmask(mask.text, mask.line))


def parse_gateway(text: str) -> Gateway:
    """Read `-gateway -g`."""
    value = values_of(text, {"gateway": "default gateway:"})["gateway"]
    found = value.match(rf"(\S+?)\s*,\s*Iface:\s*({_INTERFACE})", "gateway and interface")
    return Gateway(ipv4(found[1], value.line), found[2])


def parse_netdetect(text: str) -> str | None:
    """Read `-netdetect -g`: the detect address, or None when none is set."""
    value = values_of(text, {"detect_address": "netdetect addr(?:ess)?:"})["detect_address"]
    address = ipv4(value.text, value.line)
    return None if address == _NO_ADDRESS else address


def parse_vnic(text: str) -> Vnic:
    """Read `-vnic -g`."""
    found = values_of(
        text,
        {"status": "vnic link status:", "address": "vnic ipaddr:", "netmask": "vnic netmask:"},
    )
    address, mask = found["address"], found["netmask"]
    status = found["status"].match("UP|DOWN", "status")[0]
    return Vnic(
        cast("Literal['UP', 'DOWN']", status),
        ipv4(address.text, address.line),
        netmask(mask.text, mask.line),
    )


def parse_mac(text: str) -> str:
    """Read `-mac -g`: the address in small letters."""
    value = values_of(text, {"mac_address": "mac addr(?:ess)?:"})["mac_address"]
    return value.match(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}", "MAC address")[0].lower()


def parse_mtu(text: str) -> int:
    """Read `-mtu -g`."""
    value = values_of(text, {"mtu": "mtu:"})["mtu"]
    mtu = int(value.match(r"[0-9]{1,5}", "MTU")[0])
    if not 0 < mtu <= _LARGEST_MTU:
        raise value.error("no such MTU")
    return mtu


_ROUTE_HEADING = ["Destination", "Gateway", "Genmask", "Flags", "Metric", "Ref", "Use", "Iface"]


def parse_route(text: str) -> tuple[Route, ...]:
    """Read `-route -g`: the table that `route` prints, names in place of some addresses."""
    routes: list[Route] = []
    heading = False
    for line in read_answer(text).lines:
        cells = line.content.split()
        if cells == _ROUTE_HEADING:
            heading = True
        elif heading:
            routes.append(_route(cells, line))
        elif routes:
            raise line.error("an unknown line")
    if not heading:
        raise UnreadableError("no routing table in the text")
    return tuple(routes)


def _route(cells: list[str], line: Line) -> Route:
    if len(cells) != len(_ROUTE_HEADING):
        raise line.error(f"expected {len(_ROUTE_HEADING)} cells")
    destination = _NO_ADDRESS if cells[0] == "default" else ipv4(cells[0], line)
    gateway = None if cells[1] in {"*", _NO_ADDRESS} else ipv4(cells[1], line)
    if not re.fullmatch(r"[A-Z!]{1,12}", cells[3]):
        raise line.error(f"not flags: {cells[3]!r}")
    for number in cells[4:7]:
        if not re.fullmatch(r"[0-9]{1,10}", number):
            raise line.error(f"not a number: {number!r}")
    if not re.fullmatch(_INTERFACE, cells[7]):
        raise line.error(f"not an interface: {cells[7]!r}")
    return Route(destination, gateway, netmask(cells[2], line), cells[3], int(cells[4]), cells[7])


# The 910B says "dev_id:0", the 950 "device 0" (hicann/driver, tool_tls.c of each).
_TLS_DEVICE = r"(?:dev_id:|device )([0-9]{1,4}), "
_TLS_SWITCH = re.compile(
    _TLS_DEVICE + r"tls switch\[([01])\]\(0:disable, 1:enable\), "
    r"(?:tls preconfigured\[([01])\]\(0:non-preset, 1:preset\), )?"
    r"tls alarm time threshold\[([0-9]{1,5})\]days"
)
_TLS_CERTIFICATE = re.compile(_TLS_DEVICE + r"\[([a-z0-9 ]{1,20})\] info:")
_TLS_STATE = re.compile(r"tls expiration status\[([012])\]\(0:normal, 1:near expiration, 2:has expired\)")
_TLS_FIELD = re.compile(r"(subject|issuer|start_time|end_time)\[(.*)\]")
_TLS_STATES: tuple[CertificateState, ...] = ("normal", "near expiration", "has expired")


def parse_tls(text: str) -> tuple[Tls, ...]:
    """Read `-tls -g`: one record a chip, for people ask all chips in one loop."""
    chips: dict[int, Tls] = {}
    device = -1
    for line in read_answer(text).lines:
        switch, certificate = _TLS_SWITCH.fullmatch(line.content), _TLS_CERTIFICATE.fullmatch(line.content)
        if switch:
            device = int(switch[1])
            if device in chips:
                raise line.error(f"chip {device} is said twice")
            preset = None if switch[3] is None else switch[3] == "1"
            chips[device] = Tls(device, switch[2] == "1", preset, int(switch[4]), ())
        elif not chips:
            if "tls" in line.content:
                raise line.error("cannot read the TLS switch")
        elif certificate:
            if int(certificate[1]) != device:
                raise line.error(f"a certificate of another chip than {device}")
            known = chips[device].certificates
            added = Certificate(certificate[2], None, None, None, None, None)
            chips[device] = replace(chips[device], certificates=(*known, added))
        else:
            chips[device] = _with_detail(chips[device], line)
    if not chips:
        raise UnreadableError("no TLS switch in the text")
    return tuple(chips.values())


def _with_detail(tls: Tls, line: Line) -> Tls:
    state, field = _TLS_STATE.fullmatch(line.content), _TLS_FIELD.fullmatch(line.content)
    if not tls.certificates or not (state or field):
        raise line.error("an unknown line")
    *others, last = tls.certificates
    if state:
        last = replace(last, state=_TLS_STATES[int(state[1])])
    elif field:
        last = _with_field(last, field[1], field[2])
    return replace(tls, certificates=(*others, last))


def _with_field(certificate: Certificate, name: str, value: str) -> Certificate:
    match name:
        case "subject":
            return replace(certificate, subject=value)
        case "issuer":
            return replace(certificate, issuer=value)
        case "start_time":
            return replace(certificate, start=value)
        case _:
            return replace(certificate, end=value)
