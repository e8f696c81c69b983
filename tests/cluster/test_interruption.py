"""Whatever ends npuctl, the next run converges, and the journal tells what happened."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def _processes_of(cluster: Cluster) -> list[str]:
    """Processes of this machine that work for a run of this cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(cluster.inventory) in line and "[mux]" not in line and int(path.parent.name) != os.getpid():
            found.append(line)
    return found


def _changing(text: str) -> bool:
    return '"status": "changed"' in text


def _waiting(text: str) -> bool:
    return '"state": "starting"' in text


@pytest.mark.parametrize("moment", [_changing, _waiting], ids=["in-the-play", "while-it-waits-for-tokens"])
def test_ctrl_c_ends_the_deploy_truthfully_and_the_next_one_converges(
    cluster: Cluster, moment: Callable[[str], bool]
) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3, env={"SIM_VLLM_LOAD_SECONDS": 12}))
    deploy = cluster.begin("deploy", "--output", "json")
    deploy.until(moment)
    deploy.interrupt()
    ended = deploy.finish()
    assert ended.code == 130, str(ended)
    assert "interrupted" in ended.text
    assert cluster.journal()[-1]["event"] == "interrupted"
    cluster.wait(lambda: not _processes_of(cluster))
    cluster.run("deploy")
    cluster.wait(lambda: set(cluster.states().values()) == {"ready"})
    assert "nothing to do" in cluster.run("deploy").stdout


@pytest.mark.parametrize("moment", [_changing, _waiting], ids=["in-the-play", "while-it-waits-for-tokens"])
def test_a_killed_npuctl_leaves_no_lock_and_the_next_deploy_converges(
    cluster: Cluster, moment: Callable[[str], bool]
) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3, env={"SIM_VLLM_LOAD_SECONDS": 4}))
    cluster.env["SOME_TOKEN"] = "canary-environment-31"
    deploy = cluster.begin("deploy", "--output", "json")
    deploy.until(moment)
    deploy.process.send_signal(signal.SIGKILL)
    assert deploy.finish().code == -signal.SIGKILL
    assert [line["event"] for line in cluster.journal()] == ["begun"]
    # Nothing of the killed run goes on changing nodes behind the next one's back.
    cluster.wait(lambda: not _processes_of(cluster), seconds=30)
    cluster.run("deploy")
    kept = [
        path for path in cluster.inventory.rglob("*") if path.is_file() and b"canary-" in path.read_bytes()
    ]
    assert not kept, f"the environment of the killed run is still kept in {kept}"
    assert [list(node.containers().values()) for node in cluster.nodes] == [["running"]] * 3
    cluster.wait(lambda: set(cluster.states().values()) == {"ready"})
    assert "nothing to do" in cluster.run("deploy").stdout


def test_only_one_npuctl_changes_a_cluster_and_looks_work_meanwhile(cluster: Cluster) -> None:
    cluster.write(cluster.service(env={"SIM_VLLM_LOAD_SECONDS": 12}))
    first = cluster.begin("deploy", "--output", "json")
    first.until(_waiting)
    for verb in (["deploy"], ["stop"], ["start"], ["teardown", "--yes"]):
        refused = cluster.run(*verb, expect=8)
        assert f"(pid {first.process.pid})" in refused.text
        assert "npuctl deploy" in refused.text
    data = cluster.run("deploy", "--output", "json", expect=8).data
    assert (data["type"], data["code"]) == ("error", "LockedError")
    assert cluster.states() == {"chat-0": "starting"}
    assert "nothing to do" in cluster.run("plan").stdout
    cluster.run("logs")
    ended = first.finish()
    assert ended.code == 0, str(ended)
    assert cluster.node("node-1").complete(8000)[0] == 200


def test_a_node_that_reboots_in_the_middle_is_named_and_caught_up(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3, token_within_seconds=5))
    deploy = cluster.begin("deploy", "--output", "json")
    deploy.until(lambda text: '"stage": "apply"' in text)
    subprocess.run(
        ["docker", "restart", "--time", "0", cluster.node("node-2").container],
        check=True,
        capture_output=True,
    )
    ended = deploy.finish()
    assert ended.code in {0, 4, 5, 6}, str(ended)
    if ended.code:
        assert "node-2" in ended.text
    node = cluster.node("node-2")
    cluster.wait(lambda: node.sh("docker version >/dev/null 2>&1 && echo up", check=False))
    cluster.close_connections()
    cluster.wait(lambda: cluster.run("check", expect=None).code == 0)
    cluster.run("deploy")
    cluster.wait(lambda: set(cluster.states().values()) == {"ready"})
