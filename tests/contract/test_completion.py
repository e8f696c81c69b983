"""The completion scripts know every verb, option and choice of the parser, and shells accept them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from npuctl.__main__ import main
from npuctl.cli.completion import Command, bash_script, command_tree, fish_script, zsh_script
from npuctl.cli.parser import build_parser, verb_names

TREE = command_tree(build_parser())
_COMPLETE = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _npuctl 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


def commands(command: Command = TREE) -> Iterator[Command]:
    yield command
    for below in command.commands:
        yield from commands(below)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "npuctl"
    path.write_text(bash_script(TREE), encoding="utf-8")
    return path


def complete(script: Path, *words: str, folder: Path | None = None) -> list[str]:
    """What bash offers for the last of these words."""
    if shutil.which("bash") is None:
        pytest.skip("not run: bash is not installed")
    argv = ["bash", "--norc", "-c", _COMPLETE, "try", str(script), "npuctl", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=folder)
    return done.stdout.split()


def test_the_tree_holds_every_verb() -> None:
    assert [command.path for command in TREE.commands] == [(name,) for name in verb_names()]


def test_bash_offers_every_verb_and_alias(script: Path) -> None:
    assert {*verb_names(), "status"} == set(complete(script, ""))


@pytest.mark.parametrize(
    "command", [entry for entry in commands() if entry.path], ids=lambda entry: entry.path[-1]
)
def test_bash_offers_every_option_of_a_command(script: Path, command: Command) -> None:
    wanted = {flag for option in command.options for flag in option.flags}
    assert set(complete(script, *command.path, "-")) == wanted


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("deploy", "--output", ""), ("text", "json")),
        (("deploy", "--output", "=", "j"), ("json",)),
        (("sandbox", ""), ("up", "status", "down", "fault", "packages", "mirror-log")),
        (("sandbox", "up", "--product", ""), ("a2", "a3", "310p")),
        (("status", "inventories/prod", "--ser"), ("--service",)),
        (("deploy", "--service", "plan", "--fo"), ()),
        (("completion", ""), ("bash", "zsh", "fish")),
    ],
    ids=lambda words: " ".join(sorted(words) if isinstance(words, set) else words),
)
def test_bash_offers_what_fits_here(script: Path, words: tuple[str, ...], offered: tuple[str, ...]) -> None:
    assert complete(script, *words) == list(offered)


def test_bash_offers_folders_for_an_inventory_and_files_for_facts(script: Path, tmp_path: Path) -> None:
    (tmp_path / "inventories" / "prod").mkdir(parents=True)
    (tmp_path / "facts.json").touch()
    assert complete(script, "deploy", "", folder=tmp_path) == ["inventories"]
    assert complete(script, "deploy", "inventories/", folder=tmp_path) == ["inventories/prod"]
    assert complete(script, "plan", "--facts", "fa", folder=tmp_path) == ["facts.json"]


@pytest.mark.parametrize(("shell", "make"), [("zsh", zsh_script), ("fish", fish_script)], ids=["zsh", "fish"])
def test_zsh_and_fish_take_their_script(shell: str, make: object, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"not run: {shell} is not installed")
    path = tmp_path / "script"
    path.write_text(make(TREE) if callable(make) else "", encoding="utf-8")
    subprocess.run([shell, "-n", str(path)], check=True, capture_output=True)


def test_the_verb_prints_the_script_of_each_shell(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, make in {"bash": bash_script, "zsh": zsh_script, "fish": fish_script}.items():
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == make(TREE)
