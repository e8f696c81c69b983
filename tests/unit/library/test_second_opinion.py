"""The tool is asked in a folder of its own: found wherever it may be, ended in time, and nothing is left."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TELL = """
import json, os, sys
open("msprechecker_env.sh", "w").write("export A=1")
seen = {name: os.environ.get(name) for name in ("HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "PYTHONUSERBASE")}
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "files": os.listdir("."), **seen}), file=sys.stderr)
"""


@pytest.fixture
def module(
    library_module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    """The module, on a machine without the tool."""
    loaded: Any = library_module("npuctl_second_opinion")
    monkeypatch.setattr(loaded, "FOLDERS", ("/usr/bin", "/bin"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(loaded.tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return loaded


def install(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    program = folder / "msprechecker"
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)


def test_without_the_tool_nothing_is_asked_and_nothing_is_left(module: Any, tmp_path: Path) -> None:
    assert module.collect(5) == []
    assert list((tmp_path / "temporary").iterdir()) == []


def test_it_runs_in_a_folder_of_its_own_that_is_gone_afterwards(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", f"#!{sys.executable}\n{TELL}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin")
    (answer,) = module.collect(20)
    said = json.loads(answer["stderr"])
    assert (answer["tool"], answer["rc"], said["argv"]) == ("msprechecker", 0, ["precheck"])
    assert said["cwd"] == said["HOME"] == said["TMPDIR"]
    assert said["cwd"].startswith(str(tmp_path / "temporary"))
    assert said["files"] == ["msprechecker_env.sh"]
    assert said["PYTHONDONTWRITEBYTECODE"] == "1"
    assert said["PYTHONUSERBASE"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_user_s_own_installation_is_found(module: Any, tmp_path: Path) -> None:
    install(tmp_path / "home" / ".local" / "bin", "#!/bin/sh\necho hello\n")
    (answer,) = module.collect(20)
    assert (answer["stdout"], answer["version"]) == ("hello\n", "")


def test_a_package_without_a_program_is_started_by_its_function(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "msprechecker"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "cli.py").write_text(
        "import sys\ndef main():\n    print(sys.argv)\n    return 3\n", encoding="utf-8"
    )
    info = tmp_path / "site" / "msprechecker-0.4.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: msprechecker\nVersion: 0.4.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    (answer,) = module.collect(20)
    assert (answer["version"], answer["rc"]) == ("0.4.0", 3)
    assert answer["stdout"] == "['msprechecker', 'precheck']\n"
    assert not list(package.glob("__pycache__"))


def test_one_that_does_not_end_is_ended_with_all_that_it_started(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", f"#!/bin/sh\nsleep 300 & echo $! > {tmp_path}/child\nwait\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    began = time.monotonic()
    (answer,) = module.collect(1)
    assert time.monotonic() - began < 10
    assert answer["rc"] is None
    assert "msprechecker did not end within 1 s" in answer["stderr"]
    assert is_gone(int((tmp_path / "child").read_text()))
    assert list((tmp_path / "temporary").iterdir()) == []


def test_what_it_leaves_running_is_ended(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", f"#!/bin/sh\nsleep 300 >/dev/null 2>&1 & echo $! > {tmp_path}/child\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (answer,) = module.collect(20)
    assert answer["rc"] == 0
    assert is_gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(
    ("head", "interpreter"),
    [
        ("#!/opt/conda/bin/python3.11\n", "/opt/conda/bin/python3.11"),
        ("#!/usr/bin/env python3\n", "python3"),
        ("#!/bin/sh\n'''exec' /very/long/bin/python3 \"$0\" \"$@\"\n", "/very/long/bin/python3"),
        ("#!/bin/sh\nexec something\n", ""),
        ("", ""),
    ],
)
def test_the_python_of_a_script(module: Any, tmp_path: Path, head: str, interpreter: str) -> None:
    install(tmp_path / "bin", head)
    assert module.interpreter_of(str(tmp_path / "bin" / "msprechecker")) == interpreter


def is_gone(pid: int) -> bool:
    """Whether the process is dead, or waits to be buried by this machine's first process."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False
