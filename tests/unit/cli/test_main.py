"""The command line without nodes: exit codes, errors as text and JSON, plans from recorded facts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from npuctl.__main__ import main
from npuctl.errors import LockedError, NpuctlError, UsageError
from npuctl.health.verdict import ReplicaHealth, State
from tests.making import REPOSITORY, cluster_text, facts_of, node, service_data


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "prod"
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "group_vars/all/cluster.yml").write_text(cluster_text(service_data()), encoding="utf-8")
    (folder / "hosts.yml").write_text("serving: {hosts: {node-1: {}}}\n", encoding="utf-8")
    return folder


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    file = tmp_path / "facts.json"
    file.write_text(facts_of(node_1=node()).model_dump_json(by_alias=True), encoding="utf-8")
    return file


def call(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_no_verb_is_help_and_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = call(capsys)
    assert code == 2
    assert "usage: npuctl" in out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version")[1].startswith("npuctl 0.")


@pytest.mark.parametrize("words", [["deply"], ["plan", "--output", "xml"], ["logs", "--tail", "x"]])
def test_argparse_refuses_with_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_plan_from_recorded_facts(capsys: pytest.CaptureFixture[str], inventory: Path, facts: Path) -> None:
    code, out, err = call(capsys, "plan", inventory, "--facts", facts)
    assert (code, err) == (0, "")
    assert "+ chat-0  create" in out


def test_a_plan_as_json_is_one_object(
    capsys: pytest.CaptureFixture[str], inventory: Path, facts: Path
) -> None:
    code, out, err = call(capsys, "plan", inventory, "--facts", facts, "--output", "json")
    assert (code, err) == (0, "")
    assert json.loads(out)["cluster"] == "prod"


def test_a_plan_that_a_check_would_refuse(
    capsys: pytest.CaptureFixture[str], inventory: Path, facts: Path
) -> None:
    facts.write_text(facts_of(node_1=node(chips=[])).model_dump_json(by_alias=True), encoding="utf-8")
    code, out, _err = call(capsys, "plan", inventory, "--facts", facts)
    assert code == 3
    assert "npu.readable" in out


def test_a_plan_without_a_node(capsys: pytest.CaptureFixture[str], inventory: Path, facts: Path) -> None:
    facts.write_text("{}", encoding="utf-8")
    assert call(capsys, "plan", inventory, "--facts", facts)[0] == 5


def test_a_broken_spec_as_text(capsys: pytest.CaptureFixture[str], inventory: Path) -> None:
    (inventory / "group_vars/all/cluster.yml").write_text(
        cluster_text(service_data(prot=1)), encoding="utf-8"
    )
    code, out, err = call(capsys, "deploy", inventory)
    assert (code, out) == (2, "")
    assert err.startswith("npuctl: the cluster spec has 1 problem; no node was touched")
    assert "did you mean port?" in err


def test_a_broken_spec_as_json(capsys: pytest.CaptureFixture[str], inventory: Path) -> None:
    (inventory / "group_vars/all/cluster.yml").write_text(
        cluster_text(service_data(prot=1)), encoding="utf-8"
    )
    code, out, err = call(capsys, "deploy", inventory, "--output", "json")
    assert (code, err) == (2, "")
    (line,) = out.splitlines()
    data = json.loads(line)
    assert (data["type"], data["code"], data["exit_code"]) == ("error", "SpecError", 2)
    assert data["problems"][0]["hint"] == "did you mean port?"


@pytest.mark.parametrize("error", [UsageError("no", hint="do this"), LockedError("busy")])
def test_an_error_becomes_its_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: NpuctlError
) -> None:
    code, _out, err = failing(capsys, monkeypatch, error)
    assert code == error.exit_code
    assert err == f"npuctl: {error}\n" + (f"\nhint: {error.hint}\n" if error.hint else "")


def failing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Any:
    def schema() -> None:
        raise error

    monkeypatch.setattr("npuctl.spec.schema.cluster_schema", schema)
    return call(capsys, "schema")


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(capsys, monkeypatch, KeyboardInterrupt())[0] == 130


def test_a_bug_is_one_line_and_a_private_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = failing(capsys, monkeypatch, ZeroDivisionError("oops"))
    assert (code, out) == (1, "")
    assert err.startswith("npuctl: a bug in npuctl: ZeroDivisionError: oops")
    assert "Traceback" not in err
    (file,) = tmp_path.glob("npuctl-bug-*.txt")
    assert "ZeroDivisionError: oops" in file.read_text(encoding="utf-8")
    assert file.stat().st_mode & 0o077 == 0


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = call(capsys, "schema")
    assert code == 0
    assert json.loads(out)["required"] == ["npuctl_cluster"]


def test_a_teardown_does_not_go_on_without_a_yes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, inventory: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", (inventory / "hosts.yml").open(encoding="utf-8"))
    with sys.stdin:
        code, _out, err = call(capsys, "teardown", inventory)
    assert code == 2
    assert "every container and file of cluster prod from node-1" in err
    assert "--yes" in err


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["ready", "ready"], 0),
        (["ready", "dead"], 6),
        (["ready", "unreachable"], 6),
        (["unreachable", "hung"], 6),
        (["stopped"], 6),
    ],
)
def test_the_exit_code_of_health(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    inventory: Path,
    states: list[State],
    code: int,
) -> None:
    found = [ReplicaHealth("chat", f"chat-{index}", "n", state, "") for index, state in enumerate(states)]
    monkeypatch.setattr("npuctl.health.probe.ask_replicas", lambda *_given: found)
    assert call(capsys, "health", inventory)[0] == code
    assert call(capsys, "status", inventory, "--output", "json")[0] == code


@pytest.mark.parametrize("name", ["example-a2", "example-a3", "example-310p"])
def test_a_spec_of_the_examples_has_no_mistake(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "facts.json").write_text("{}", encoding="utf-8")
    assert call(capsys, "plan", REPOSITORY / "inventories" / name, "--facts", tmp_path / "facts.json")[0] == 5
