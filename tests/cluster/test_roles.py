"""The roles by themselves: a play that is run again, as docs/contributing/architecture.md says, changes nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster
REPOSITORY = Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^(node-\d) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


def replay(
    cluster: Cluster, plan: Path, *words: str, playbook: str = "apply.yml"
) -> dict[str, tuple[int, ...]]:
    """Run a recorded play with ansible-playbook; node → ok, changed, unreachable, failed."""
    known = f"-o UserKnownHostsFile={cluster.inventory / '.ssh' / 'known_hosts'}"
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            *("-i", str(cluster.inventory), "-i", str(plan), *words, f"playbooks/{playbook}"),
        ],
        cwd=REPOSITORY,
        env={**cluster.environment(), "ANSIBLE_SSH_ARGS": known},
        capture_output=True,
        text=True,
        check=False,
    )
    found = {match[1]: tuple(map(int, match.groups()[1:])) for match in RECAP.finditer(done.stdout)}
    assert found, done.stdout + done.stderr
    return found


def test_the_same_play_again_changes_nothing(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.run("deploy")
    (plan,) = (cluster.inventory / ".npuctl" / "runs").glob("*/plan-1.json")
    started = [node.started() for node in cluster.nodes]
    for words in ([], ["--check"]):
        recap = replay(cluster, plan, *words)
        assert set(recap) == {"node-1", "node-2", "node-3"}
        assert all(
            ok > 0 and (changed, lost, failed) == (0, 0, 0) for ok, changed, lost, failed in recap.values()
        )
    assert [node.started() for node in cluster.nodes] == started


def test_check_mode_on_fresh_nodes_says_what_the_play_then_does(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.run("deploy", "--check")
    (plan,) = (cluster.inventory / ".npuctl" / "runs").glob("*/plan-1.json")
    said = {node: recap[1] for node, recap in replay(cluster, plan, "--check").items()}
    assert [node.containers() for node in cluster.nodes] == [{}, {}, {}]
    did = {node: recap[1] for node, recap in replay(cluster, plan).items()}
    assert said == did


def test_facts_can_be_read_by_ansible_as_well(cluster: Cluster) -> None:
    recap = replay(cluster, cluster.inventory, playbook="facts.yml")
    assert {node: counts[1:] for node, counts in recap.items()} == dict.fromkeys(recap, (0, 0, 0))
    assert set(recap) == {"node-1", "node-2", "node-3"}
