"""/etc/hccn.conf: as the tool writes it, and as it must not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from npuctl.hardware.hccn_conf import HccnPort, parse_hccn_conf
from npuctl.hardware.unreadable import UnreadableError

A3 = (Path(__file__).parent / "samples" / "hccn" / "hccn_a3_two_networks.conf").read_text(encoding="utf-8")


def test_every_setting_of_an_a3() -> None:
    ports = parse_hccn_conf(A3).ports
    assert list(ports) == [0, 1, 2, 3]
    assert ports[0] == HccnPort(
        phy_id=0,
        address="10.70.8.21",
        netmask="255.255.128.0",
        gateway="10.70.127.254",
        netdetect="10.70.127.254",
        tls_enable=False,
        mtu=None,
        send_arp_status=True,
        others={"arp": "-i eth0 -s 10.70.8.40 02:00:5e:00:00:00"},
    )
    assert (ports[3].address, ports[3].tls_enable, ports[3].mtu) == ("10.71.8.24", True, 4200)
    route = {"route_address_10.90.0.0_netmask_255.255.0.0": "gateway_10.71.0.9"}
    assert ports[3].others == {"arp": "-i eth3 -s 10.71.8.43 02:00:5e:00:00:03", **route}


def test_comments_blank_lines_order_and_line_ends_say_nothing() -> None:
    expected = parse_hccn_conf(A3)
    assert parse_hccn_conf("# set by hand\r\n\r\n" + A3.replace("\n", "\r\n")) == expected
    assert parse_hccn_conf("\n".join(reversed(A3.splitlines()))) == expected
    assert parse_hccn_conf(A3 + "mtu_3=4200\n") == expected


def test_an_empty_file_sets_nothing() -> None:
    assert parse_hccn_conf("").ports == {}


def test_only_the_first_equals_sign_divides() -> None:
    assert parse_hccn_conf("dcqcn_7=a=1;b=2\n").ports[7].others == {"dcqcn": "a=1;b=2"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("address_0=10.0.0.1\nnetmask_0=255.255.0.0\n...\n", 3),
        ("mtu_0=1500\nmtu_1\n", 2),
        ("address=10.0.0.1\n", 1),
        ("_0=1\n", 1),
        ("mtu_0=1500\n\nmtu_0=1501\n", 3),
        ("address_0=10.0.0.300\nnetmask_0=255.255.0.0\n", 1),
        ("address_0=10.0.0.1\nnetmask_0=255.255.3.0\n", 2),
        ("gateway_0=10.0.0\n", 1),
        ("address_0=10.0.0.1\n", 1),
        ("mtu_0=1500\nnetmask_0=255.255.0.0\n", 2),
        ("mtu_0=67\n", 1),
        ("mtu_0=9703\n", 1),
        ("tls_enable_0=2\n", 1),
        ("send_arp_status_0=\n", 1),
    ],
)
def test_a_line_that_is_wrong_is_named(text: str, number: int) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_hccn_conf(text)
    assert caught.value.line_number == number
