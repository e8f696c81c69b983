"""A module of library/ as a program: the bootstrap gives the same answer as importing the module."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from npuctl.remote.inspect import inspect_nodes
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import BOOTSTRAP, PYTHON_OPTIONS, Program, load_program
from npuctl.remote.ssh import Answer
from tests.making import REPOSITORY, inventory_of, service_data, spec_of


def run(program: Program, request: dict[str, Any], before: bytes = b"") -> Any:
    done = subprocess.run(
        [sys.executable, *PYTHON_OPTIONS, BOOTSTRAP],
        input=before + program.standard_input(request),
        capture_output=True,
        check=True,
        timeout=30,
        env={},
    )
    assert done.stderr == b""
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "utilities"),
    [
        ("npuctl_facts", ["npuctl_command", "npuctl_docker", "npuctl_files", "npuctl_probe"]),
        ("npuctl_health", ["npuctl_docker", "npuctl_probe"]),
    ],
)
def test_a_program_has_the_sources_of_all_that_it_imports(name: str, utilities: list[str]) -> None:
    program = load_program(name)
    own = [f"ansible.module_utils.{utility}" for utility in utilities]
    assert [module for module, _source in program.modules] == [*own, name]
    assert program.modules[-1][1] == (REPOSITORY / f"library/{name}.py").read_text(encoding="utf-8")


def test_what_a_function_imports_travels_only_when_it_is_asked_for() -> None:
    whole = [
        module.rpartition(".")[2] for module, _source in load_program("npuctl_facts", whole=True).modules
    ]
    assert {"npuctl_survey", "npuctl_npus", "npuctl_weights"} <= set(whole)
    assert whole.index("npuctl_npus") < whole.index("npuctl_survey") < whole.index("npuctl_facts")
    assert len(whole) == len(set(whole))


def test_a_thread_that_hangs_does_not_keep_the_program(tmp_path: Any) -> None:
    text = (
        "import concurrent.futures as c, time\n"
        "def collect(r):\n    c.ThreadPoolExecutor(1).submit(time.sleep, 60)\n    return r\n"
    )
    assert run(Program("main", (("main", text),)), {"x": 1}) == {"x": 1}


def test_modules_see_each_other_under_their_ansible_names() -> None:
    tool = ("ansible.module_utils.tool", "VALUE = 41\n")
    main = (
        "main",
        "from ansible.module_utils import tool\ndef collect(r):\n    return tool.VALUE + r['x']\n",
    )
    assert run(Program("main", (tool, main)), {"x": 1}) == 42


def test_dataclasses_and_threads_work_in_a_program() -> None:
    text = "import concurrent.futures as c\ndef collect(r):\n    with c.ThreadPoolExecutor(2) as p:\n        return list(p.map(len, r['x']))\n"
    assert run(Program("main", (("main", text),)), {"x": ["a", "bb"]}) == [1, 2]


def test_a_line_before_the_request_is_passed_over() -> None:
    """A password that sudo did not read."""
    program = Program("main", (("main", "def collect(r):\n    return r\n"),))
    assert run(program, {"x": "a\nb"}, before=b"hunter2\n") == {"x": "a\nb"}


def test_health_by_bootstrap_is_health_by_import(library_module: Any, tmp_path: Any) -> None:
    replica = {"name": "chat-0", "container": "npuctl-none-0", "directory": str(tmp_path), "port": 1}
    request = {"replicas": [replica]}
    assert run(load_program("npuctl_health"), request) == library_module("npuctl_health").collect(request)


def test_facts_by_bootstrap_are_facts_by_import(library_module: Any, tmp_path: Any) -> None:
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod/file").write_text("x", encoding="utf-8")
    request = {"cluster": "prod", "root": str(tmp_path / "prod"), "paths": ["/", "/nowhere"]}
    here = library_module("npuctl_facts").collect(request)
    there = run(load_program("npuctl_facts"), request)
    steady = (
        "hostname",
        "os",
        "kernel",
        "architecture",
        "boot_id",
        "files",
        "clusters",
        "paths",
        "memory_total_mb",
    )
    assert {key: there[key] for key in steady} == {key: here[key] for key in steady}
    assert set(there) == set(here)


def test_what_nodes_answer_becomes_facts_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    spec = spec_of(service_data())
    inventory = inventory_of(tmp_path, spec, "b", "a", "c")
    raw = {"hostname": "x", "replicas": [], "npu_smi": {"rc": 1, "stdout": "", "stderr": "no"}}
    asked: dict[str, Any] = {}

    def ask(_inventory: Inventory, _program: Program, requests: dict[str, Any], **_more: Any) -> list[Answer]:
        asked.update(requests)
        return [Answer("c", error="off", hint="on"), Answer("a", data=raw), Answer("b", data=raw)]

    monkeypatch.setattr("npuctl.remote.inspect.ask", ask)
    facts = inspect_nodes(inventory, ["b", "a", "c"])
    assert list(facts.nodes) == ["b", "a"]
    assert facts.nodes["a"].npu_error == "no"
    assert (facts.unreachable["c"].reason, facts.unreachable["c"].hint) == ("off", "on")
    assert asked["a"]["cluster"] == "prod"
    assert asked["a"]["root"] == "/etc/npuctl/prod"
    assert "/data/models/Qwen3-0.6B" in asked["a"]["paths"]
