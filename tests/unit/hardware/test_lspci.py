"""The chips on the bus, in lspci's lay-outs, and their device nodes."""

from __future__ import annotations

import pytest

from npuctl.hardware.lspci import PciDevice, npus, parse_lspci
from npuctl.hardware.unreadable import UnreadableError

NUMERIC = "0000:05:00.0 1200: 19e5:d803 (rev 20)\n0000:06:00.0 1200: 19e5:D803 (rev 20)\n"
PLAIN = """\
00:1f.2 SATA controller: Example Semiconductor Sata [AHCI mode] (rev 02) (prog-if 01 [AHCI 1.0])
02:00.0 VGA compatible controller: Huawei Technologies Co., Ltd. Hi1710 [iBMC graphics] (rev 01)
1a:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d802 (rev 20)
1b:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d802 (rev 20)
2c:00.0 System peripheral: Huawei Technologies Co., Ltd. Device a12e (rev 30)
5e:00.0 Processing accelerators: Example Labs Accelerator One (rev 01)
"""
BOTH = """\
02:00.0 VGA compatible controller [0300]: Huawei Technologies Co., Ltd. Hi1710 [19e5:1711] (rev 01)
1a:00.0 Processing accelerators [1200]: Huawei Technologies Co., Ltd. Device [19e5:d500] (rev 23)
1a:00.1 Processing accelerators [1200]: Huawei Technologies Co., Ltd. Device d500 [19e5:d500] (rev 23)
1c:00.0 Processing accelerators [1200]: Huawei Technologies Co., Ltd. New Chip [19e5:d901]
4b:00.0 Ethernet controller [0200]: Example Inc. 10G [8086:1572] (rev 02)
"""


def test_numbers_only() -> None:
    assert parse_lspci(NUMERIC) == (
        PciDevice("0000:05:00.0", "d803", "A3", accelerator=True),
        PciDevice("0000:06:00.0", "d803", "A3", accelerator=True),
    )


def test_names() -> None:
    devices = parse_lspci(PLAIN)
    assert [device.device_id for device in devices] == [None, "d802", "d802", "a12e"]
    assert [device.bus for device in npus(devices)] == ["1a:00.0", "1b:00.0"]


def test_the_engines_of_a_kunpeng_are_accelerators_but_no_npus() -> None:
    engine = "75:00.0 Processing accelerators: Huawei Technologies Co., Ltd. HiSilicon ZIP Engine (rev 21)\n"
    devices = parse_lspci(f"\x1b[32m$\x1b[m lspci\n{engine}{PLAIN}")
    assert devices[0] == PciDevice("75:00.0", None, None, accelerator=True)
    assert npus(devices) == npus(parse_lspci(PLAIN))


def test_names_and_numbers() -> None:
    devices = parse_lspci(BOTH)
    assert [(d.device_id, d.product, d.accelerator) for d in devices] == [
        ("1711", None, False),
        ("d500", "310P", True),
        ("d500", "310P", True),
        ("d901", None, True),  # an accelerator that npuctl does not know
    ]


@pytest.mark.parametrize(
    ("device_id", "product"),
    [
        ("d100", "310"),
        ("d107", "310B"),
        ("d500", "310P"),
        ("d801", "910A"),
        ("d802", "A2"),
        ("d803", "A3"),
        ("d806", "950"),
        ("1711", None),
        ("a22d", None),
    ],
)
def test_products(device_id: str, product: str | None) -> None:
    assert parse_lspci(f"01:00.0 1200: 19e5:{device_id}\n")[0].product == product


def test_a_machine_without_such_devices() -> None:
    assert parse_lspci("") == ()
    assert parse_lspci("4b:00.0 Ethernet controller: Example Inc. 10G\n") == ()


def test_details_and_line_ends_say_nothing() -> None:
    with_details = NUMERIC.replace("\n", "\r\n\tSubsystem: 19e5:4000\r\n\tKernel driver in use: devdrv\r\n")
    assert parse_lspci(with_details) == parse_lspci(NUMERIC)
    assert parse_lspci(NUMERIC.replace("0000:", "  0000:")) == parse_lspci(NUMERIC)


@pytest.mark.parametrize(
    "text",
    [
        "lspci: command not found\n",
        "05:00.0 1200: 19e5:d80\n",
        "05:00.0 1200: 19e5:d803 (rev 2\n",
        "05:00.0 1200: 19e5\n",
        "05:00.0 1200:\n",
        "05:00.0\n",
        "05:00 1200: 19e5:d803\n",
        "05:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d80\n",
        "05:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Ascend\n",
        "05:00.0 Processing accelerators: Huawei Technologies\n",
        "05:00.0 1200: 19e5:d803\n05:00.0 1200: 19e5:d803\n",
        "...\n",
    ],
)
def test_what_is_broken_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        parse_lspci(text)
