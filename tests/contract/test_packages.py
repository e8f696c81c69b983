"""Every module imports alone; the wheel holds what is not Python."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
import zipfile

import pytest

import npuctl
from tests.making import REPOSITORY

# One fresh process for each package; inside it every module is imported with npuctl forgotten before it,
# so that no module leans on what another one imported.
ALONE = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    for known in [known for known in sys.modules if known.split(".")[0] == "npuctl"]:
        del sys.modules[known]
    importlib.import_module(name)
"""


def modules() -> dict[str, list[str]]:
    packages: dict[str, list[str]] = {}
    for found in pkgutil.walk_packages(npuctl.__path__, "npuctl."):
        packages.setdefault(".".join(found.name.split(".")[:2]), []).append(found.name)
    return packages


@pytest.mark.parametrize("package", sorted(modules()))
def test_every_module_imports_alone(package: str) -> None:
    argv = [sys.executable, "-W", "error", "-c", ALONE, str(REPOSITORY), *modules()[package]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*argv, "--wheel-dir", str(folder)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if "No matching distribution found" in done.stderr or "Could not find a version" in done.stderr:
        pytest.skip("not run: pip cannot get hatchling (no package index within reach)")
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return archive.namelist()


def test_the_wheel_holds_all_that_is_not_python_and_nothing_private(wheel: list[str]) -> None:
    """One test, so that the wheel is built once; sandboxes write keys, locks and journals into inventories/."""
    wanted = [
        f"npuctl/_content/{path.relative_to(REPOSITORY)}"
        for folder in ("playbooks", "roles", "library", "sandbox", "templates")
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]
    wanted += [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "npuctl/data").rglob("*.json")]
    wanted += [
        "npuctl/_content/ansible.cfg",
        "npuctl/__main__.py",
    ]
    private = ("/.ssh/", "/.npuctl/", "id_ed25519", "vault.yml", "__pycache__")
    unwanted = [name for name in wheel if any(part in name for part in private) or name.startswith("tests/")]
    assert {"missing": sorted(set(wanted) - set(wheel)), "unwanted": unwanted} == {
        "missing": [],
        "unwanted": [],
    }
