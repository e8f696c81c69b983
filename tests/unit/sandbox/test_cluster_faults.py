"""Faults: which there are, and what is refused before a node is touched."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest

from npuctl.errors import NpuctlError, UsageError
from npuctl.paths import content_root
from npuctl.sandbox import docker, faults, nodes
from npuctl.sandbox.faults import SCRIPTS, Request
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


@pytest.mark.parametrize(
    ("fault", "value"),
    [
        ("clock", "1d"),
        ("clock", "$(id)"),
        ("mtu", "-1"),
        ("device-missing", "0/../x"),
        ("device-rights", "٣"),
    ],
)
def test_a_value_is_checked_before_it_reaches_a_shell(
    fault: str, value: str, commands: list[tuple[str, ...]]
) -> None:
    with pytest.raises(UsageError, match="cannot have the value"):
        put(Request(fault, value=value))
    assert commands == []


@pytest.mark.parametrize(("fault", "value"), [("clock", "-90.5"), ("clock", None), ("mtu", "9000")])
def test_a_value_may_be_left_out_where_the_script_has_its_own(
    fault: str, value: str | None, commands: list[tuple[str, ...]]
) -> None:
    put(Request(fault, value=value))
    assert commands == [
        ("exec", "npuctl-sandbox-node-1", "sh", "-ec", SCRIPTS[fault].put, "fault", value or "")
    ]


def test_everything_is_taken_off_in_one_call(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = subprocess.CompletedProcess[bytes]([], 1, b"", b"")
    monkeypatch.setattr(docker, "attempt", lambda *_arguments, **_options: nothing)
    faults.put(ONE, ONE.node("node-1"), Request("all", clear=True), Progress())
    (texts,) = [words[4] for words in commands if words[2:4] == ("sh", "-ec")]
    assert all(f"({script.clear}\n)" in texts for script in SCRIPTS.values())


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_what_a_node_is_sent_is_shell(name: str) -> None:
    for text in (SCRIPTS[name].put, SCRIPTS[name].clear, f"({SCRIPTS[name].clear}\n)"):
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_each_setting_of_a_node_is_laid_over_the_kernels_and_has_a_healthy_value() -> None:
    """A fault rewrites a file below /run/npusim-host: without its mount it would change nothing."""
    tree = content_root() / "sandbox" / "node"
    healthy = tree / "rootfs/usr/local/share/npusim-host"
    covered = re.findall(r"^  cover (\S+) /", (tree / "init").read_text(), re.MULTILINE)
    assert sorted(covered) == sorted(path.name for path in healthy.iterdir())
    for script in SCRIPTS.values():
        for name in re.findall(r"/usr/local/share/npusim-host/(\S+)", script.clear):
            assert (healthy / name).is_file(), name


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
