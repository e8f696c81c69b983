"""Every playbook is read by Ansible; roles keep to the rules that no linter knows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.making import REPOSITORY

PLAYBOOKS = sorted((REPOSITORY / "playbooks").glob("*.yml"))
TASKS = sorted(REPOSITORY.glob("roles/*/tasks/*.yml"))
# A command that no module stands for; its task says so.
COMMANDS = {"Make the store anew": "update-ca-certificates, update-ca-trust"}
OWN = {path.stem for path in (REPOSITORY / "library").glob("*.py")}


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_is_read_by_ansible(playbook: Path, tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "ansible-playbook"
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(tmp_path),
    }
    done = subprocess.run(
        [command, "--syntax-check", "-i", REPOSITORY / "inventories/example-a2", playbook],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_is_short(playbook: Path) -> None:
    assert len(playbook.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("file", TASKS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_a_task_is_named_uses_full_names_and_no_shell(file: Path) -> None:
    for task in yaml.safe_load(file.read_text(encoding="utf-8")):
        modules = [key for key in task if "." in key or key in OWN]
        assert len(modules) == 1, task
        assert task["name"][0].isupper()
        assert "{{" not in task["name"]
        assert modules[0].rpartition(".")[2] not in {"shell", "command", "raw"} or task["name"] in COMMANDS
        assert "ignore_errors" not in task


def test_of_twenty_tasks_less_than_one_is_a_command() -> None:
    tasks = [task for file in TASKS for task in yaml.safe_load(file.read_text(encoding="utf-8"))]
    commands = [task["name"] for task in tasks if "ansible.builtin.command" in task]
    assert set(commands) == set(COMMANDS)
    assert len(commands) / len(tasks) <= 0.05


@pytest.mark.parametrize("file", TASKS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_a_task_that_touches_secrets_is_silent(file: Path) -> None:
    for task in yaml.safe_load(file.read_text(encoding="utf-8")):
        if "npuctl_secrets" in str(task):
            assert task.get("no_log") is True


def test_pipelining_and_host_keys_are_set_for_people_too() -> None:
    text = (REPOSITORY / "ansible.cfg").read_text(encoding="utf-8")
    settings: dict[str, Any] = dict(
        line.replace(" ", "").split("=", 1)
        for line in text.splitlines()
        if "=" in line and not line.startswith("#")
    )
    assert settings["host_key_checking"] == "True"
    assert settings["pipelining"] == "True"
