"""Driver and firmware as a transaction: which step comes when, what refuses, and what a plan says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.model import HolderFacts
from npuctl.hardware.hccn_conf import HCCN_CONF
from npuctl.plan.provision._contract import Wish
from npuctl.plan.provision.driver import decide, questions, work
from npuctl.plan.provision.driver_record import BACKUP, RECORD
from npuctl.plan.provision.driver_refusals import differing_services
from npuctl.plan.provision.driver_steps import Halt, Step, role_variables
from tests.driver_node import CONF, DRIVER, FIRMWARE, NEW, OLD, Simulated, clean, go, packages, wish


def steps(simulated: Simulated) -> list[str]:
    return [step for step in simulated.did if step not in {"wait", "measure", "probe"}]


def test_already_as_wanted_nothing_is_run() -> None:
    there = Simulated(disk=dict(NEW), running=dict(NEW))
    assert go(there, wish()) == Halt("done")
    assert (there.did, there.records) == ([], {})
    assert not work(wish(), [there.node()])[0].changes


def test_first_installation_is_driver_then_firmware() -> None:
    there = clean()
    assert go(there, wish()).reason == "done"
    assert there.ran == ["driver --full --install-for-all --quiet", "firmware --full --quiet"]
    assert there.running == NEW
    assert "back_up" in there.did
    assert there.records[RECORD]["hccn_conf"] == "absent"


def test_first_installation_that_owes_a_reboot_gets_it_before_the_firmware() -> None:
    there = clean()
    there.exit_codes = {"driver": 2}
    there.slow_boot = 3
    assert go(there, wish()).reason == "done"
    assert there.ran == ["driver --full --install-for-all --quiet", "reboot", "firmware --full --quiet"]
    assert there.did.count("wait") == 3


def test_an_upgrade_is_firmware_then_driver_and_reboots_once_at_the_end() -> None:
    there = Simulated(exit_codes={"driver": 2, "firmware": 2})
    assert go(there, wish()).reason == "done"
    assert there.ran == ["firmware --upgrade --quiet", "driver --upgrade --quiet", "reboot"]
    assert steps(there) == ["prepare", "stop", "back_up", "install", "install", "reboot", "start", "finish"]
    assert there.stopped == set()


def test_nothing_reboots_where_nothing_is_owed() -> None:
    there = Simulated()
    assert go(there, wish()).reason == "done"
    assert there.ran == ["firmware --upgrade --quiet", "driver --upgrade --quiet"]


def test_exit_code_0_without_effect_owes_a_reboot_all_the_same() -> None:
    there = Simulated(takes_effect=False)
    assert go(there, wish()).reason == "done"
    assert there.ran[-1] == "reboot"


def test_reboot_never_leaves_the_node_owing_and_a_reboot_by_hand_is_gone_on_from() -> None:
    there = Simulated(exit_codes={"driver": 2})
    owed = go(there, wish(reboot="never"))
    assert owed.reason == "owed"
    assert "driver" in owed.why
    assert there.stopped == set(there.services)
    assert go(there, wish(reboot="never"), fresh="two") == owed
    there.come_up()
    assert go(there, wish(reboot="never"), fresh="three").reason == "done"
    assert there.ran.count("driver --upgrade --quiet") == 1
    assert there.stopped == set()


def test_a_driver_that_others_installed_and_did_not_reboot_for() -> None:
    there = Simulated(disk=dict(NEW))
    assert go(there, wish(reboot="never")).reason == "owed"
    assert there.did == []
    assert go(there, wish()).reason == "done"
    assert there.ran == ["reboot"]
    assert steps(there) == ["stop", "back_up", "reboot", "start", "finish"]


def test_a_reboot_that_changes_nothing_is_not_done_twice() -> None:
    there = Simulated(disk=dict(NEW))
    there.come_up = lambda: setattr(there, "boot", there.boot + 1)  # type: ignore[method-assign]  # the old one runs on
    halt = go(there, wish())
    assert halt.reason == "failed"
    assert "25.5.2 is installed, 25.2.0 runs" in halt.why
    assert there.did.count("reboot") == 1
    assert go(there, wish(), fresh="two") == halt
    assert there.did.count("reboot") == 1


def test_only_what_differs_is_installed() -> None:
    there = Simulated(disk={**NEW, "driver": OLD["driver"]}, running={**NEW, "driver": OLD["driver"]})
    assert go(there, wish()).reason == "done"
    assert there.ran == ["driver --upgrade --quiet"]


def test_firmware_that_is_not_named_is_left_alone() -> None:
    there = Simulated()
    assert go(there, wish(firmware=None)).reason == "done"
    assert there.ran == ["driver --upgrade --quiet"]
    assert there.disk["firmware"] == OLD["firmware"]


def test_an_installation_that_is_not_complete_is_done_again_wholly() -> None:
    there = Simulated(disk=dict(NEW), running=dict(NEW), complete=False)
    assert go(there, wish()).reason == "done"
    assert there.ran == ["driver --full --install-for-all --quiet"]


def test_a_failed_installation_ends_the_run_and_the_next_run_tries_it_again() -> None:
    there = Simulated(exit_codes={"driver": 1})
    assert go(there, wish()).reason == "failed"
    assert there.stopped == set(there.services)
    assert go(there, wish(), fresh="two").reason == "failed"
    there.exit_codes = {}
    assert go(there, wish(), fresh="three").reason == "done"
    assert there.ran == [
        "firmware --upgrade --quiet",
        "driver --upgrade --quiet",
        "driver --full --install-for-all --quiet",
        "driver --full --install-for-all --quiet",
    ]
    assert there.stopped == set()


def test_a_package_that_installs_something_else_is_said_and_not_run_again() -> None:
    there = Simulated()
    do = there._install

    def installs_another(step: Step) -> None:
        do(step)
        there.disk["driver"] = "25.3.0"

    there._install = installs_another  # type: ignore[method-assign]
    halt = go(there, wish())
    assert halt.reason == "failed"
    assert "driver 25.3.0 is installed" in halt.why
    assert go(there, wish(), fresh="two") == halt
    assert sum(entry.startswith("driver") for entry in there.ran) == 1


def test_hccn_conf_that_an_installation_cleared_comes_back() -> None:
    there = Simulated(clears_conf=True)
    assert go(there, wish()).reason == "done"
    assert there.conf == there.backup == CONF
    assert "restore" in there.did


def test_hccn_conf_that_does_not_stay_is_not_put_back_for_ever() -> None:
    there = Simulated(clears_conf=True)
    there._restore = lambda _step: None  # type: ignore[method-assign]
    halt = go(there, wish())
    assert halt.reason == "failed"
    assert BACKUP in halt.why


@pytest.mark.parametrize(("compatibility", "reason"), [("OK", "done"), ("NOK", "failed")])
def test_driver_and_firmware_have_to_fit(compatibility: str, reason: str) -> None:
    assert go(Simulated(compatibility=compatibility), wish()).reason == reason


def test_a_foreign_process_is_named_and_nothing_is_touched() -> None:
    holder = HolderFacts(chip=3, pid=4711, command="python train.py")
    there = Simulated(foreign=(holder, holder.model_copy(update={"chip": 4})))
    halt = go(there, wish())
    assert halt.reason == "held"
    assert "pid 4711: python train.py holds NPU 3, 4" in halt.why
    assert there.did == []
    (found,) = work(wish(), [there.node()])[0].findings
    assert (found.id, found.severity) == ("provision.npu_held", "error")


def test_our_own_containers_are_no_foreign_process() -> None:
    own = HolderFacts(chip=0, pid=1, command="vllm", container="npuctl-prod-chat-0")
    there = Simulated(foreign=(own,))
    assert isinstance(decide(wish(), there.node(), "one"), Step)


def findings(there: Simulated, wanted: Wish) -> dict[str, str]:
    return {found.id: found.severity for found in work(wanted, [there.node()])[0].findings}


def test_a_downgrade_wants_to_be_allowed() -> None:
    there = Simulated(disk={"driver": "26.0.0", "firmware": "9.0.0.0.205"}, running={})
    there.running = dict(there.disk)
    assert findings(there, wish())["provision.driver_downgrade"] == "error"
    assert go(there, wish()).reason == "refused"
    assert there.did == []
    assert go(there, wish(allow_downgrade=True)).reason == "done"
    assert there.ran == ["firmware --full --quiet", "driver --full --install-for-all --quiet"]


def test_a_downgrade_that_was_begun_goes_on_without_the_flag() -> None:
    there = Simulated(disk={"driver": "26.0.0", "firmware": "9.0.0.0.205"})
    there.running = dict(there.disk)
    step = decide(wish(allow_downgrade=True), there.node(), "one")
    assert isinstance(step, Step)
    there.do(step)
    assert go(there, wish(), fresh="two").reason == "done"


def test_release_candidates_come_before_their_release() -> None:
    there = Simulated(disk={**NEW, "driver": "25.5.rc1"}, running={**NEW, "driver": "25.5.rc1"})
    assert go(there, wish(DRIVER.format("25.5.0"), version="25.5.0")).reason == "done"
    assert there.ran == ["driver --upgrade --quiet"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "provision.package_missing"),
        ([DRIVER.format("25.5.1"), FIRMWARE.format(NEW["firmware"])], "provision.package_missing"),
        (["Atlas-A3-hdk-npu-driver_25.5.2_linux-aarch64.run"], "provision.package_missing"),
        (["Ascend-hdk-910b-npu-driver_25.5.2_linux-x86-64.run"], "provision.package_missing"),
        (
            [DRIVER.format("25.5.2"), "Ascend-hdk-910b-driver-25.5.2_openEuler22.03-aarch64.run"],
            "provision.package_ambiguous",
        ),
    ],
)
def test_a_package_that_does_not_fit_is_refused_before_anything(names: list[str], found: str) -> None:
    there = Simulated()
    wanted = replace(wish(), local=packages(*names) if names else {})
    assert findings(there, wanted)[found] == "error"
    assert go(there, wanted).reason == "refused"
    assert there.did == []


def test_digests_of_the_spec_are_compared_here_and_their_absence_is_told() -> None:
    there, name = Simulated(), DRIVER.format("25.5.2")
    assert findings(there, wish()) == {"provision.package_unproven": "warning"}
    right = {key.removeprefix("pkgs/"): local.sha256 for key, local in packages().items()}
    assert findings(there, wish(sha256=right)) == {}
    wrong = findings(there, wish(sha256={**right, name: "f" * 64}))
    assert wrong == {"provision.package_digest": "error"}


def test_all_problems_are_told_at_once() -> None:
    there = Simulated(disk={"driver": "26.0.0", "firmware": "9.11.0"})
    there.running = dict(there.disk)
    assert set(findings(there, wish(FIRMWARE.format(NEW["firmware"])))) == {
        "provision.package_missing",
        "provision.package_unproven",
        "provision.driver_downgrade",
        "provision.firmware_hop",
    }


def test_too_little_room_is_told() -> None:
    there = Simulated().node()
    facts = there.facts.model_copy(update={"free_bytes": {"/": 100}})
    halt = decide(wish(), replace(there, facts=facts), "one")
    assert isinstance(halt, Halt)
    assert "provision.driver_space" in {found.id for found in halt.findings}


def test_npus_that_nobody_can_name_are_told() -> None:
    there = clean().node()
    assert there.facts.survey is not None
    survey = there.facts.survey.model_copy(update={"pci_product": ""})
    halt = decide(wish(), replace(there, facts=there.facts.model_copy(update={"survey": survey})), "one")
    assert isinstance(halt, Halt)
    assert [found.id for found in halt.findings] == ["provision.product_unknown"]


@pytest.mark.parametrize("record", [{"error": "no JSON"}, {"open": True}, {"id": "x", "stopped": "all"}])
def test_a_note_that_cannot_be_read_is_no_reason_to_begin_anew(record: dict[str, Any]) -> None:
    there = Simulated(records={RECORD: record})
    assert findings(there, wish()) == {"provision.record": "error"}
    assert go(there, wish()).reason == "refused"


def test_an_installation_that_runs_is_waited_for_whatever_is_found_meanwhile() -> None:
    there = Simulated()
    while not (isinstance(step := decide(wish(), there.node(), "one"), Step) and step.kind == "install"):
        assert isinstance(step, Step)
        there.do(step)
    there.note(step.transaction)
    there.records["firmware_package"] = {"identity": step.identity, "state": "running"}
    there.foreign = (HolderFacts(chip=0, pid=9, command="upgrade-tool"),)
    again = decide(replace(wish(), local={}), there.node(), "two")
    assert isinstance(again, Step)
    assert (again.kind, again.identity) == ("install", step.identity)


def test_another_version_in_the_middle_of_a_change_is_gone_on_to() -> None:
    there = Simulated(exit_codes={"driver": 1})
    assert go(there, wish()).reason == "failed"
    there.exit_codes = {}
    newer = wish(DRIVER.format("26.0.0"), FIRMWARE.format("7.8.0.7.220"), version="26.0.0")
    assert go(there, newer, fresh="two").reason == "done"
    assert there.disk["driver"] == "26.0.0"
    assert there.stopped == set()
    assert there.records[RECORD]["obsolete"]


def test_the_plan_says_what_changes() -> None:
    (planned,) = work(wish(), [Simulated().node()])
    assert [(change.what, change.was, change.wanted) for change in planned.changes] == [
        ("driver", "25.2.0", "25.5.2"),
        ("firmware", "7.7.0.6.236", "7.8.0.7.220"),
    ]
    assert planned.notes
    (owing,) = work(wish(reboot="never"), [Simulated(disk=dict(NEW)).node()])
    assert [change.what for change in owing.changes] == ["reboot"]


def test_nothing_is_asked_and_planned_without_a_driver_in_the_spec() -> None:
    wanted = replace(wish(), spec=wish().spec.model_copy(update={"driver": None}))
    assert not questions(wanted).files
    assert work(wanted, [Simulated().node()]) == []


def test_a_teardown_takes_the_driver_only_when_asked_and_only_if_it_is_ours() -> None:
    there = Simulated()
    assert go(there, wish()).reason == "done"
    gone = replace(wish(), removing=True)
    assert work(gone, [there.node()]) == []
    gone = replace(gone, remove=frozenset({"driver"}))
    (uninstall,) = work(gone, [there.node()])
    assert uninstall.entry == "uninstall"
    assert [entry["job"] for entry in uninstall.variables["ascend_driver_uninstall"]] == [
        "firmware_package",
        "driver_package",
    ]
    (foreign,) = work(gone, [Simulated().node()])
    assert not foreign.changes
    assert "not installed by npuctl" in foreign.notes[0]


def test_services_that_are_not_as_the_spec_says_would_not_come_back() -> None:
    actions = {"a": ("recreate", "chat-0"), "b": ("none", "chat-1")}
    (found,) = differing_services("node-1", ["a", "b", "foreign"], actions)
    assert (found.id, found.service) == ("provision.service_differs", "chat")


def test_the_roles_variables_hold_the_files_of_this_machine() -> None:
    there = Simulated()
    step = decide(wish(), there.node(), "one")
    assert isinstance(step, Step)
    sources = {path: f"/here/{path}" for path in packages()}
    variables = role_variables(step, there.node(), wish(), sources)
    assert {entry["src"] for entry in variables["ascend_driver_packages"]} == set(sources.values())
    assert variables["ascend_driver_user"] == "HwHiAiUser"
    assert HCCN_CONF not in str(variables)


def test_a_run_that_is_killed_between_two_stops_remembers_both_services() -> None:
    there = Simulated(services=("npuctl-prod-chat-0", "npuctl-prod-chat-1"))
    while not (isinstance(step := decide(wish(), there.node(), "one"), Step) and step.kind == "stop"):
        assert isinstance(step, Step)
        there.do(step)
    there.note(step.transaction)
    there.stopped = {"npuctl-prod-chat-0"}
    assert go(there, wish(), fresh="two").reason == "done"
    assert there.stopped == set()
