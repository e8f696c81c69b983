"""library/npuctl_facts.py with a survey: one call, all of it, and what a survey does not cost without."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.read import read_node
from tests.unit.library.conftest import Engine

Module = Callable[[str], Any]


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def make(**survey: Any) -> dict[str, Any]:
        return {"cluster": "prod", "root": str(tmp_path / "prod"), "survey": survey}

    return make


def test_a_survey_of_this_machine_is_typed(
    engine: Engine, module: Module, tmp_path: Path, request_of: Callable[..., dict[str, Any]]
) -> None:
    engine.images = {"vllm-ascend:1"}
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}", encoding="utf-8")
    model = str(tmp_path / "model")
    raw = module("npuctl_facts").collect(request_of(models=[model, "/nowhere"], caches=["/root/.cache"]))
    found = read_node(json.loads(json.dumps(raw))).survey
    assert found is not None
    assert found.weights[model].config == {}
    assert not found.weights["/nowhere"].exists
    assert [image.reference for image in found.images] == ["vllm-ascend:1"]
    held = {what for disk in found.host.disks for what in disk.holds}
    assert held == {"root", "docker", "npuctl", "cache:/root/.cache", f"model:{model}", "model:/nowhere"}
    assert (found.host.docker_root, found.host.docker_default_runtime) == ("/var/lib/docker", "runc")
    assert found.host.missing_runtimes == ["ascend"]
    assert found.seconds > 0


def test_without_a_survey_none_is_taken(
    engine: Engine, module: Module, request_of: Callable[..., dict[str, Any]]
) -> None:
    facts = module("npuctl_facts")
    assert read_node(facts.collect(request_of() | {"survey": None})).survey is None
    asked = [path for _method, path, _query, _body in engine.calls]
    assert "/info" not in asked


def test_a_docker_that_is_silent_leaves_the_rest(
    engine: Engine, module: Module, request_of: Callable[..., dict[str, Any]]
) -> None:
    engine.broken = "out of order"
    found = read_node(module("npuctl_facts").collect(request_of())).survey
    assert found is not None
    assert found.unread["docker info"] == found.unread["images"] == "out of order"
    assert found.host.cpus > 0


def test_a_file_server_that_hangs_is_given_up(
    engine: Engine, module: Module, monkeypatch: pytest.MonkeyPatch, request_of: Callable[..., dict[str, Any]]
) -> None:
    facts, survey = module("npuctl_facts"), module("npuctl_survey")
    monkeypatch.setattr(survey, "WEIGHTS_SECONDS", 0.1)
    monkeypatch.setattr(survey.weights, "read_folder", lambda _path: time.sleep(5))
    monkeypatch.setitem(__import__("sys").modules, "ansible.module_utils.npuctl_survey", survey)
    monkeypatch.setattr(__import__("ansible.module_utils", fromlist=["x"]), "npuctl_survey", survey)
    found = read_node(facts.collect(request_of(models=["/data/model"]))).survey
    assert found is not None
    assert (found.weights, found.unread["model /data/model"]) == ({}, "no answer within 0.1 s")


@pytest.mark.parametrize(
    ("path", "there"), [("/bin/sh", True), ("sh", True), ("/no/such", False), ("no-such-runtime", False)]
)
def test_whether_the_program_of_a_runtime_is_there(module: Module, path: str, *, there: bool) -> None:
    assert module("npuctl_survey").is_program(path) is there
