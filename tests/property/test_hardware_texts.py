"""hccn_tool, hccn.conf, version and configuration files: any text, and good texts that were damaged."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npuctl.hardware.daemon_json import parse_daemon_json
from npuctl.hardware.driver_files import (
    parse_driver_version,
    parse_firmware_version,
    parse_install_info,
    parse_toolkit_info,
)
from npuctl.hardware.hccn_conf import parse_hccn_conf
from npuctl.hardware.hccn_tool import PARSERS, detect_query, parse_answer, split_collected, whole_lines
from npuctl.hardware.lspci import parse_lspci
from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLES = Path(__file__).parent.parent / "unit" / "hardware" / "samples" / "hccn"
ANSWERS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted(SAMPLES.glob("*.txt"))
    if not path.stem.startswith("collected")
}
CONF = (SAMPLES / "hccn_a3_two_networks.conf").read_text(encoding="utf-8")
DRIVER = """\
Version=24.1.rc3.7
ascendhal_version=7.35.23
Innerversion=V100R001C19SPC008B220
compatible_version=[V100R001C17],[V100R001C19]
compatible_version_fw=[6.4.0,6.4.99],[7.0.0,7.5.99]
package_version=24.1.rc3.7
"""
LSPCI = "".join(f"{bus:02x}:00.0 1200: 19e5:d802 (rev 20)\n" for bus in range(1, 9))
FILES: dict[str, tuple[Callable[[str], Any], str]] = {
    "hccn.conf": (parse_hccn_conf, CONF),
    "version.info": (parse_driver_version, DRIVER),
    "lspci": (parse_lspci, LSPCI),
}
READERS: list[Callable[[str], object]] = [
    *PARSERS.values(),
    detect_query,
    parse_answer,
    split_collected,
    parse_hccn_conf,
    parse_driver_version,
    parse_firmware_version,
    parse_install_info,
    parse_toolkit_info,
    parse_daemon_json,
    parse_lspci,
    release_key,
]
thorough = settings(max_examples=300)


def _read(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except UnreadableError as error:
        assert error.reason  # noqa: PT017  the only error there may be
        return None


@pytest.mark.parametrize("parse", READERS, ids=lambda parse: str(parse.__name__))
@given(text=st.one_of(st.text(), st.text(alphabet="0123456789.:,=[]_-%xX\r\n\t abcdefilnoprstuvRT")))
def test_any_text_is_read_or_refused(parse: Callable[[str], object], text: str) -> None:
    _read(parse, text)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good text with lines or characters deleted, doubled, swapped or replaced."""
    text = draw(st.sampled_from([*ANSWERS.values(), CONF, DRIVER, LSPCI]))
    for _ in range(draw(st.integers(1, 4))):
        lines = text.split("\n")
        at, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match draw(st.sampled_from(["delete", "double", "swap", "characters", "replace"])):
            case "delete":
                del lines[at]
            case "double":
                lines.insert(other, lines[at])
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "characters":
                start = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:start] + lines[at][start + draw(st.integers(1, 4)) :]
            case _:
                start = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:start] + draw(st.text(max_size=3)) + lines[at][start + 1 :]
        text = "\n".join(lines)
    return text


@given(text=damaged())
@thorough
def test_a_damaged_text_is_read_or_refused(text: str) -> None:
    for parse in READERS:
        _read(parse, text)


def _numbers(value: Any, at: tuple[object, ...] = ()) -> dict[tuple[object, ...], object]:
    """Everything that a record says, by where it says it."""
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _numbers(inner, (*at, key)).items()}
    if isinstance(value, list | tuple):
        return {k: v for n, inner in enumerate(value) for k, v in _numbers(inner, (*at, n)).items()}
    return {at: value}


def _said(record: Any) -> dict[tuple[object, ...], object]:
    """What a record says, without what is only said to be unknown or incomplete."""
    if isinstance(record, tuple):
        found = _numbers([asdict(one) if hasattr(one, "__slots__") else one for one in record])
    elif hasattr(record, "__dataclass_fields__"):
        found = _numbers(asdict(record))
    else:
        found = _numbers(record)
    return {at: value for at, value in found.items() if value is not None and at[-1:] != ("complete",)}


# Queries whose answers end in something that shows when it was cut, even without its newline.
SELF_ENDING = [
    name
    for name in ANSWERS
    if name.split("_")[0] in {"bandwidth", "ip", "link", "mac", "optical", "ping", "hccs", "tls", "vnic"}
]


@pytest.mark.parametrize("name", SELF_ENDING)
def test_an_answer_cut_anywhere_never_says_anything_else(name: str) -> None:
    text = ANSWERS[name]
    query, whole = parse_answer(text)
    for end in range(len(text)):
        left = _read(PARSERS[query], text[:end])
        if left is not None:
            assert _said(left).items() <= _said(whole).items(), text[:end]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_after_any_line_never_says_anything_else(name: str) -> None:
    text = ANSWERS[name]
    query, whole = parse_answer(text)
    for end in range(len(text)):
        left = _read(lambda part: PARSERS[query](whole_lines(part)), text[:end])
        if left is not None:
            assert _said(left).items() <= _said(whole).items(), text[:end]


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_never_says_anything_else(name: str) -> None:
    parse, text = FILES[name]
    whole = _said(parse(text))
    for end in range(len(text)):
        left = _read(lambda part: parse(whole_lines(part)), text[:end])
        if left is not None:
            assert _said(left).items() <= whole.items(), text[:end]


ADDRESSES = st.ip_addresses(v=4).map(str)
MASKS = st.integers(0, 32).map(
    lambda ones: ".".join(str(0xFFFFFFFF << 32 - ones >> n & 255) for n in (24, 16, 8, 0))
)


@given(address=ADDRESSES, mask=MASKS, data=st.data())
@thorough
def test_every_address_and_mask_comes_back_and_none_that_was_cut(
    address: str, mask: str, data: st.DataObject
) -> None:
    text = f"ipaddr:{address}\nnetmask:{mask}\n"
    record: Any = PARSERS["ip"](text)
    assert (record.address, record.netmask) == (address, mask)
    end = data.draw(st.integers(0, len(text) - 2))
    assert _read(PARSERS["ip"], text[:end]) is None


VERSIONS = st.builds(
    lambda numbers, stage, last, end: ".".join([*map(str, numbers), f"{stage}{last}"]) + end,
    st.tuples(st.integers(0, 99), st.integers(0, 9)),
    st.sampled_from(["", "rc", "RC", "T"]),
    st.integers(0, 99),
    st.sampled_from(["", ".1", ".7", ".B010", ".alpha001", "-beta.1"]),
)


@given(one=VERSIONS, other=VERSIONS, third=VERSIONS)
@thorough
def test_the_order_of_versions_is_one(one: str, other: str, third: str) -> None:
    a, b, c = release_key(one), release_key(other), release_key(third)
    assert (a < b) + (a == b) + (a > b) == 1
    assert not a <= b <= c or a <= c
    assert (a == b) == (one.lower() == other.lower())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "runtimes",
        "default-runtime",
        "default-shm-size",
        "data-root",
        "registry-mirrors",
        "log-opts",
        "bip",
        "x",
    ]
)


@given(data=st.dictionaries(KEYS, JSON))
@thorough
def test_no_key_of_a_daemon_json_is_lost(data: dict[str, Any]) -> None:
    config = _read(parse_daemon_json, json.dumps(data))
    if config is not None:
        assert config.rest == {key: value for key, value in data.items() if key in {"bip", "x"}}
        assert set(config.runtimes) == set(data.get("runtimes") or {})
