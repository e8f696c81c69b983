"""Two clusters on one node, a record that cannot be read, and what a play of some stages notes of the others."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.model import ClusterFacts
from npuctl.facts.setup import EngineSetup, Setup, TextFile
from npuctl.plan.provision import proxy, trust
from npuctl.plan.provision._contract import DAEMON_FILE, LocalFile, Wish
from npuctl.plan.provision.build import ProvisionPlan, provision_plan, record_texts
from npuctl.plan.provision.settings import RECORD
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, node

HUB: dict[str, Any] = {"mirrors": {"huggingface": "https://hf-mirror.com"}}
ENVIRONMENT = "/etc/environment"
PROFILE = "/etc/profile.d/npuctl-mirrors.sh"


def wish(name: str = "prod", **more: Any) -> Wish:
    own = {key: more.pop(key) for key in ("removing", "local") if key in more}
    return Wish(parse_cluster(cluster_text(name=name, **more), file=FILE), nodes=["node-1"], **own)


def setup_of(files: dict[str, str] | None = None, **more: Any) -> Setup:
    found = {path: TextFile(path=path, text=text) for path, text in (files or {}).items()}
    own: dict[str, Any] = {
        "programs": {
            "dockerd": "/usr/bin/dockerd",
            "update-ca-certificates": "/usr/sbin/update-ca-certificates",
        },
        "units": {"docker.service": "active"},
        "packages_by": "apt",
        "engine": EngineSetup(version="24"),
    }
    return Setup(files=found, **(own | more))


def plan_of(wanted: Wish, setup: Setup) -> ProvisionPlan:
    return provision_plan(wanted, ClusterFacts(nodes={"node-1": node(setup=setup)}))


def provisioned(name: str = "prod", **more: Any) -> Setup:
    """The node after that cluster was provisioned."""
    wanted = wish(name, **more)
    plan = plan_of(wanted, setup_of())
    _before, after = record_texts(plan, "node-1", ("mirrors", "system", "container_engine"))
    written = [
        file
        for work in plan.works
        for file in work.variables.get(f"{work.role}_files", [])
        if file["text"] is not None
    ]
    return setup_of({file["path"]: file["text"] for file in written}, records={RECORD: after})


def test_a_second_cluster_that_wants_nothing_leaves_the_settings_of_the_first() -> None:
    plan = plan_of(wish("second"), provisioned(**HUB))
    assert not plan.works
    assert not plan.records


def test_a_second_cluster_may_want_the_same() -> None:
    assert not plan_of(wish("second", **HUB), provisioned(**HUB)).works


def test_a_second_cluster_that_wants_something_else_is_refused() -> None:
    other: dict[str, Any] = {"mirrors": {"huggingface": "https://hub.corp.example"}}
    plan = plan_of(wish("second", **other), provisioned(**HUB))
    (error,) = plan.errors
    assert error.id == "provision.other_cluster"
    assert "cluster prod" in error.seen
    assert not plan.changes
    assert not plan.records
    assert plan.only(("mirrors",)).errors, "it is the stage's that would have made them"


def test_a_teardown_of_another_cluster_says_that_it_leaves_them() -> None:
    plan = plan_of(wish("second", removing=True), provisioned(**HUB))
    assert not plan.changes
    (told,) = plan.works
    assert told.notes == ("its settings were made for cluster prod: they stay as they are",)


def test_neither_certificates_nor_the_proxy_of_the_first_are_taken_away() -> None:
    first = provisioned(**HUB)
    files = {**first.files, proxy.ENVIRONMENT_FILE: TextFile(path=proxy.ENVIRONMENT_FILE, text="A=b\n")}
    records = {**first.records, trust.RECORD: {"sha256": "ab" * 32}}
    held = first.model_copy(update={"files": files, "records": records})
    assert not plan_of(wish("second"), held).works
    assert {work.stage for work in plan_of(wish(removing=True), held).changes} == {
        "mirrors",
        "container_engine",
    }


def test_a_certificate_that_the_first_does_not_have_is_refused() -> None:
    text = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
    local = {"ca.crt": LocalFile("ca.crt", len(text), text=text)}
    plan = plan_of(wish("second", mirrors={"ca": "ca.crt"}, local=local), provisioned(**HUB))
    assert [error.id for error in plan.errors] == ["provision.other_cluster"]


def test_a_node_whose_settings_are_all_taken_back_is_free() -> None:
    setup = setup_of(records={RECORD: {"schema": 1, "cluster": "prod", "entries": []}})
    assert plan_of(wish("second", **HUB), setup).changes


@pytest.mark.parametrize(
    "record",
    [
        {"error": "no JSON: Expecting value"},
        {"cluster": "prod"},
        {"cluster": "prod", "entries": [{"file": ENVIRONMENT}]},
        {"cluster": "prod", "entries": [{"file": "/x", "key": "", "item": False, "before": [], "ours": []}]},
    ],
)
@pytest.mark.parametrize("removing", [False, True])
def test_a_record_that_cannot_be_read_is_never_written_over(
    record: dict[str, Any], *, removing: bool
) -> None:
    plan = plan_of(wish(**HUB, removing=removing), setup_of(records={RECORD: record}))
    (error,) = plan.errors
    assert error.id == "provision.settings_record"
    assert not plan.changes
    assert not plan.records
    for stage in ("mirrors", "system", "container_engine"):
        assert plan.only((stage,)).errors == (error,)


def test_a_play_of_some_stages_notes_nothing_of_the_others() -> None:
    wanted = wish(**HUB, container_engine={"daemon": {"debug": True}})
    plan = plan_of(wanted, setup_of({DAEMON_FILE: '{"debug": false}\n'}))
    before, after = record_texts(plan, "node-1", ("mirrors", "system"))
    assert {entry["file"] for entry in (*before["entries"], *after["entries"])} == {ENVIRONMENT, PROFILE}
    before, _after = record_texts(plan, "node-1", ("container_engine",))
    assert {entry["file"] for entry in before["entries"]} == {DAEMON_FILE}


def test_what_another_stage_has_still_to_take_back_stays_noted() -> None:
    setup = provisioned(**HUB, container_engine={"daemon": {"debug": True}})
    plan = plan_of(wish(removing=True), setup)
    _before, after = record_texts(plan, "node-1", ("mirrors", "system"))
    assert {entry["file"] for entry in after["entries"]} == {DAEMON_FILE}
