"""A change of the driver that was begun before the spec stopped naming one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.model import ClusterFacts
from npuctl.facts.setup import Setup
from npuctl.plan.provision._contract import Wish
from npuctl.plan.provision.build import ProvisionPlan, provision_plan, questions_of
from npuctl.plan.provision.driver_record import RECORD, Transaction
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, node

OPEN = Transaction(
    "one", wanted={"driver": "25.2.0"}, before={"driver": "24.1.0"}, stopped=("npuctl-prod-chat-0",)
)
DRIVER = {"driver": {"version": "25.2.0", "packages": "packages"}}


def wish(**more: Any) -> Wish:
    return Wish(parse_cluster(cluster_text(**more), file=FILE), nodes=["node-1"])


def plan_of(record: dict[str, Any], wanted: Wish | None = None) -> ProvisionPlan:
    setup = Setup(records={RECORD: record})
    return provision_plan(wanted or wish(), ClusterFacts(nodes={"node-1": node(setup=setup)}))


def test_it_is_told_and_stops_nothing() -> None:
    assert RECORD in questions_of(wish()).records
    plan = plan_of(OPEN.to_record())
    (finding,) = plan.findings
    assert (finding.id, finding.severity, finding.node) == (
        "provision.driver_unfinished",
        "warning",
        "node-1",
    )
    assert finding.seen.startswith("a change of driver 24.1.0 to driver 25.2.0 was begun")
    assert "npuctl-prod-chat-0 stopped for it" in finding.seen
    assert "driver.version 25.2.0" in finding.remedy
    assert plan.changes == ()
    assert plan.only(["driver"]).findings == (finding,)


@pytest.mark.parametrize("record", [replace(OPEN, open=False).to_record(), {"error": "no JSON"}, {}])
def test_without_an_open_change_there_is_nothing_to_tell(record: dict[str, Any]) -> None:
    assert plan_of(record).findings == ()


def test_where_the_driver_is_wanted_or_taken_away_its_own_stage_tells() -> None:
    removing = replace(wish(), removing=True, remove=frozenset({"driver"}))
    for wanted in (wish(**DRIVER), removing):
        ids = [finding.id for finding in plan_of(OPEN.to_record(), wanted).findings]
        assert "provision.driver_unfinished" not in ids
