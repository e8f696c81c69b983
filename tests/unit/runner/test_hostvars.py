"""The plan as an inventory for Ansible."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from npuctl.errors import NpuctlError
from npuctl.facts.model import ContainerFacts, FileFacts
from npuctl.plan.difference import step_for_container
from npuctl.plan.model import Plan
from npuctl.runner.hostvars import inventory_source, step_variables
from tests.making import after_apply, facts_of, node, plan_of, root_files, service_data, spec_of

KEY = "s3cret"


def plan(**changes: Any) -> Plan:
    data = service_data(hosts="serving", replicas=2, api_key={"secret": "key"}, **changes)
    return plan_of(spec_of(data), facts_of(node_1=node(), node_2=node()), secrets={"key": KEY})


def hosts(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = source["all"]["children"]["npuctl_changed"]["hosts"]
    return found


def test_every_node_with_something_to_do_is_named_once() -> None:
    source = inventory_source(plan().changes, "prod")
    assert list(hosts(source)) == ["node-1", "node-2"]
    assert [entry["name"] for entry in hosts(source)["node-1"]["npuctl_steps"]] == ["chat-0"]
    assert hosts(source)["node-1"]["npuctl_folders_to_remove"] == []


def test_the_source_is_json_and_holds_no_secret() -> None:
    text = json.dumps(inventory_source(plan().changes, "prod"))
    assert KEY not in text
    assert "sha256" not in text


def test_the_variables_of_a_start() -> None:
    made = plan()
    variables = step_variables(made.steps[0], "prod")
    assert {
        key: variables[key] for key in ("name", "engine", "entry", "cluster", "container", "directory")
    } == {
        "name": "chat-0",
        "engine": "vllm",
        "entry": "start",
        "cluster": "prod",
        "container": "npuctl-prod-chat-0",
        "directory": "/etc/npuctl/prod/chat-0",
    }
    assert variables["files"][1]["secret_env"] == {"VLLM_API_KEY": "key"}
    assert "content" not in variables["files"][1]
    assert variables["spec"]["labels"] == made.replicas[0].container.labels
    assert "name" not in variables["spec"]


@pytest.mark.parametrize(
    ("action", "entry"),
    [("create", "start"), ("recreate", "start"), ("start", "start"), ("stop", "stop"), ("remove", "remove")],
)
def test_the_entry_point_of_an_action(action: Any, entry: str) -> None:
    assert step_variables(replace(plan().steps[0], action=action), "prod")["entry"] == entry


def test_removals_come_first() -> None:
    before = facts_of(node_1=node(files=root_files()))
    there = after_apply(plan_of(spec_of(service_data("old", port=9000)), before), before)
    steps = plan_of(spec_of(service_data("new")), there).changes
    entries = [
        entry["entry"]
        for entry in hosts(inventory_source(tuple(reversed(steps)), "prod"))["node-1"]["npuctl_steps"]
    ]
    assert entries == ["remove", "start"]


def test_a_folder_without_a_container_is_only_removed() -> None:
    files = root_files() | {
        "/etc/npuctl/prod/old-0": FileFacts(kind="directory", mode="0750", owner="root:root")
    }
    steps = plan_of(spec_of(service_data()), facts_of(node_1=node(files=files))).changes
    found = hosts(inventory_source(steps, "prod"))["node-1"]
    assert [entry["name"] for entry in found["npuctl_steps"]] == ["chat-0"]
    assert found["npuctl_folders_to_remove"] == ["/etc/npuctl/prod/old-0"]


def test_a_node_may_have_only_folders_to_remove() -> None:
    source = inventory_source((), "prod", {"node-9": ["/etc/npuctl/prod"]})
    assert hosts(source) == {"node-9": {"npuctl_steps": [], "npuctl_folders_to_remove": ["/etc/npuctl/prod"]}}


LOOKUP = "{{ lookup('pipe', 'touch /tmp/owned') }}"


def test_what_a_node_says_is_no_template() -> None:
    """Labels and folder names come from the node; Ansible would run such text on the controller."""
    found = ContainerFacts(
        name=LOOKUP, id="", image="", state="running", engine="vllm", service=LOOKUP, spec="{}"
    )
    step = step_for_container("node-1", found, "remove", "prod")
    source = inventory_source((step,), "prod", {"node-1": [f"/etc/npuctl/{LOOKUP}"]})
    assert rendered(source["all"]["children"]["npuctl_changed"]["hosts"]["node-1"], step) == []


def rendered(value: Any, step: Any, path: str = "") -> list[str]:
    """Paths of texts that Ansible would render: marked as {"__ansible_unsafe": text} it would not."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            return []
        return [found for key, entry in value.items() for found in rendered(entry, step, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for entry in value for found in rendered(entry, step, path)]
    return [path] if isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#")) else []


def test_an_engine_that_a_node_made_up_names_no_role() -> None:
    """include_role would look for engine_x/../../tmp/y."""
    found = ContainerFacts(
        name="a", id="", image="", state="running", engine="x/../../../tmp/y", service="chat"
    )
    step = step_for_container("node-1", found, "remove", "prod")
    with pytest.raises(NpuctlError, match=r"x/\.\./\.\./\.\./tmp/y"):
        inventory_source((step,), "prod")
