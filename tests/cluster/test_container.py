"""What a container is given: what was planned, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster
NAME = "npuctl-ct-chat-0"
NEEDED_DEVICES = {"/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}


def _planned(cluster: Cluster) -> dict[str, Any]:
    (replica,) = cluster.run("plan", "--output", "json").data["replicas"]
    container: dict[str, Any] = replica["container"]
    return container


def test_the_container_has_what_was_planned_and_no_rights_beyond(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    cluster.write(
        cluster.service(topology={"tensor_parallel": 2}, chips=[5, 4], shm_gib=3, env={"OMP_NUM_THREADS": 1})
    )
    cluster.run("deploy")
    planned, described = _planned(cluster), node.inspect(NAME)
    host, config = described["HostConfig"], described["Config"]

    assert host["Privileged"] is False
    assert not host["CapAdd"]
    assert host["Init"] is True
    assert host["NetworkMode"] == "host"
    assert host["PidMode"] == ""
    assert host["IpcMode"] in {"private", "shareable"}
    assert host["RestartPolicy"]["Name"] == "always"
    assert host["ShmSize"] == 3 * 2**30
    devices = {(entry["PathOnHost"], entry["PathInContainer"]) for entry in host["Devices"]}
    paths = {"/dev/davinci4", "/dev/davinci5"} | NEEDED_DEVICES
    assert devices == {(path, path) for path in paths}
    mounts = {(mount["Source"], mount["Destination"], mount["RW"]) for mount in described["Mounts"]}
    assert mounts == {(m["source"], m["target"], not m["read_only"]) for m in planned["mounts"]}
    assert ("/data/models/tiny", "/data/models/tiny", False) in mounts
    assert not any("docker.sock" in source for source, _target, _writable in mounts)
    assert config["Cmd"] == planned["argv"]
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment.items() >= planned["env"].items()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["ASCEND_VISIBLE_DEVICES"] == "5,4"
    # Only those chips are held, and inside only those are seen.
    assert {chip for _pid, chip in node.holders()} == {4, 5}
    inside = node.sh(f"docker exec {NAME} sh -c 'ls -d /dev/davinci[0-9]*'").split()
    assert inside == ["/dev/davinci4", "/dev/davinci5"]
    # What npuctl wrote on the node belongs to root and can be written by nobody else.
    written = node.sh("find /etc/npuctl -printf '%u:%g %m %p\\n'").splitlines()
    assert all(line.startswith("root:root ") for line in written)
    assert node.sh("find /etc/npuctl -perm /022") == ""


def test_a_stopped_service_stays_stopped_over_restarts_and_a_started_one_comes_back(cluster: Cluster) -> None:
    node = cluster.node("node-1")
    cluster.write(cluster.service())
    cluster.run("deploy")
    cluster.run("stop")
    assert node.inspect(NAME)["HostConfig"]["RestartPolicy"]["Name"] == "no"
    node.sh("systemctl restart docker")
    cluster.wait(lambda: node.sh("docker version >/dev/null 2>&1 && echo up", check=False))
    assert node.containers() == {NAME: "exited"}
    cluster.fault("node-1", "reboot")
    assert node.containers() == {NAME: "exited"}
    assert cluster.states() == {"chat-0": "stopped"}

    cluster.run("start")
    assert node.inspect(NAME)["HostConfig"]["RestartPolicy"]["Name"] == "always"
    cluster.fault("node-1", "reboot")
    cluster.wait(lambda: node.complete(8000)[0] == 200)
    assert cluster.states() == {"chat-0": "ready"}
    assert "nothing to do" in cluster.run("deploy").stdout


def test_a_container_that_is_not_ours_is_never_touched(cluster: Cluster) -> None:
    service = cluster.service()
    node = cluster.node("node-1")
    node.sh(f"docker run -d --name {NAME} {service['image']} sleep 86400")
    before = node.started()
    try:
        cluster.write(service)
        refused = cluster.run("deploy", expect=4)
        assert NAME in refused.text
        assert "not touched" in refused.text
        cluster.run("stop")
        cluster.run("teardown", "--yes")
        assert node.started() == before
    finally:
        node.sh(f"docker rm -f {NAME}")
