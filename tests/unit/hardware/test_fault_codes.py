"""Error codes of chips: what is published of them, and what is said of the others."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
import yaml

from npuctl.hardware.fault_codes import FaultCode, fault_code, gravest

DATA = yaml.safe_load(files("npuctl").joinpath("data/fault_codes.yaml").read_text(encoding="utf-8"))


def test_every_code_is_eight_capital_hex_digits_and_has_one_level() -> None:
    listed = [code for level in DATA["levels"].values() for code in level["codes"].split()]
    assert len(listed) == len(set(listed)) > 700
    assert all(re.fullmatch("[0-9A-F]{8}", code) for code in listed)
    assert set(DATA["meanings"]) <= set(listed)


@pytest.mark.parametrize(
    ("code", "mind_cluster"),
    [
        ("80C98001", "RestartNPU"),
        ("80E18402", "SeparateNPU"),
        ("8C084E00", "FreeRestartNPU"),
        ("A4025021", "NotHandleFault"),
        ("80CB8002", "RestartRequest"),
        ("8C2FA001", "SubHealthFault"),
        ("A2301001", "SeparateNPU"),  # listed under a lighter level as well
    ],
)
def test_published_levels(code: str, mind_cluster: str) -> None:
    level = fault_code(code).level
    assert level is not None
    assert level.mind_cluster == mind_cluster


@pytest.mark.parametrize("written", ["80C98001", "80c98001", "0x80C98001", "0X80c98001"])
def test_a_code_may_be_written_as_tools_write_it(written: str) -> None:
    assert fault_code(written).in_words("node type=AIC") == "80C98001: the AI core could not be reset"


def test_short_codes_have_leading_zeros() -> None:
    assert fault_code("1D").code == "0000001D"


def test_a_code_with_a_level_and_no_meaning_keeps_the_tools_text() -> None:
    known = fault_code("80C98010")
    assert known.level is not None
    assert known.in_words("AIC was reset") == "80C98010: npu-smi's own text: AIC was reset"


def test_an_unknown_code_is_called_so() -> None:
    unknown = fault_code("DEADBEEF")
    assert unknown == FaultCode("DEADBEEF")
    assert unknown.in_words("it broke") == "DEADBEEF: unknown code; npu-smi's own text: it broke"
    assert unknown.in_words() == "DEADBEEF: unknown code; npu-smi says no more of it"
    assert len(unknown.in_words("x" * 1000)) < 300


def test_the_gravest_level_decides() -> None:
    light, grave, unknown = fault_code("A4025021"), fault_code("80E18402"), fault_code("DEADBEEF")
    assert gravest([light, grave, unknown]) is grave.level
    assert gravest([light]) is light.level
    assert gravest([unknown]) is None
