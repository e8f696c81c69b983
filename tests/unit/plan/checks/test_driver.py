"""The driver and the cards' firmware: installed, running, fitting, one on all cards."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.survey import CardFacts, DriverFiles, Survey
from npuctl.plan.model import Finding
from tests.making import chips, facts_of, node, plan_of, service_data, spec_of

_FILES = {"install_status": "complete", "install_user": "HwHiAiUser", "install_group": "HwHiAiUser"}


def cards(product: str = "a2", **of_card: dict[str, Any]) -> list[CardFacts]:
    own = {"driver_version": "25.5.2", "firmware_version": "7.8.0.7.220", "compatibility": "OK"}
    npus = dict.fromkeys(chip.npu for chip in chips(product))
    return [CardFacts(**{"npu": npu, **own, **of_card.get(f"c{npu}", {})}) for npu in npus]


def findings(
    product: str = "a2",
    *,
    files: dict[str, str] | None = None,
    cards: list[CardFacts] | None = None,
    **changes: Any,
) -> list[Finding]:
    survey = Survey(files=DriverFiles(**(_FILES if files is None else files)), cards=cards or [])
    found = plan_of(
        spec_of(service_data(chips=[0])), facts_of(node_1=node(product, **{"survey": survey, **changes}))
    ).findings
    return [finding for finding in found if finding.id.startswith("driver.")]


def said(found: list[Finding]) -> list[tuple[str, str, int | None]]:
    return [(finding.id, finding.severity, finding.npu) for finding in found]


@pytest.mark.parametrize("product", ["a2", "a3"])
def test_a_healthy_driver_has_nothing_to_say(product: str) -> None:
    assert findings(product, cards=cards(product)) == []
    assert findings(product, survey=None) == []


@pytest.mark.parametrize("survey", [None, Survey()])
def test_a_driver_that_was_installed_and_does_not_run_owes_a_reboot(survey: Survey | None) -> None:
    (finding,) = findings(survey=survey, driver_on_disk="26.0.rc1")
    assert said([finding]) == [("driver.pending", "error", None)]
    assert finding.seen == "driver 26.0.rc1 is installed, driver 25.5.2 runs"
    assert "reboot node-1" in finding.remedy


@pytest.mark.parametrize(
    ("on_disk", "running"),
    [("25.5.RC1", "25.5.rc1"), ("", "25.5.2"), ("25.5.2", ""), ("25.5.2", "25.5.2")],
)
def test_versions_that_are_one_or_unread_owe_none(on_disk: str, running: str) -> None:
    assert findings(driver_on_disk=on_disk, driver_running=running) == []


@pytest.mark.parametrize(
    ("changed", "seen"),
    [
        ({"install_status": ""}, "Driver_Install_Status is not in it"),
        ({"install_status": "failed"}, "Driver_Install_Status failed"),
        ({"install_user": ""}, "UserName is not in it"),
    ],
)
def test_an_installation_that_did_not_end_is_said(changed: dict[str, str], seen: str) -> None:
    (finding,) = findings(files=_FILES | changed)
    assert said([finding]) == [("driver.install", "warning", None)]
    assert finding.seen == f"/etc/ascend_install.info: {seen}"


def test_the_record_of_an_older_driver_has_no_status() -> None:
    old: dict[str, Any] = {"driver_on_disk": "23.0.7", "driver_running": "23.0.7"}
    assert findings(files=_FILES | {"install_status": ""}, **old) == []


def test_a_record_that_was_not_read_is_not_judged() -> None:
    assert findings(files={}) == []


def test_a_card_whose_driver_and_firmware_do_not_fit() -> None:
    (finding,) = findings("a3", cards=cards("a3", c2={"compatibility": "NOK"}))
    assert said([finding]) == [("driver.compatibility", "error", 4)]
    assert "of card 2 (driver 25.5.2, firmware 7.8.0.7.220)" in finding.seen


def test_all_cards_whose_driver_and_firmware_do_not_fit_are_one_finding() -> None:
    every: dict[str, Any] = {f"c{npu}": {"compatibility": "NOK"} for npu in range(8)}
    (finding,) = findings(cards=cards(**every))
    assert said([finding]) == [("driver.compatibility", "error", None)]
    assert "cards 0, 1, 2, 3, 4, 5, 6, 7" in finding.seen


@pytest.mark.parametrize("word", ["OK", "UNKNOWN", "NOT SUPPORT", ""])
def test_only_a_plain_no_is_a_misfit(word: str) -> None:
    assert findings(cards=cards(c1={"compatibility": word})) == []


def test_a_card_with_another_firmware_than_most_is_named() -> None:
    (finding,) = findings(cards=cards(c5={"firmware_version": "7.7.0.6.236"}))
    assert said([finding]) == [("driver.differs_between_cards", "warning", 5)]
    assert finding.seen == "card 5 runs firmware 7.7.0.6.236"
    assert "7.8.0.7.220" in finding.expected


def test_a_card_whose_firmware_was_not_read_differs_from_none() -> None:
    assert findings(cards=cards(c5={"firmware_version": ""})) == []
