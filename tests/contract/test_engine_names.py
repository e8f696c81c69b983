"""An engine's name stands in its own modules, role, data and golden folder, and nowhere else."""

from __future__ import annotations

import re
import subprocess

import pytest

from npuctl import engines
from tests.making import REPOSITORY

# Words about an engine, not code that knows it: the sandbox's stand-in images, examples, docs, tests, tools
# that make the data, and vendor citations in comments.
FREE = (
    "npuctl/data/",
    "npuctl/sandbox/",
    "sandbox/",
    "inventories/",
    "docs/",
    "changes/",
    "tests/",
    "benchmarks/",
    "tools/",
    "README",
    "Makefile",
    "pyproject.toml",
    ".ansible-lint",
    ".gitignore",
)


def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not run: this is no git checkout")
    return done.stdout.splitlines()


@pytest.mark.parametrize("engine", engines.names())
def test_nothing_else_knows_the_engine(engine: str) -> None:
    own = (f"npuctl/engines/{engine}.py", f"npuctl/engines/_{engine}_", f"roles/engine_{engine}/")
    found = []
    for name in tracked():
        file = REPOSITORY / name
        if name.startswith((*FREE, *own)) or not file.is_file():
            continue
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [
            f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if names(engine, line)
        ]
    assert found == []


def names(engine: str, line: str) -> bool:
    """Whether code on this line names the engine; sources in comments and docstrings may."""
    code = re.sub(r"#.*", "", line)
    code = re.sub(rf"{engine}-ascend|{engine}-project|\({engine}[^)]*\)", "", code, flags=re.IGNORECASE)
    return bool(re.search(rf"\b{engine}\b|engine_{engine}|\"{engine}", code))
