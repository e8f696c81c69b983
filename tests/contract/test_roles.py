"""What npuctl gives to the roles is what their argument_specs ask for; a new engine is tested without a line here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from npuctl import engines
from npuctl.facts.model import NodeFacts
from npuctl.plan.difference import step_for_container
from npuctl.plan.model import Step
from npuctl.runner.hostvars import inventory_source, step_variables
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import KEY, parse_cluster
from tests.making import FILE, REPOSITORY, container_of, facts_of, node, plan_of, service_data, spec_of

ROLES = REPOSITORY / "roles"
ENTRIES = ("start", "stop", "remove")
STEP_VALUE = re.compile(r"^\{\{ npuctl_step\.(\w+) \}\}$")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def options(role: str, entry: str) -> dict[str, Any]:
    found: dict[str, Any] = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"][entry]["options"]
    return found


def errors(role: str, entry: str, variables: dict[str, Any]) -> list[str]:
    found: list[str] = ArgumentSpecValidator(options(role, entry)).validate(variables).error_messages
    return found


def version(engine: str) -> str:
    """A release that the engine's golden cases use."""
    cases = sorted((REPOSITORY / f"tests/golden/engines/{engine}").glob("*/cluster.yml"))
    return str(load(cases[0])[KEY]["services"][0]["version"])


def spec_for(engine: str, **changes: Any) -> ClusterSpec:
    secrets = {"api_key": {"secret": "key"}, "secret_env": {"TOKEN": {"secret": "key"}}}
    return spec_of(service_data(engine=engine, version=version(engine), **{**secrets, **changes}))


def steps(engine: str) -> Iterator[tuple[str, Step]]:
    """One step for every entry point, with and without secrets."""
    without: dict[str, Any] = {"api_key": None, "secret_env": {}}
    for changes in ({}, without):
        plan = plan_of(spec_for(engine, **changes), facts_of(node_1=node()), secrets={"key": "s"})
        there = container_of(plan.replicas[0])
        yield "start", plan.steps[0]
        yield "stop", step_for_container("node-1", there, "stop", "prod")
        yield "remove", step_for_container("node-1", there, "remove", "prod")


CASES = [(engine, entry, step) for engine in engines.names() for entry, step in steps(engine)]
IDS = [f"{engine}-{entry}-{number // 3}" for number, (engine, entry, _step) in enumerate(CASES)]


def test_engines_are_roles_and_golden_folders() -> None:
    """An engine is a module, a role and a golden folder; none of them stands alone."""
    names = set(engines.names())
    assert {path.name.removeprefix("engine_") for path in ROLES.glob("engine_*")} == names
    assert {path.name for path in (REPOSITORY / "tests/golden/engines").iterdir() if path.is_dir()} == names


@pytest.mark.parametrize(("engine", "entry", "step"), CASES, ids=IDS)
def test_a_step_is_what_the_engines_role_asks_for(engine: str, entry: str, step: Step) -> None:
    variables = json.loads(json.dumps(step_variables(step, "prod")))
    assert variables["entry"] == entry
    assert errors(f"engine_{engine}", entry, {"npuctl_step": variables}) == []


@pytest.mark.parametrize(("engine", "entry", "step"), CASES, ids=IDS)
def test_what_an_engines_role_hands_on_is_what_npu_container_asks_for(
    engine: str, entry: str, step: Step
) -> None:
    variables = json.loads(json.dumps(step_variables(step, "prod")))
    included = [task for task in load(ROLES / f"engine_{engine}/tasks/{entry}.yml") if "vars" in task]
    assert included
    for task in included:
        include = task["ansible.builtin.include_role"]
        handed = {name: variables[match_of(value)] for name, value in task["vars"].items()}
        assert errors(include["name"], include["tasks_from"], handed) == []


def match_of(value: str) -> str:
    match = STEP_VALUE.match(value)
    assert match, f"{value} is no plain value of the step; teach this test to render it"
    return match.group(1)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("engine", engines.names())
