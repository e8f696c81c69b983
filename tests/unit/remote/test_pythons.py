"""A node whose Python is missing or too old is told so, with the Pythons that it has."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from npuctl.remote.program import BOOTSTRAP, LIVE_BOOTSTRAP, OLDEST_PYTHON, PYTHON_OPTIONS, load_program
from npuctl.remote.pythons import LIST_PYTHONS, remedy, trouble


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("npuctl: Python 3.7.9 is too old\n", "its python3 is Python 3.7.9, too old"),
        ("Unknown option: -I\nusage: python3 [option] ...", "Python 2"),
        ("bash: line 1: python3: command not found", "not found on the node as python3"),
        ("sh: 1: python3: not found", "not found"),
        ("sudo: python3: command not found", "not found"),
        ("zsh: command not found: python3", "not found"),
        ("Traceback\nModuleNotFoundError: No module named 'x'", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/usr/lib/python3/x'", ""),
        ("sudo: a password is required", ""),
        ("bash: sudo: command not found", ""),
    ],
)
def test_how_a_start_ended(text: str, said: str) -> None:
    found = trouble("python3", text)
    assert said in found
    assert bool(found) == bool(said)


def test_a_python_by_its_path() -> None:
    assert trouble("/usr/bin/python3.9", "bash: /usr/bin/python3.9: No such file or directory")


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (
            "python 3.7.9 /usr/bin/python3\npython 3.9.9 /usr/bin/python3.9\npython 3.11.2 /opt/x/bin/python3\nmanager dnf\n",
            ["it has /usr/bin/python3 (3.7.9)", "ansible_python_interpreter: /opt/x/bin/python3 for node-1"],
        ),
        (
            "python 3.6.8 /usr/bin/python3\nmanager dnf\nmanager yum\n",
            ["only /usr/bin/python3 (3.6.8)", "dnf install"],
        ),
        ("manager apt-get\n", ["install Python 3.8 or newer", "apt-get install -y python3"]),
        ("", ["with its system's package manager"]),
        ("motd of this machine\npython x y\npython\n", ["with its system's package manager"]),
    ],
)
def test_the_remedy_follows_from_what_is_there(listing: str, words: list[str]) -> None:
    found = remedy(listing, "node-1")
    assert all(word in found for word in words), found


def test_the_list_of_pythons_finds_this_one() -> None:
    done = subprocess.run(["sh", "-c", LIST_PYTHONS], capture_output=True, text=True, check=True)
    assert any(line.startswith("python 3.") for line in done.stdout.splitlines())
    assert not done.stderr


@pytest.mark.parametrize("version", [(3, 4), (3, 7)])
def test_an_old_python_can_read_the_bootstrap(version: tuple[int, int]) -> None:
    ast.parse(BOOTSTRAP, feature_version=version)
    ast.parse(LIVE_BOOTSTRAP, feature_version=version)


def test_an_old_python_says_what_it_is_before_it_reads_anything(tmp_path: Path) -> None:
    pretend = f"import sys; sys.version_info = (3, 7, 9, 'final', 0)\n{BOOTSTRAP}"
    given = load_program("npuctl_facts").standard_input({})
    done = subprocess.run(
        [sys.executable, *PYTHON_OPTIONS, pretend], input=given, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert trouble("python3", done.stderr.decode()).startswith("its python3 is Python 3.7.9")


@pytest.mark.parametrize("path", sorted(Path("library").rglob("*.py")), ids=str)
def test_what_runs_on_nodes_is_written_for_the_oldest_python(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=OLDEST_PYTHON)
