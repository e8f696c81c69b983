"""library/module_utils/npuctl_host.py on this machine, and on files of the test's own."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.read_host import parse_addresses, read_host
from npuctl.facts.unread import Unread
from npuctl.hardware.unreadable import UnreadableError

NO_ENGINE = {"error": "", "root": ""}


@pytest.fixture
def host(library_module: Callable[[str], Any]) -> Any:
    return library_module("npuctl_host")


def test_this_machine(host: Any, tmp_path: Path) -> None:
    unread = Unread()
    raw = host.collect([("root", "/"), ("model:/x", str(tmp_path / "not/yet"))])
    found = read_host(raw, NO_ENGINE, unread)
    assert found.cpus == os.cpu_count()
    assert found.uid == os.getuid()
    assert {nic.name: nic.kind for nic in found.nics}["lo"] == "loopback"
    assert found.sysctl["net.ipv4.ip_local_port_range"] == " ".join(
        Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    )
    held = {what: disk for disk in found.disks for what in disk.holds}
    stats = os.statvfs(tmp_path)
    assert held["model:/x"].total_bytes == stats.f_blocks * stats.f_frsize
    assert held["root"].path == "/"
    if "ip addr" not in unread.reasons:
        assert "127.0.0.1" in {nic.name: nic for nic in found.nics}["lo"].addresses


ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever
4: bond0.100@bond0    inet 192.0.2.2/24 brd 192.0.2.255 scope global bond0.100\\       valid_lft forever
4: bond0.100@bond0    inet 192.0.2.3/24 scope global secondary bond0.100\\       valid_lft forever
4: bond0.100@bond0    inet6 fd00::2/64 scope global nodad \\       valid_lft forever
4: bond0.100@bond0    inet6 fe80::fc:ff:fe00:1/64 scope link \\       valid_lft forever
7: tun0    inet 10.9.0.1 peer 10.9.0.2/32 scope global tun0\\       valid_lft forever
"""


def test_addresses_of_interfaces() -> None:
    assert parse_addresses(ADDRESSES) == {
        "lo": ["127.0.0.1", "::1"],
        "bond0.100": ["192.0.2.2", "192.0.2.3", "fd00::2"],
        "tun0": ["10.9.0.1"],
    }
    assert parse_addresses("") == {}


@pytest.mark.parametrize("line", ["what?", "4: eth0    inet 300.1.1.1/24 scope", "4: eth0    inet"])
def test_lines_that_are_no_addresses(line: str) -> None:
    with pytest.raises(UnreadableError):
        parse_addresses(line)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"type": "772"}, "loopback"),
        ({"type": "1", "device": ""}, "physical"),
        ({"type": "1", "uevent": "DEVTYPE=bond\nINTERFACE=bond0\n"}, "bond"),
        ({"type": "1", "uevent": "DEVTYPE=vlan\n"}, "vlan"),
        ({"type": "1", "uevent": "INTERFACE=veth1\n"}, "virtual"),
        ({}, "virtual"),
    ],
)
def test_the_kind_of_an_interface(host: Any, tmp_path: Path, files: dict[str, str], kind: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert host.kind_of_nic(str(tmp_path)) == kind


@pytest.mark.parametrize(("flags", "up"), [("0x1003", True), ("0x1002", False), ("", False), ("x", False)])
def test_whether_an_interface_is_up(host: Any, tmp_path: Path, flags: str, up: bool) -> None:  # noqa: FBT001
    (tmp_path / "flags").write_text(flags, encoding="utf-8")
    assert host.is_up(str(tmp_path)) is up


@pytest.mark.parametrize(("text", "number"), [("25000\n", 25000), ("-1\n", None), ("", None), ("x", None)])
def test_a_speed_that_is_not_known(host: Any, text: str, number: int | None) -> None:
    assert host.number(text) == number


MOUNTS = r"""
21 1 254:0 / / rw - ext4 /dev/vda rw
30 21 0:40 / /data rw,relatime shared:1 - nfs4 server:/x rw
31 21 0:41 / /data/my\040models rw - xfs /dev/sdb rw
32 30 0:42 / /data rw - ceph other rw
broken
"""


def test_the_mount_that_a_folder_lies_on(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.files, "text", lambda _path: MOUNTS)
    mounts = host.mounted()
    assert host.mount_of("/data/my models/a", mounts) == ("/data/my models", "xfs")
    assert host.mount_of("/data/a", mounts) == ("/data", "ceph")
    assert host.mount_of("/database", mounts) == ("/", "ext4")


def test_a_name_that_does_not_resolve_is_told(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: object, **_named: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    unread = Unread()
    found = read_host(host.collect([]), NO_ENGINE, unread)
    assert found.hostname_addresses == []
    assert "Name or service not known" in unread.reasons["hostname"]


def test_a_name_server_or_a_file_server_that_hangs_is_given_up(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "SECONDS", 0.2)
    monkeypatch.setattr(host, "resolve", lambda _name: time.sleep(5))
    monkeypatch.setattr(host, "read_disks", lambda _holders: time.sleep(5))
    unread = Unread()
    found = read_host(host.collect([]), NO_ENGINE, unread)
    assert (found.hostname_addresses, found.disks) == ([], [])
    assert unread.reasons["disks"] == unread.reasons["hostname"] == "no answer within 0.2 s"


@pytest.mark.parametrize(
    ("answer", "active", "why"),
    [
        ({"rc": 3, "stdout": "active\ninactive\nunknown\n", "stderr": ""}, ["firewalld"], None),
        (
            {"rc": 0, "stdout": "active\nactive\nactive\n", "stderr": ""},
            ["firewalld", "ufw", "nftables"],
            None,
        ),
        (
            {"rc": None, "stdout": "", "stderr": "systemctl is not installed"},
            [],
            "systemctl is not installed",
        ),
        ({"rc": 1, "stdout": "", "stderr": ""}, [], "systemctl said nothing"),
    ],
)
def test_firewalls_that_run(host: Any, answer: dict[str, Any], active: list[str], why: str | None) -> None:
    raw = host.collect([]) | {
        "firewalls": answer,
        "firewall_names": ["firewalld", "ufw", "nftables"],
        "ufw_enabled": True,
    }
    unread = Unread()
    assert read_host(raw, NO_ENGINE, unread).firewalls == active
    off = read_host(raw | {"ufw_enabled": False}, NO_ENGINE, Unread())
    assert off.firewalls == [name for name in active if name != "ufw"]
    assert unread.reasons.get("firewalls") == why


@pytest.mark.parametrize(
    ("text", "word"), [("always [madvise] never\n", "madvise"), ("[always] madvise", "always"), ("", "")]
)
def test_the_chosen_word(host: Any, text: str, word: str) -> None:
    assert host.chosen(text) == word


def test_the_clock_is_only_read(host: Any) -> None:
    assert host.clock_is_synchronized() in {True, False, None}
