"""Ready means a token; stopped means proven. What an engine does wrong is said as what it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def test_an_engine_that_exits_at_once_fails_at_once_with_its_last_words(cluster: Cluster) -> None:
    cluster.write(cluster.service(ready_within_seconds=1000))
    cluster.fault("node-1", "engine-exit-at-start")
    done = cluster.run("deploy", expect=6)  # the harness itself gives up long before 1000 s
    assert "NPU out of memory" in done.stdout
    cluster.wait(lambda: cluster.states() == {"chat-0": "dead"})
    assert "ends again and again" in cluster.health_of("chat-0")["detail"]
    # It is as planned, and it is no success: a second deploy must not say that all is well.
    again = cluster.run("deploy", expect=None)
    assert again.code == 6, f"the engine ends again and again, and deploy says: {again}"
    cluster.mend("node-1", "engine-exit-at-start")
    cluster.wait(lambda: cluster.node("node-1").complete(8000)[0] == 200)
    cluster.run("deploy")


def test_an_engine_that_never_gets_ready_fails_after_its_time(cluster: Cluster) -> None:
    cluster.node("node-1").sh(
        'echo \'[{"fault": "never-ready", "model": "npuctl/slow"}]\' > /var/lib/npusim/engine-faults.json'
    )
    try:
        slow = cluster.service(
            ready_within_seconds=6, model={"id": "npuctl/slow", "path": "/data/models/tiny"}
        )
        cluster.write(slow, cluster.service("fine", port=8100))
        data = cluster.run("deploy", "--output", "json", expect=6).data
        states = {entry["replica"]: entry for entry in data["replicas"]}
        assert states["chat-0"]["state"] in {"starting", "hung"}
        assert states["chat-0"]["log"]
        assert states["fine-0"]["state"] == "ready"
        time.sleep(3)
        assert cluster.health_of("chat-0")["state"] == "hung"
        assert "ready_within_seconds" in cluster.health_of("chat-0")["detail"]
    finally:
        cluster.node("node-1").sh("rm -f /var/lib/npusim/engine-faults.json")


def test_an_engine_without_a_token_is_hung_not_ready(cluster: Cluster) -> None:
    cluster.write(cluster.service(token_within_seconds=1))
    cluster.fault("node-1", "engine-hang")
    data = cluster.run("deploy", "--output", "json", expect=6).data
    assert [entry["state"] for entry in data["replicas"]] == ["hung"]
    assert cluster.node("node-1").ask(8000, "/health")[0] == 200
    assert "no token within 1 s" in cluster.health_of("chat-0")["detail"]
    cluster.mend("node-1", "engine-hang")
    assert cluster.states() == {"chat-0": "ready"}


def test_an_engine_deaf_to_sigterm_is_stopped_with_proof_all_the_same(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    idle = node.hbm()
    cluster.write(cluster.service(topology={"tensor_parallel": 2}, stop_grace_seconds=2))
    cluster.run("deploy")
    cluster.fault("node-1", "engine-ignore-sigterm")
    data = cluster.run("stop", "--output", "json").data
    assert all(entry["holds"] for entry in data["evidence"])
    assert node.inspect("npuctl-ct-chat-0")["State"]["ExitCode"] == 137
    assert (node.holders(), node.hbm(), node.listens(8000)) == ([], idle, False)


def test_memory_that_no_process_owns_makes_a_stop_unproven(cluster: Cluster) -> None:
    cluster.write(cluster.service(chips=[2]))
    cluster.run("deploy")
    cluster.fault("node-1", "hbm-leak", "--chip", "2", "--value", "30000")
    done = cluster.run("stop", expect=4)
    assert "NOT HBM of chip 2" in done.stdout
    assert "NOT proven stopped" in done.stdout
    assert cluster.node("node-1").containers() == {"npuctl-ct-chat-0": "exited"}


def test_health_tells_the_states_apart(cluster: Cluster) -> None:
    """Eight replicas on three nodes, each in a state of its own."""
    (cluster.inventory / "group_vars/all/vault.yml").write_text("npuctl_secrets: {key: right}\n")
    node = cluster.node("node-1")

    def named(name: str, port: int, **changes: object) -> dict[str, object]:
        model = {"id": f"npuctl/{name}", "path": "/data/models/tiny"}
        return cluster.service(name, port=port, **{"model": model, "token_within_seconds": 2, **changes})

    services = [
        named("fine", 8000),
        named("hung", 8010),
        named("gone", 8020),
        named("keyed", 8030, api_key={"secret": "key"}),
        named("other", 8040),
        named("halted", 8050),
        named("failing", 8060),
        named("far", 8070, hosts=["node-2"]),
    ]
    cluster.write(*services)
    cluster.run("deploy")
    assert set(cluster.states().values()) == {"ready"}

    faults = (
        '["x", {"fault": "hang", "model": "npuctl/hung"}, {"fault": "http-500", "model": "npuctl/failing"}]'
    )
    node.sh(f"echo '{faults}' > /var/lib/npusim/engine-faults.json")
    node.sh("docker rm -f npuctl-ct-gone-0")
    (cluster.inventory / "group_vars/all/vault.yml").write_text("npuctl_secrets: {key: wrong}\n")
    services[4] = named("other", 8040, model={"id": "npuctl/another", "path": "/data/models/tiny"})
    cluster.run("stop", "--service", "halted")
    cluster.fault("node-2", "unreachable")
    cluster.close_connections()
    services.append(named("new", 8080, hosts=["node-3"]))
    cluster.write(*services)
    try:
        assert cluster.states() == {
            "fine-0": "ready",
            "hung-0": "hung",
            "gone-0": "dead",
            "keyed-0": "degraded",
            "other-0": "degraded",
            "halted-0": "stopped",
            "failing-0": "degraded",
            "far-0": "unreachable",
            "new-0": "stopped",
        }
        text = cluster.run("health", expect=6).stdout
        assert "refuses the API key" in text
        assert "does not serve 'npuctl/another'" in text
        assert "got 500" in text
        assert "not deployed" in text
    finally:
        node.sh("rm -f /var/lib/npusim/engine-faults.json")


def test_an_engine_core_that_dies_is_seen_and_started_again(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    cluster.write(cluster.service(env={"SIM_VLLM_DEAD_SECONDS": 8}))
    cluster.run("deploy")
    node.sh("pkill -9 -f VLLM::[E]ngineCore")
    cluster.wait(lambda: node.ask(8000, "/health")[0] == 503, seconds=6)
    seen = cluster.health_of("chat-0")
    assert seen["state"] in {"dead", "starting"}
    cluster.wait(lambda: node.complete(8000)[0] == 200)
    after = cluster.health_of("chat-0")
    assert (after["state"], after["restarts"]) == ("ready", 1)
