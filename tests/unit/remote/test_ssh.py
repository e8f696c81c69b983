"""Command lines of ssh, what its failures mean, and asking nodes (here: this machine)."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from npuctl.errors import UsageError
from npuctl.remote import ssh
from npuctl.remote.inventory import Host, Inventory
from npuctl.remote.program import Program
from npuctl.remote.ssh import ask, command, explain, options
from tests.making import inventory_of, service_data, spec_of

PASSWORD = "hunter2"
ECHO = Program("echo", (("echo", "def collect(request):\n    return {'got': request}\n"),))


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return inventory_of(tmp_path / "cluster", spec_of(service_data()))


def local(inventory: Inventory, *names: str, **changes: Any) -> Inventory:
    host = Host("", "", connection="local", python=sys.executable)
    hosts = {name: dataclasses.replace(host, name=name, **changes) for name in names}
    return dataclasses.replace(inventory, hosts=hosts)


def pairs(argv: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for flag, word in pairwise(argv) if flag == "-o")


def test_host_keys_are_checked_in_every_command(inventory: Inventory) -> None:
    base = options(inventory)
    for host in (Host("a", "a"), Host("b", "b", user="u", port=2, key_file="/k", become=True)):
        argv = command(host, base, ["true"])
        assert pairs(argv)["StrictHostKeyChecking"] == "yes"
        assert pairs(argv)["BatchMode"] == "yes"
        assert "known_hosts" in pairs(argv)["UserKnownHostsFile"]


def test_no_argument_of_a_host_comes_before_ours(inventory: Inventory) -> None:
    """For ssh, the first of two equal options counts."""
    host = Host("a", "a", ssh_args=("-o", "StrictHostKeyChecking=no"))
    argv = command(host, options(inventory), ["true"])
    assert argv.index("StrictHostKeyChecking=yes") < argv.index("StrictHostKeyChecking=no")


def test_the_clusters_own_keys_come_first(inventory: Inventory) -> None:
    assert pairs(options(inventory))["UserKnownHostsFile"] == "~/.ssh/known_hosts"
    inventory.known_hosts.parent.mkdir(parents=True)
    inventory.known_hosts.write_text("", encoding="utf-8")
    first, second = shlex.split(pairs(options(inventory))["UserKnownHostsFile"])
    assert (first, second) == (str(inventory.known_hosts), "~/.ssh/known_hosts")


def test_a_folder_with_a_space_in_its_name_keeps_its_keys(tmp_path: Path) -> None:
    """ssh splits UserKnownHostsFile at spaces, but for those inside double quotes."""
    inventory = inventory_of(tmp_path / "my cluster", spec_of(service_data()))
    inventory.known_hosts.parent.mkdir(parents=True)
    inventory.known_hosts.write_text("", encoding="utf-8")
    assert shlex.split(pairs(options(inventory))["UserKnownHostsFile"])[0] == str(inventory.known_hosts)


def test_connections_are_kept_in_a_private_folder(inventory: Inventory, tmp_path: Path) -> None:
    path = Path(pairs(options(inventory))["ControlPath"]).parent
    assert path == tmp_path / f"npuctl-{os.getuid()}"
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_read_is_refused(inventory: Inventory, tmp_path: Path) -> None:
    folder = tmp_path / f"npuctl-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(UsageError, match="not a private folder"):
        options(inventory)


def test_a_link_in_place_of_the_folder_is_refused(inventory: Inventory, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / f"npuctl-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="not a private folder"):
        options(inventory)


def test_the_remote_words_are_one_quoted_argument() -> None:
    argv = command(Host("a", "192.0.2.1"), ["-o", "X=1"], ["echo", "a b", "$(id)"])
    assert argv == ["ssh", "-T", "-o", "BatchMode=yes", "-o", "X=1", "--", "192.0.2.1", "echo 'a b' '$(id)'"]


def test_everything_that_the_inventory_says_of_a_host() -> None:
    host = Host("a", "addr", user="u", port=22, key_file="/k", ssh_args=("-J", "gate"))
    assert command(host, [], ["true"], terminal=True) == [
        *("ssh", "-tt", "-o", "BatchMode=yes", "-J", "gate", "-l", "u", "-p", "22"),
        *("-o", "IdentitiesOnly=yes", "-i", "/k", "--", "addr", "true"),
    ]


def test_an_address_that_looks_like_an_option_is_none() -> None:
    argv = command(Host("a", "-oProxyCommand=x"), [], ["true"])
    assert argv[argv.index("-oProxyCommand=x") - 1] == "--"


def test_becoming_another_user_without_a_password() -> None:
    host = Host("a", "a", connection="local", become=True, become_user="boss")
    assert command(host, [], ["id"]) == ["sudo", "-n", "-u", "boss", "--", "id"]


def test_the_password_is_never_an_argument() -> None:
    host = Host("a", "a", become=True, become_password=PASSWORD)
    argv = command(host, [], ["id"])
    assert "sudo -S -p '' -u root -- id" in argv[-1]
    assert PASSWORD not in " ".join(argv)
    assert PASSWORD not in repr(host)


@pytest.mark.parametrize(
    ("code", "text", "error", "hint"),
    [
        (255, "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "not the pinned one", "find out why"),
        (255, "Host key verification failed.", "the host key is not pinned", "compare the fingerprint"),
        (255, "u@h: Permission denied (publickey).", "SSH refused the key", "ansible_user"),
        (255, "ssh: Could not resolve hostname x: Name or service not known", "cannot be resolved", "ansible_host"),
        (255, "connect to host x port 22: Connection refused", "nothing listens", "sshd"),
        (255, "connect to host x port 22: Connection timed out", "does not answer", "network"),
        (255, "connect to host x port 22: No route to host", "does not answer", "network"),
        (1, "sudo: a password is required", "sudo wants a password", "ansible_become_password"),
        (1, "sudo: 1 incorrect password attempt", "sudo refused the password", "ansible_become_password"),
        (127, "bash: python3: command not found", "Python was not found", "ansible_python_interpreter"),
        (255, "something\nstrange\n\n", "ssh failed: strange", ""),
        (1, "Traceback\nKeyError: 'x'", "the program ended with 1: KeyError: 'x'", ""),
        (3, "", "the program ended with 3: no message", ""),
    ],
)  # fmt: skip
def test_a_failure_in_words(code: int, text: str, error: str, hint: str) -> None:
    answer = explain(Host("a", "a"), code, text)
    assert answer.node == "a"
    assert answer.data is None
    assert error in answer.error
    assert hint in answer.hint


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "Traceback\nPermissionError: [Errno 13] Permission denied: '/proc/1/fd'"),
        (126, "bash: /opt/python3: Permission denied"),
        (1, "Traceback\nConnectionRefusedError: [Errno 111] Connection refused"),
    ],
)
def test_a_failure_of_the_program_is_not_blamed_on_ssh(code: int, text: str) -> None:
    error = explain(Host("a", "a"), code, text).error
    assert "SSH" not in error
    assert "listens" not in error


def test_nodes_are_asked_and_answer(inventory: Inventory) -> None:
    asked: dict[str, dict[str, Any]] = {"a": {"x": 1}, "b": {"x": "ü"}}
    answers = {answer.node: answer for answer in ask(local(inventory, "a", "b"), ECHO, asked, seconds=20)}
    assert {name: answer.data["got"] for name, answer in answers.items()} == asked
    assert not any(answer.error for answer in answers.values())


def test_who_is_waited_for_is_told(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "_TELL_SECONDS", 0.05)
    slow = Program("slow", (("slow", "import time\ndef collect(request):\n    time.sleep(request)\n"),))
    told: list[str] = []
    requests: dict[str, Any] = {"quick": 0, "slow": 0.6}
    answers = list(ask(local(inventory, *requests), slow, requests, seconds=20, tell=told.append))
    assert [answer.node for answer in answers] == ["quick", "slow"]
    assert told[-1] == "1 of 2 answered; waiting for slow"


def test_nobody_is_asked_nothing(inventory: Inventory) -> None:
    assert list(ask(inventory, ECHO, {}, seconds=1)) == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("import time; time.sleep(20)", "no answer within 0.5 s"),
        ("raise ValueError('no')", "the program ended with 1: ValueError: no"),
        ("import os; os.write(1, b'motd'); os._exit(0)", "answered what is no JSON: b'motd'"),
        ("return {1, 2}", "the program ended with 1: TypeError"),
    ],
)
def test_a_program_that_fails_is_an_answer_with_an_error(inventory: Inventory, body: str, error: str) -> None:
    program = Program("bad", (("bad", f"def collect(request):\n    {body}\n"),))
    seconds = 0.5 if "sleep" in body else 20
    (answer,) = ask(local(inventory, "a"), program, {"a": {}}, seconds=seconds)
    assert error in answer.error


def test_a_python_that_is_not_there_is_an_error(inventory: Inventory) -> None:
    (answer,) = ask(local(inventory, "a", python="/nowhere/python3"), ECHO, {"a": {}}, seconds=5)
    assert "cannot start /nowhere/python3" in answer.error


def test_the_password_goes_to_sudo_alone(
    inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(
        tmp_path,
        monkeypatch,
        'read line\nprintf %s "$line" > $HOME/got\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n',
    )
    here = local(inventory, "a", become=True, become_password=PASSWORD)
    (answer,) = ask(here, ECHO, {"a": {"x": 1}}, seconds=20)
    assert (answer.error, answer.data) == ("", {"got": {"x": 1}})
    assert (tmp_path / "got").read_text(encoding="utf-8") == PASSWORD


def test_a_sudo_that_needs_no_password_does_not_spoil_the_request(
    inventory: Inventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NOPASSWD, or already root: sudo reads nothing, and the password stands before the request."""
    fake(tmp_path, monkeypatch, 'while [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    here = local(inventory, "a", become=True, become_password=PASSWORD)
    (answer,) = ask(here, ECHO, {"a": {"x": 1}}, seconds=20)
    assert (answer.error, answer.data) == ("", {"got": {"x": 1}})


def fake(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    sudo = folder / "sudo"
    sudo.write_text(f"#!/bin/bash\n{script}", encoding="utf-8")
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(folder))


def test_the_request_is_no_argument(inventory: Inventory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def run(argv: list[str], **given: Any) -> None:
        seen.append((argv, given))
        raise OSError("stop here")

    monkeypatch.setattr(subprocess, "run", run)
    list(ask(inventory, ECHO, {"node-1": {"api_key": "s3cret"}}, seconds=3))
    ((argv, given),) = seen
    assert "s3cret" not in " ".join(argv)
    assert json.loads(given["input"])["request"] == {"api_key": "s3cret"}
    assert given["timeout"] == 3
