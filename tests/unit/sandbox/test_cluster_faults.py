"""Faults: which there are, and what is refused before a node is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from npuctl.errors import NpuctlError, UsageError
from npuctl.sandbox import docker, faults, nodes
from npuctl.sandbox.fault_scripts import SCRIPTS
from npuctl.sandbox.faults import Request
from npuctl.sandbox.model import Sandbox
from npuctl.sandbox.nodes import Container
from npuctl.sandbox.progress import Progress

RUNNING = Container("npuctl-sandbox-node-1", "node-1", "running", "npuctl-sandbox/node:1", attached=True)
ONE = Sandbox("sandbox", 1, "a2", "10.77.3.0/24")


def put(request: Request) -> str:
    return faults.put(ONE, ONE.node("node-1"), request, Progress())


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every docker command that would have run, on a node that is there."""
    seen: list[tuple[str, ...]] = []

    def record(*arguments: str, **_options: object) -> str:
        seen.append(arguments)
        return ""

    monkeypatch.setattr(docker, "run", record)
    monkeypatch.setattr(nodes, "existing", lambda _name: {"node-1": RUNNING})
    return seen


@pytest.mark.parametrize("name", ["", "X", "a b", "-x", "--help", "rm;rm"])
def test_a_name_that_cannot_be_a_fault_never_reaches_a_node(
    name: str, commands: list[tuple[str, ...]]
) -> None:
    with pytest.raises(UsageError, match="no such fault"):
        put(Request(name))
    assert commands == []


@pytest.mark.parametrize("value", [None, "", "0", "65536", "80 81", "$(id)", "-1", "٣"])
def test_a_port_is_a_number_before_it_reaches_a_shell(
    value: str | None, commands: list[tuple[str, ...]]
) -> None:
    with pytest.raises(UsageError, match="needs --value PORT"):
        put(Request("port-taken", value=value))
    assert commands == []


def test_a_port_reaches_the_script_as_its_argument(commands: list[tuple[str, ...]]) -> None:
    assert put(Request("port-taken", value="8000")) == "port-taken put on node-1"
    assert commands == [
        ("exec", "npuctl-sandbox-node-1", "sh", "-ec", SCRIPTS["port-taken"].put, "fault", "8000")
    ]


def test_unknown_engine_faults_are_refused(commands: list[tuple[str, ...]]) -> None:
    with pytest.raises(UsageError, match="engine-nonsense"):
        put(Request("engine-nonsense"))
    assert commands == []


def test_all_goes_with_clear_only() -> None:
    with pytest.raises(UsageError, match="--clear only"):
        put(Request("all"))


def test_a_missing_node_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "existing", lambda _name: {})
    with pytest.raises(NpuctlError, match="node-1 is missing"):
        put(Request("reboot"))


@pytest.mark.parametrize("state", ["paused", "exited"])
def test_a_node_that_does_not_run_cannot_be_broken_from_within(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "existing", lambda _name: {"node-1": replace(RUNNING, state=state)})
    with pytest.raises(NpuctlError, match=f"node-1 is {state}: disk-full needs a running node") as caught:
        put(Request("disk-full"))
    assert "all --clear" in caught.value.hint


def test_every_fault_is_explained_the_simulators_too() -> None:
    rows = dict(faults.explained())
    assert {"reboot", "unreachable", "image-missing", "engine-hang", *SCRIPTS} <= set(rows)
    assert rows["hbm-leak"].startswith("NPU: ")
    assert all(rows.values())
    assert not [name for name in rows if name in {"usage", "options", "positional"}]
