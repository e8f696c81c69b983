"""What a provisioning answers for: what its last look found, and nothing better."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.display.provision import provisioned_result, provisioned_text
from npuctl.facts.model import ClusterFacts
from npuctl.facts.setup import Setup, TextFile
from npuctl.operate import look as looking
from npuctl.operate import provision as provisioning
from npuctl.operate import record
from npuctl.operate.provision import Choice, Provisioned, provision
from npuctl.plan.provision._contract import StageName, Wish
from npuctl.plan.provision.build import ProvisionPlan, provision_plan
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, inventory_of, node

ENVIRONMENT = "/etc/environment"
PROFILE = "/etc/profile.d/npuctl-mirrors.sh"
SPEC = parse_cluster(cluster_text(mirrors={"huggingface": "https://hf-mirror.com"}), file=FILE)
DONE = {
    ENVIRONMENT: "HF_ENDPOINT=https://hf-mirror.com\n",
    PROFILE: "# Written by npuctl (mirrors).\nexport HF_ENDPOINT=https://hf-mirror.com\n",
}


def setup_of(files: dict[str, str] | None = None, **more: Any) -> Setup:
    return Setup(files={path: TextFile(path=path, text=text) for path, text in (files or {}).items()}, **more)


Run = Callable[..., Provisioned]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def build(*looks: Setup, **chosen: Any) -> Provisioned:
        waiting = list(looks)
        own = inventory_of(tmp_path, SPEC)

        def inspect(*_given: Any, **_more: Any) -> ClusterFacts:
            setup = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return ClusterFacts(nodes={"node-1": node(setup=setup)})

        monkeypatch.setattr(looking, "load_inventory", lambda _folder: own)
        monkeypatch.setattr(provisioning, "inspect_nodes", inspect)
        monkeypatch.setattr(record, "run_playbook", lambda *_given, **_more: None)
        limit = chosen.pop("limit", ())
        return provision(own.folder, lambda _told: None, limit=limit, choice=Choice(**chosen))

    return build


def test_a_last_look_that_finds_nothing_is_what_0_means(run: Run) -> None:
    assert run(setup_of(), setup_of(DONE)).exit_code == 0


def test_what_the_last_look_still_finds_to_do_is_told(run: Run) -> None:
    done = run(setup_of(), setup_of())
    assert done.left is not None
    assert done.left.changes
    assert done.exit_code == 4


def test_an_error_that_only_the_last_look_finds_is_no_success(run: Run) -> None:
    done = run(setup_of(), setup_of(DONE, records={"settings": {"error": "no JSON"}}))
    assert [finding.id for finding in done.refused] == ["provision.settings_record"]
    assert done.exit_code == 3


def test_a_dry_run_looks_once_and_promises_nothing(run: Run) -> None:
    done = run(setup_of(), dry_run=True)
    assert done.left is None
    assert done.exit_code == 0


def test_only_some_stages_is_not_everything(run: Run) -> None:
    done = run(setup_of(), stages=("images", "system"))
    assert provisioned_text(done).endswith(
        "nothing to do: every node that answered is as the spec says; looked at system, images only"
    )
    assert provisioned_result(done)["stages"] == ["images", "system"]
    assert provisioned_text(run(setup_of(DONE))).endswith("is as the spec says")
    changed = run(setup_of(), setup_of(DONE), stages=("mirrors",))
    assert provisioned_text(changed).endswith("nothing left to do; looked at mirrors only")


def test_stages_know_which_nodes_were_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def plan(wish: Wish, *more: Any) -> ProvisionPlan:
        seen.append(wish.asked)
        return provision_plan(wish, *more)

    monkeypatch.setattr(provisioning, "provision_plan", plan)
    run(setup_of(DONE), limit=["node-1"])
    assert seen == [["node-1"]]


@pytest.mark.parametrize(
    ("spec", "stages", "removing", "asked"),
    [
        ({}, ("mirrors", "system", "weights"), False, False),
        ({}, ("images",), False, "images"),
        ({"npu_addresses": {"pools": [{"network": "10.20.0.0/16"}]}}, ("npu_network",), False, "npus"),
        ({"npu_addresses": {"pools": [{"network": "10.20.0.0/16"}]}}, ("npu_network", "images"), False, True),
        ({"driver": {"version": "25.5.2", "packages": "p"}}, ("driver",), False, "npus"),
        ({"driver": {"version": "25.5.2", "packages": "p"}}, ("weights",), False, False),
        ({}, ("npu_network",), True, "npus"),
    ],
)
def test_npus_are_asked_only_where_a_stage_wants_to_know(
    spec: dict[str, Any],
    stages: tuple[StageName, ...],
    removing: bool,  # noqa: FBT001
    asked: object,
) -> None:
    wish = Wish(parse_cluster(cluster_text(**spec), file=FILE), removing=removing)
    assert provisioning._survey(wish, stages) == asked
