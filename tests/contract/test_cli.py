"""The command line's contract: verbs, help without weight, exit codes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from types import ModuleType

import pytest

from npuctl import errors
from npuctl.cli.parser import build_parser, verb_names
from npuctl.errors import NpuctlError
from tests.making import REPOSITORY

HEAVY = ("ansible", "ansible_runner", "pydantic", "yaml", "rich", "jinja2", "cryptography")
HELP = """
import contextlib, io, json, sys
sys.path.insert(0, sys.argv[1])
from npuctl.__main__ import main
out = {}
for words in json.loads(sys.argv[2]):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            main(words)
        except SystemExit as error:
            out[" ".join(words)] = [error.code, text.getvalue()]
print(json.dumps({"out": out, "modules": sorted(sys.modules)}))
"""


def verb(name: str) -> ModuleType:
    return importlib.import_module(f"npuctl.cli.{name}")


@pytest.fixture(scope="module")
def helped() -> tuple[dict[str, tuple[int, str]], list[str]]:
    """What --help of npuctl and of every verb prints, and what was imported for it, in a fresh process."""
    calls = [["--help"], *([name, "--help"] for name in verb_names())]
    done = subprocess.run(
        [sys.executable, "-c", HELP, str(REPOSITORY), json.dumps(calls)],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    return answer["out"], answer["modules"]


def test_help_imports_nothing_heavy(helped: tuple[dict[str, tuple[int, str]], list[str]]) -> None:
    assert [name for name in HEAVY if name in helped[1]] == []


@pytest.mark.parametrize("name", verb_names())
def test_every_verb_has_help_and_an_example(
    name: str, helped: tuple[dict[str, tuple[int, str]], list[str]]
) -> None:
    code, text = helped[0][f"{name} --help"]
    assert code == 0
    module = verb(name)
    assert module.HELP in " ".join(text.split())
    assert f"example: npuctl {name}" in text
    assert "npuctl" in module.EXAMPLE
    assert callable(module.run)


def test_the_help_names_every_verb(helped: tuple[dict[str, tuple[int, str]], list[str]]) -> None:
    code, text = helped[0]["--help"]
    assert code == 0
    for name in verb_names():
        assert f"    {name}" in text


@pytest.mark.parametrize("name", verb_names())
def test_an_example_is_a_call_that_is_understood(name: str) -> None:
    for line in verb(name).EXAMPLE.splitlines():
        for call in line.strip().split(" && "):
            words = call.partition(" >")[0].rpartition("| ")[2].split()
            assert words[0] == "npuctl"
            build_parser().parse_args(words[1:])


def tree(base: type[NpuctlError] = NpuctlError) -> list[type[NpuctlError]]:
    return [found for kind in base.__subclasses__() for found in (kind, *tree(kind))]


def test_exit_codes_are_unique() -> None:
    own = [kind for kind in tree() if kind.__module__ == errors.__name__]
    codes = [kind.exit_code for kind in own]
    assert len(set(codes)) == len(codes)
    assert not {0, 1} & set(codes)
    assert NpuctlError.exit_code == 1


def test_every_other_error_has_the_code_of_its_kind() -> None:
    importlib.import_module("npuctl.operate.deploy")
    importlib.import_module("npuctl.spec.parse")
    for kind in tree():
        if kind.__module__ != errors.__name__:
            assert "exit_code" not in vars(kind)


@pytest.mark.parametrize(
    "kind", [k for k in tree() if k.__module__ == errors.__name__], ids=lambda kind: kind.__name__
)
def test_an_error_is_documented(kind: type[NpuctlError]) -> None:
    drawn = [line.split() for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line]
    assert drawn[0][1:3] == [kind.__name__, str(kind.exit_code)]
    page = (REPOSITORY / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    assert str(kind.exit_code) in page
    assert kind("no", hint="so").as_data() == {
        "code": kind.__name__,
        "message": "no",
        "hint": "so",
        "exit_code": kind.exit_code,
    }
