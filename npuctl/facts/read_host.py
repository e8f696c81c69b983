"""What a node said of itself beyond its NPUs → typed facts. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from npuctl.facts.survey import DeviceNode, DiskFacts, HostFacts, NicFacts
from npuctl.facts.unread import Unread
from npuctl.hardware.unreadable import UnreadableError

_ADDRESS = re.compile(r"[0-9]+:\s+(?P<nic>\S+)\s+inet6?\s+(?P<address>[0-9a-fA-F.:]+)[/ ].*")


def read_host(raw: dict[str, Any], engine: dict[str, Any], unread: Unread) -> HostFacts:
    """The machine; its clock is judged by whoever knows when it was asked (npuctl/remote/inspect.py)."""
    addresses = unread.answer("ip addr", raw["addresses"], parse_addresses) or {}
    for question in ("hostname", "disks"):
        if raw[f"{question}_error"]:
            unread.note(question, raw[f"{question}_error"])
    if engine["error"]:
        unread.note("docker info", engine["error"])
    return HostFacts(
        clock_synchronized=raw["clock_synchronized"],
        nics=[NicFacts(**nic, addresses=addresses.get(nic["name"], [])) for nic in raw["nics"]],
        hostname_addresses=raw["hostname_addresses"] or [],
        disks=[DiskFacts(**disk) for disk in raw["disks"] or []],
        device_nodes=[DeviceNode(**node) for node in raw["device_nodes"]],
        sysctl=raw["sysctl"],
        transparent_hugepages=raw["transparent_hugepages"],
        governors=raw["governors"],
        firewalls=[
            name
            for name in _active(raw["firewalls"], raw["firewall_names"], unread)
            if name != "ufw" or raw["ufw_enabled"]
        ],
        cpus=raw["cpus"],
        uid=raw["uid"],
        docker_root=engine["root"],
        docker_runtimes=engine.get("runtimes", {}),
        docker_default_runtime=engine.get("default_runtime", ""),
        docker_driver=engine.get("driver", ""),
        missing_runtimes=engine.get("missing_runtimes", []),
    )


def parse_addresses(text: str) -> dict[str, list[str]]:
    """Interface → addresses, of `ip -o addr`; link-local ones of IPv6 are left out, each card has one.

    Raises:
        UnreadableError: a line is none of it.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = _ADDRESS.fullmatch(line)
        if not match:
            raise UnreadableError("not a line of ip -o addr", line=line, line_number=number)
        try:
            address = ipaddress.ip_address(match["address"])
        except ValueError:
            raise UnreadableError("not an address", line=line, line_number=number) from None
        if not (isinstance(address, ipaddress.IPv6Address) and address.is_link_local):
            found.setdefault(match["nic"].partition("@")[0], []).append(str(address))
    return found


def _active(answer: dict[str, Any], names: list[str], unread: Unread) -> list[str]:
    """The services that run: `systemctl is-active` says a word a line, in the order of the names."""
    words = answer["stdout"].split()
    if len(words) != len(names):
        unread.note("firewalls", answer["stderr"] or "systemctl said nothing")
        return []
    return [name for name, word in zip(names, words, strict=True) if word == "active"]
