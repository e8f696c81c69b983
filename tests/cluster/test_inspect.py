"""`npuctl inspect`: everything about every node in one look; what is broken on a node is a fact, not a failure."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster


def inspect(cluster: Cluster, *words: str, expect: int = 0) -> dict[str, Any]:
    """Node → facts."""
    nodes: dict[str, Any] = cluster.run("inspect", "--output", "json", *words, expect=expect).data["nodes"]
    return nodes


def test_a_healthy_node_is_read_whole(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    node = cluster.node("node-1")
    found = inspect(cluster, "--limit", "node-1")["node-1"]
    survey = found["survey"]
    assert set(survey["unread"]) <= {"PCI bus"}  # where the nodes simulate no bus
    assert [chip["health"] for chip in survey["chips"]] == ["OK"] * 8
    shown = [node.sh(f"/usr/local/Ascend/driver/tools/hccn_tool -i {chip} -ip -g") for chip in range(8)]
    assert [f"ipaddr:{port['address']}\nnetmask:{port['netmask']}\n" for port in survey["ports"]] == shown
    assert {(port["link"], port["net_health"], port["tls_switch"]) for port in survey["ports"]} == {
        ("UP", "Success", 0)
    }
    configured = {port["chip"]: port["address"] for port in survey["configured_ports"]}
    assert configured == {port["chip"]: port["address"] for port in survey["ports"]}
    assert {card["compatibility"] for card in survey["cards"]} == {"OK"}

    host = survey["host"]
    nics = {nic["name"]: nic for nic in host["nics"]}
    assert nics["eth0"]["addresses"] == [node.address]
    assert host["hostname_addresses"] == [node.address]
    # The nodes have this machine's clock.
    assert abs(host["clock_offset_seconds"]) <= host["clock_doubt_seconds"] + 0.01
    docker = json.loads(node.sh("docker info --format '{{json .}}'"))
    assert (host["docker_root"], host["docker_driver"]) == (docker["DockerRootDir"], docker["Driver"])
    held = {what: disk for disk in host["disks"] for what in disk["holds"]}
    free = int(node.sh("df --output=avail -B1 /var/lib/docker").split()[-1])
    assert held["docker"]["free_bytes"] == pytest.approx(free, rel=0.05)
    assert {entry["path"]: entry["mode"] for entry in host["device_nodes"]}["/dev/davinci7"] == "0660"

    image = cluster.service()["image"]
    described = {entry["reference"]: entry for entry in survey["images"]}
    assert described[image]["id"] == node.sh(f"docker images --no-trunc -q {image}").strip()
    weights = survey["weights"][cluster.service()["model"]["path"]]
    listed = node.sh(f"ls {weights['path']}").split()
    assert sorted([*weights["shards"], *weights["other_files"]]) == sorted(listed)


def test_people_see_a_table_and_a_block_of_one_node(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    table = cluster.run("inspect").stdout
    rows = [line for line in table.splitlines() if line.startswith("node-")]
    assert [row.split()[0] for row in rows] == ["node-1", "node-2", "node-3"]
    assert all("8 of 8 up" in row for row in rows)
    block = cluster.run("inspect", "--limit", "node-2").stdout
    assert "NPU network   8 of 8 ports up; health Success" in block
    assert "\x1b" not in table + block


def test_saved_facts_are_planned_with(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    file = cluster.work / "facts.json"
    cluster.run("inspect", "--save", str(file))
    assert "chat-2" in cluster.run("plan", "--facts", str(file), expect=None).stdout
    assert [path.name for path in cluster.work.glob("*facts*")] == ["facts.json"]
    before = file.read_bytes()
    refused = cluster.run("inspect", "--save", str(cluster.work / "no/such/folder"), expect=2)
    assert "cannot write" in refused.stderr
    assert file.read_bytes() == before


def test_a_node_that_does_not_answer_is_told_and_the_others_are_read(cluster: Cluster) -> None:
    cluster.write(cluster.service(hosts="serving", replicas=3))
    cluster.fault("node-3", "unreachable")
    done = cluster.run("inspect", expect=5)
    assert "node-3: unreachable: the node does not answer" in done.stdout
    assert sum("8 of 8 up" in line for line in done.stdout.splitlines()) == 2


def test_npu_smi_that_hangs_is_asked_once(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.fault("node-1", "npu-smi-hang", "--value", "300")
    began = time.monotonic()
    found = inspect(cluster)
    assert time.monotonic() - began < 60, "one time-out of 20 s, and not one a question"
    hung = found["node-1"]
    assert hung["npu_error"] == "npu-smi did not end within 20 s"
    assert (hung["survey"]["chips"], hung["survey"]["cards"]) == ([], [])
    assert hung["survey"]["unread"]["npu-smi info -m"] == "not asked: npu-smi did not end within 20 s"
    assert [port["link"] for port in hung["survey"]["ports"]] == ["UP"] * 8, "hccn_tool does not hang"
    assert len(found["node-2"]["survey"]["chips"]) == 8
    assert not cluster.node("node-1").sh("pgrep -f '[n]pu-smi info' || true").strip(), "it was left behind"


def test_a_driver_that_cannot_be_used(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.fault("node-1", "npu-smi-dead")
    found = inspect(cluster)["node-1"]
    assert "ret is -8005" in found["npu_error"]
    assert "ret is -8005" in found["survey"]["unread"]["npu-smi info -m"]
    assert "ret is -8005" in cluster.run("inspect").stdout


def test_hccn_tool_that_stays_busy_is_left_alone(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.fault("node-1", "hccn-busy")
    found = inspect(cluster)
    survey = found["node-1"]["survey"]
    assert survey["unread"]["chip 3: link"] == "hccn_tool is busy, please try again."
    assert survey["unread"]["chip 3: tls"] == "not asked: hccn_tool stayed busy"
    assert {port["link"] for port in survey["ports"]} == {""}
    assert [chip["health"] for chip in survey["chips"]] == ["OK"] * 8
    assert {port["link"] for port in found["node-2"]["survey"]["ports"]} == {"UP"}


def test_a_chip_that_dropped_off_is_missed(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.fault("node-1", "chip-dropped", "--chip", "3")
    found = inspect(cluster)["node-1"]
    assert [chip["id"] for chip in found["survey"]["chips"]] == [0, 1, 2, 4, 5, 6, 7]
    assert "/dev/davinci3" in found["devices"]
    row = next(line for line in cluster.run("inspect").stdout.splitlines() if line.startswith("node-1"))
    assert "7 of 8" in row
    assert "npu-smi does not show NPU 3" in row


def test_a_docker_that_does_not_run(cluster: Cluster) -> None:
    cluster.write(cluster.service())
    cluster.fault("node-1", "docker-stopped")
    found = inspect(cluster)["node-1"]
    assert found["docker"]["error"]
    assert {"docker info", "images"} <= set(found["survey"]["unread"])
    assert len(found["survey"]["ports"]) == 8
