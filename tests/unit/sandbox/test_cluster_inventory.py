"""The inventory that `sandbox up` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from npuctl.sandbox import inventory
from npuctl.sandbox.inventory import Inventory
from npuctl.sandbox.model import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

TWO = Sandbox("lab", 2, "a2", "10.77.3.0/24")


def cluster_text(engine: str = "sim", image: str = "npuctl-sandbox/sim-vllm:1") -> str:
    return inventory.cluster_yaml(TWO, engine=engine, image=image, version="v0.18.0")


def test_the_folder_is_below_inventories_where_there_is_one(tmp_path: Path) -> None:
    assert inventory.default_folder("lab", tmp_path) == tmp_path / "lab-inventory"
    (tmp_path / "inventories").mkdir()
    assert inventory.default_folder("lab", tmp_path) == tmp_path / "inventories" / "lab"


def test_hosts_and_known_hosts_name_every_node(tmp_path: Path) -> None:
    place = Inventory(tmp_path / "it's")
    place.known_hosts.parent.mkdir(parents=True)
    inventory.write(place, TWO, {"node-1": "ssh-ed25519 AAA", "node-2": "ssh-ed25519 BBB"})
    hosts = yaml.safe_load(place.hosts.read_text())["serving"]
    assert hosts["hosts"] == {
        "node-1": {"ansible_host": "10.77.3.11"},
        "node-2": {"ansible_host": "10.77.3.12"},
    }
    assert hosts["vars"]["ansible_user"] == "root"
    assert hosts["vars"]["ansible_ssh_private_key_file"] == str(place.key.resolve())
    assert place.known_hosts.read_text() == (
        "10.77.3.11,node-1 ssh-ed25519 AAA\n10.77.3.12,node-2 ssh-ed25519 BBB\n"
    )
    assert "simulated NPUs" in place.hosts.read_text()


def test_the_simulated_engine_runs_on_every_node_and_sees_its_faults() -> None:
    (service,) = yaml.safe_load(cluster_text())["npuctl_cluster"]["services"]
    assert service["replicas"] == 2
    assert service["topology"] == {"tensor_parallel": 2}
    assert service["mounts"] == ["/var/lib/npusim:/var/lib/npusim:ro"]
    assert service["image"] == "npuctl-sandbox/sim-vllm:1"


def test_the_cpu_engine_is_one_replica_and_no_engine_is_no_service() -> None:
    (service,) = yaml.safe_load(cluster_text("cpu"))["npuctl_cluster"]["services"]
    assert (service["replicas"], service["topology"]) == (1, {"tensor_parallel": 1})
    assert yaml.safe_load(cluster_text("none"))["npuctl_cluster"] == {
        "name": "lab",
        "npu_network": "required",
        "services": [],
    }


@pytest.mark.parametrize(
    ("nodes", "product", "network"),
    [(1, "a2", None), (2, "310p", None), (2, "a3", "required"), (64, "a2", "required")],
)
@pytest.mark.parametrize("engine", ["sim", "none"])
def test_the_npu_network_must_work_where_there_is_one(
    nodes: int, product: str, network: str | None, engine: str
) -> None:
    sandbox = Sandbox("lab", nodes, product, "10.77.3.0/24")
    text = inventory.cluster_yaml(sandbox, engine=engine, image="image:1", version="v0.18.0")
    assert yaml.safe_load(text)["npuctl_cluster"].get("npu_network") == network


def test_a_cluster_file_that_nobody_edited_follows_the_engine(tmp_path: Path) -> None:
    place = Inventory(tmp_path)
    (tmp_path / ".ssh").mkdir()
    assert inventory.write_cluster(place, cluster_text(), force=False)
    newer = cluster_text(image="npuctl-sandbox/sim-vllm:2")
    assert inventory.write_cluster(place, newer, force=False)
    assert place.cluster.read_text() == newer


def test_an_edited_cluster_file_is_kept_unless_forced(tmp_path: Path) -> None:
    place = Inventory(tmp_path)
    (tmp_path / ".ssh").mkdir()
    inventory.write_cluster(place, cluster_text(), force=False)
    place.cluster.write_text("mine: true\n")
    assert not inventory.write_cluster(place, cluster_text(), force=False)
    assert place.cluster.read_text() == "mine: true\n"
    assert inventory.write_cluster(place, cluster_text(), force=True)
    assert place.cluster.read_text() == cluster_text()
