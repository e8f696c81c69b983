"""Looking: recorded facts, --limit, and the replicas that the spec alone names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from npuctl.errors import UsageError
from npuctl.facts.model import SCHEMA
from npuctl.operate import look as looking
from npuctl.operate.look import expected_replicas, open_inventory, plan_from_file, read_facts, target_of
from npuctl.plan.placement import wishes
from npuctl.spec.parse import SpecError
from tests.making import facts_of, inventory_of, node, plan_of, service_data, spec_of


def test_recorded_facts_are_read(tmp_path: Path) -> None:
    facts = facts_of(node_1=node())
    (tmp_path / "facts.json").write_text(facts.model_dump_json(by_alias=True), encoding="utf-8")
    assert read_facts(str(tmp_path / "facts.json")) == facts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no file of facts"),
        ('{"nodes": {"a": {"chips": 3}}}', "nodes.a.chips"),
        (json.dumps({"schema": SCHEMA + 1}), f"this npuctl reads {SCHEMA}"),
    ],
)
def test_facts_that_cannot_be_read_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "facts.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words.replace(".", r"\.")):
        read_facts(str(tmp_path / "facts.json"))


def test_facts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_facts(str(tmp_path / "facts.json"))


def test_a_node_that_the_file_does_not_have_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(service_data(hosts="serving", replicas=2))
    inventory = inventory_of(tmp_path, spec, "node-1", "node-2")
    monkeypatch.setattr(looking, "load_inventory", lambda _folder: inventory)
    file = tmp_path / "facts.json"
    file.write_text(facts_of(node_1=node()).model_dump_json(by_alias=True), encoding="utf-8")
    plan = plan_from_file(tmp_path, str(file))
    assert list(plan.unreachable) == ["node-2"]
    assert [step.name for step in plan.steps] == ["chat-0"]


@pytest.mark.parametrize(
    ("limit", "nodes"),
    [([], ["a", "b", "c"]), (["c", "a"], ["a", "c"]), (["serving"], ["a", "b", "c"]), (["b", "b"], ["b"])],
)
def test_limit_takes_hosts_and_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: list[str], nodes: list[str]
) -> None:
    inventory = inventory_of(tmp_path, spec_of(service_data()), "a", "b", "c")
    monkeypatch.setattr(looking, "load_inventory", lambda _folder: inventory)
    assert open_inventory(tmp_path, limit=limit)[1] == nodes


def test_limit_names_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = inventory_of(tmp_path, spec_of(service_data()), "a", "b")
    monkeypatch.setattr(looking, "load_inventory", lambda _folder: inventory)
    with pytest.raises(UsageError, match="--limit names x, y") as caught:
        open_inventory(tmp_path, limit=["a", "x", "y"])
    assert caught.value.hint == "its hosts: a, b"


def test_expected_replicas_are_those_of_the_plan(tmp_path: Path) -> None:
    spec = spec_of(service_data("a", hosts="serving", replicas=3), service_data("b", hosts=["n2"], port=9000))
    facts = facts_of(n1=node(), n2=node())
    targets = expected_replicas(inventory_of(tmp_path, spec, "n1", "n2"))
    assert targets == [target_of(spec, replica) for replica in plan_of(spec, facts).replicas]
    assert [wish.name for wish in wishes(spec, {"a": ["n1", "n2"], "b": ["n2"]})] == [
        t.replica for t in targets
    ]


def test_expected_replicas_of_one_service(tmp_path: Path) -> None:
    spec = spec_of(service_data("a"), service_data("b", port=9000))
    inventory = inventory_of(tmp_path, spec)
    assert [target.replica for target in expected_replicas(inventory, service="b")] == ["b-0"]
    with pytest.raises(UsageError, match="no service 'c'"):
        expected_replicas(inventory, service="c")


def test_a_spec_with_an_unknown_engine_is_a_mistake_of_the_spec_for_every_verb(tmp_path: Path) -> None:
    """health and logs too: else it would be called a bug of npuctl."""
    with pytest.raises(SpecError, match="unknown engine"):
        expected_replicas(inventory_of(tmp_path, spec_of(service_data(engine="vlm"))))


def test_wrong_services_and_wrong_hosts_are_said_together(tmp_path: Path) -> None:
    spec = spec_of(service_data(hosts="nowhere", args={"swap-space": 4}))
    with pytest.raises(SpecError) as caught:
        expected_replicas(inventory_of(tmp_path, spec))
    assert [problem.where.rpartition(".")[2] for problem in caught.value.problems] == ["swap-space", "hosts"]
