"""The real msprechecker on a node: what it finds is merged under its name, and it leaves the node as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster, Node

pytestmark = pytest.mark.cluster

PACKAGE = "msprechecker==0.4.0"
SITE = "/usr/local/lib/python3.11/dist-packages"
PROGRAM = "/usr/local/bin/msprechecker"
_START = "#!/usr/bin/python3\nimport sys\nfrom msprechecker.cli import main\nsys.exit(main())\n"
# Everything that a tool might write to; Docker's and the journal's own go on by themselves.
_PLACES = "/etc /root /home /tmp /var/tmp /usr/local /opt /var/cache"
# Of /tmp itself the time changes with each folder that is made in it and removed again.
_TREE = f"find {_PLACES} -xdev ! -path /tmp -printf '%p %y %m %s %T@\\n' | sort"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tool with what it needs, for the Python of the nodes."""
    folder = tmp_path_factory.mktemp("msprechecker")
    options = ["--python-version", "3.11", "--only-binary=:all:", "--no-compile", "--quiet"]
    pip = [sys.executable, "-m", "pip", "install", "--target", str(folder), *options, PACKAGE]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"pip cannot get {PACKAGE}: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture
def node_with_tool(cluster: Cluster, wheels: Path) -> Iterator[Node]:
    """node-1 with the tool installed, as pip does it."""
    node = cluster.node("node-1")
    subprocess.run(
        ["docker", "cp", f"{wheels}/.", f"{node.container}:{SITE}"], check=True, capture_output=True
    )
    node.sh(f"printf '%s' '{_START}' > {PROGRAM}; chmod 755 {PROGRAM}")
    yield node
    node.sh(f"rm -rf {PROGRAM} {SITE}; mkdir {SITE}")


def test_its_findings_are_warnings_under_its_name_and_the_node_stays_as_it_was(
    cluster: Cluster, node_with_tool: Node
) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.fault("node-1", "thp")  # of which it has an opinion, wherever this runs
    own_words = node_with_tool.sh(f"cd $(mktemp -d) && PYTHONDONTWRITEBYTECODE=1 {PROGRAM} precheck 2>&1")
    before = node_with_tool.sh(_TREE)

    data = cluster.run("check", "--output", "json").data  # ends with 0: warnings refuse nothing

    assert node_with_tool.sh(_TREE) == before
    theirs = [entry for entry in data["findings"] if entry["id"] == "second_opinion.msprechecker"]
    assert {entry["origin"] for entry in theirs} == {"msprechecker 0.4.0"}
    assert {entry["severity"] for entry in theirs} == {"warning"}
    assert {entry["node"] for entry in theirs} == {"node-1"}
    seen = [entry["seen"] for entry in theirs]
    assert "transparent_hugepage: never [RECOMMEND]" in seen
    assert len(set(seen)) == len(seen)
    for text in seen:
        assert text.partition(":")[0] in own_words
    others = {entry["origin"] for entry in data["findings"] if entry not in theirs}
    assert others <= {"npuctl"}


def test_where_it_is_not_installed_nobody_speaks_of_it(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    assert "msprechecker" not in cluster.run("check", "--output", "json").text