def test_an_unknown_or_missing_value_would_be_noticed(engine: str, entry: str) -> None:
    variables = json.loads(json.dumps(step_variables(CASES[0][2], "prod"))) | {"entry": entry}
    assert errors(f"engine_{engine}", entry, {"npuctl_step": {**variables, "typo": 1}})
    del variables["container"]
    assert errors(f"engine_{engine}", entry, {"npuctl_step": variables})


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_every_entry_point_is_described_and_every_option_too(role: str) -> None:
    specs = load(ROLES / role / "meta/argument_specs.yml")["argument_specs"]
    files = {path.stem: load(path) for path in (ROLES / role / "tasks").glob("*.yml")}
    included = {
        task["ansible.builtin.include_tasks"].removesuffix(".yml")
        for tasks in files.values()
        for task in tasks
        if "ansible.builtin.include_tasks" in task
    }
    assert set(specs) == set(files) - included
    assert all(spec.get("short_description") for spec in specs.values())
    assert list(undescribed(specs)) == []


def undescribed(specs: dict[str, Any]) -> Iterator[str]:
    for name, spec in specs.items():
        for key, option in (spec.get("options") or {}).items():
            if not option.get("description"):
                yield f"{name}.{key}"
            yield from undescribed({f"{name}.{key}": option})


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_defaults_are_those_of_the_specs(role: str) -> None:
    file = ROLES / role / "defaults/main.yml"
    defaults = load(file) if file.is_file() else {}
    described: dict[str, Any] = {}
    for spec in load(ROLES / role / "meta/argument_specs.yml")["argument_specs"].values():
        described |= {
            name: option["default"] for name, option in spec["options"].items() if "default" in option
        }
    assert defaults == described


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_variables_of_a_role_begin_with_its_name(role: str) -> None:
    own = ("npuctl_step",) if role.startswith("engine_") else ()
    for spec in load(ROLES / role / "meta/argument_specs.yml")["argument_specs"].values():
        assert [name for name in spec["options"] if not name.startswith(f"{role}_") and name not in own] == []


def test_the_playbook_reads_what_the_plan_writes() -> None:
    plan = plan_of(spec_for(engines.names()[0]), facts_of(node_1=node()), secrets={"key": "s"})
    (host,) = inventory_source(plan.changes, "prod")["all"]["children"]["npuctl_changed"]["hosts"].values()
    (play,) = load(REPOSITORY / "playbooks/apply.yml")
    assert play["hosts"] == "npuctl_changed"
    text = json.dumps(play)
    assert set(host) == set(re.findall(r"npuctl_(?:steps|folders_to_remove)", text))


def test_a_module_takes_what_its_documentation_says() -> None:
    for file in sorted((REPOSITORY / "library").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        documented = set(
            yaml.safe_load(re.findall(r'DOCUMENTATION = r"""(.*?)"""', text, re.DOTALL)[0])["options"]
        )
        spec = text[text.index("argument_spec={") :]
        assert set(re.findall(r'"(\w+)": \{"type"', spec)) == documented, file.name


def test_facts_are_those_of_the_model() -> None:
    """What the module returns and the model does not know would be lost in silence."""
    text = (REPOSITORY / "library/npuctl_facts.py").read_text(encoding="utf-8")
    typed_elsewhere = {"npu_error", "npu_table_complete", "chips", "driver_running", "driver_on_disk"}
    missing = [
        name for name in NodeFacts.model_fields if f'"{name}"' not in text and name not in typed_elsewhere
    ]
    assert missing == []


def test_the_spec_of_the_examples_is_planned_by_every_engine() -> None:
    for file in sorted(REPOSITORY.glob("inventories/example-*/group_vars/all/cluster.yml")):
        spec = parse_cluster(file.read_text(encoding="utf-8"), file=FILE)
        assert {service.engine for service in spec.services} <= set(engines.names())
