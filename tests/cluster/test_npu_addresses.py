"""`npuctl provision` gives the NPUs their addresses: judged by the nodes' own hccn_tool and hccn.conf, and by pings."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cluster.harness import Ran
from tests.cluster.test_roles import replay
from tests.npu_ports import ONE_SUBNET, TWO_PLANES

if TYPE_CHECKING:
    from tests.cluster.harness import Cluster, Node

pytestmark = pytest.mark.cluster
TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"
GATEWAY = "10.20.255.1"


def runs(node: Node) -> dict[str, dict[str, str]]:
    """Chip → what runs on its port, by the simulator's own account."""
    shown: dict[str, dict[str, str]] = json.loads(node.sh("npusim show"))["ports"]
    return shown


def addresses(node: Node) -> list[str]:
    return [port["address"] for _chip, port in sorted(runs(node).items(), key=lambda entry: int(entry[0]))]


def conf(node: Node) -> str:
    return node.sh("cat /etc/hccn.conf 2>/dev/null || true")


def forget(*nodes: Node) -> None:
    """As if nobody had ever set the ports of these nodes up."""
    for node in nodes:
        node.sh(f"rm -rf /etc/hccn.conf /var/lib/npuctl; {TOOL} -a -cfg recovery")


def provision(cluster: Cluster, *words: str, expect: int = 0) -> Ran:
    return cluster.run("provision", "--only", "npu_network", *words, expect=expect)


def said(cluster: Cluster, *words: str) -> list[tuple[str, str]]:
    """The findings that refuse a provisioning."""
    done = provision(cluster, "--output", "json", *words, expect=3)
    return [(entry["node"], entry["id"]) for entry in done.data["findings"]]


@pytest.fixture
def own(cluster: Cluster) -> Iterator[Cluster]:
    """The three A2 nodes, with the ports they came with at the end."""
    before = [conf(node) for node in cluster.nodes]
    yield cluster
    _put_back(cluster, before)


@pytest.fixture
def pod(super_pod: Cluster) -> Iterator[Cluster]:
    """The two A3 nodes, likewise."""
    before = [conf(node) for node in super_pod.nodes]
    yield super_pod
    _put_back(super_pod, before)


def _put_back(cluster: Cluster, before: list[str]) -> None:
    cluster.mend_all()
    for node, text in zip(cluster.nodes, before, strict=True):
        node.sh(f"cat > /etc/hccn.conf <<'END'\n{text}END\n{TOOL} -a -cfg recovery; rm -rf /var/lib/npuctl")


def test_nodes_without_any_get_addresses_and_a_second_run_changes_nothing(own: Cluster) -> None:
    forget(*own.nodes)
    own.write(npu_addresses=ONE_SUBNET, npu_network="required")
    provision(own)
    assert [addresses(node) for node in own.nodes] == [
        [f"10.20.0.{8 * place + chip + 1}" for chip in range(8)] for place in range(3)
    ]
    node = own.nodes[1]
    assert node.sh(f"{TOOL} -i 5 -ip -g") == "ipaddr:10.20.0.14\nnetmask:255.255.0.0\n"
    assert node.sh(f"{TOOL} -i 5 -net_health -g") == "net health status: Success\n"
    assert f"netdetect_5={GATEWAY}\n" in conf(node)
    assert "384 of 384 probes ok" in own.run("check").stdout
    before = [(conf(one), one.sh("stat -c %Y /etc/hccn.conf")) for one in own.nodes]
    assert "nothing to do" in provision(own).stdout
    assert [(conf(one), one.sh("stat -c %Y /etc/hccn.conf")) for one in own.nodes] == before


def test_an_a3_gets_two_planes(pod: Cluster) -> None:
    forget(*pod.nodes)
    pod.write(npu_addresses={**TWO_PLANES, "mtu": 4200})
    provision(pod)
    assert addresses(pod.nodes[1])[:4] == ["10.20.0.9", "10.21.0.9", "10.20.0.10", "10.21.0.10"]
    assert {port["gateway"] for port in runs(pod.nodes[0]).values()} == {"10.20.255.1", "10.21.255.1"}
    assert {port["mtu"] for port in runs(pod.nodes[0]).values()} == {"4200"}
    pings = pod.nodes[0].sh(f"{TOOL} -i 1 -ping -g address 10.21.0.16")
    assert "3 packets transmitted, 3 received" in pings
    assert "nothing to do" in provision(pod).stdout


def test_a_dry_run_changes_nothing_and_the_plays_check_mode_says_what_it_does(own: Cluster) -> None:
    own.write(npu_addresses={**ONE_SUBNET, "mtu": 4200})
    before = [node.tree() for node in own.nodes]
    shown = provision(own, "--dry-run").stdout
    assert "NPU 0-7: mtu: 1500 → 4200" in shown
    assert [node.tree() for node in own.nodes] == before
    assert {port["mtu"] for node in own.nodes for port in runs(node).values()} == {"1500"}
    (plan,) = (own.inventory / ".npuctl" / "runs").glob("*-provision-*/plan-1.json")
    checked = replay(own, plan, "--check", playbook="provision.yml")
    assert {node: counts[1:] for node, counts in checked.items()} == dict.fromkeys(checked, (1, 0, 0))
    assert {port["mtu"] for node in own.nodes for port in runs(node).values()} == {"1500"}
    done = replay(own, plan, playbook="provision.yml")
    assert done == checked
    again = replay(own, plan, playbook="provision.yml")
    assert {node: counts[1:] for node, counts in again.items()} == dict.fromkeys(again, (0, 0, 0))


def test_teardown_brings_back_what_was_there(own: Cluster) -> None:
    before = [(conf(node), runs(node)) for node in own.nodes]
    moved = {"network": "10.30.0.0/16", "gateway": "10.30.0.1"}
    own.write(npu_addresses={"pools": [moved], "mtu": 4200})
    provision(own)
    for node, (text, _ports) in zip(own.nodes, before, strict=True):
        assert addresses(node)[0].startswith("10.30.")
        assert node.sh("cat /var/lib/npuctl/hccn.conf.before") == text
        assert node.sh("stat -c %a%U /var/lib/npuctl/hccn.conf.before /var/lib/npuctl/npu_network.json") == (
            "600root\n600root\n"
        )
    own.run("teardown", "--yes", "--provision")
    assert [(conf(node), runs(node)) for node in own.nodes] == before
    assert [node.sh("ls /var/lib/npuctl") for node in own.nodes] == [""] * 3


def test_a_node_that_comes_later_in_the_middle_moves_nobody(own: Cluster) -> None:
    forget(*own.nodes)
    whole = (own.inventory / "hosts.yml").read_text()
    hosts: dict[str, Any] = yaml.safe_load(whole)
    del hosts["serving"]["hosts"]["node-2"]
    (own.inventory / "hosts.yml").write_text(yaml.safe_dump(hosts))
    own.write(npu_addresses=ONE_SUBNET)
    provision(own)
    first, second, third = own.nodes
    settled = [(conf(node), node.sh("stat -c %Y /etc/hccn.conf")) for node in (first, third)]
    assert addresses(second) == [""] * 8
    (own.inventory / "hosts.yml").write_text(whole)
    provision(own)
    assert [(conf(node), node.sh("stat -c %Y /etc/hccn.conf")) for node in (first, third)] == settled
    assert addresses(second) == [f"10.20.0.{number}" for number in range(17, 25)]


def test_two_nodes_with_one_address_are_told_apart_again(own: Cluster) -> None:
    own.fault("node-2", "duplicate-ip", "--chip", "3", "--value", addresses(own.nodes[0])[0])
    own.write(npu_addresses=ONE_SUBNET)
    done = provision(own)
    assert "NPU 3 gives up 10.20.1.11: NPU 0 of node-1 has it as well" in done.stdout
    assert len({address for node in own.nodes for address in addresses(node)}) == 24
    own.mend("node-2", "duplicate-ip")


def test_nothing_new_is_given_while_a_node_is_silent(own: Cluster) -> None:
    forget(own.nodes[0])
    own.write(npu_addresses=ONE_SUBNET)
    own.fault("node-3", "powered-off")
    assert said(own) == [("node-1", "provision.address_unsure")]
    assert addresses(own.nodes[0]) == [""] * 8
    own.mend("node-3", "powered-off")
    provision(own)
    assert addresses(own.nodes[0])[0] == "10.20.0.1"


def test_a_busy_tool_is_waited_for_in_a_play_and_refuses_when_it_stays_so(own: Cluster) -> None:
    own.write(npu_addresses={**ONE_SUBNET, "mtu": 4200})
    provision(own, "--dry-run")
    (plan,) = (own.inventory / ".npuctl" / "runs").glob("*-provision-*/plan-1.json")
    own.fault("node-2", "hccn-busy")
    assert set(said(own)) == {("node-2", "provision.ports_unread")}
    free = threading.Timer(8, own.mend, ["node-2", "hccn-busy"])
    free.start()
    recap = replay(own, plan, playbook="provision.yml")
    free.join()
    assert {node: counts[1:] for node, counts in recap.items()} == dict.fromkeys(recap, (1, 0, 0))
    assert {port["mtu"] for port in runs(own.nodes[1]).values()} == {"4200"}


def test_a_tool_that_does_not_do_what_it_says_is_named_and_a_later_run_goes_on(own: Cluster) -> None:
    own.write(npu_addresses={**ONE_SUBNET, "mtu": 4200})
    own.fault("node-2", "hccn-ignores", "--chip", "3")
    failed = provision(own, expect=4).text
    assert "NPU 3: hccn_tool took the settings" in failed
    assert "mtu is 1500, not 4200" in failed
    own.mend("node-2", "hccn-ignores")
    shown = provision(own).stdout
    assert "NPU 3: mtu: 1500 → 4200" in shown
    assert "nothing to do" in provision(own).stdout


def test_ports_are_not_changed_under_a_service_that_works_over_them(own: Cluster) -> None:
    own.write(own.service(), npu_network="required")
    own.run("deploy")
    used = own.nodes[0].chips("npuctl-ct-chat-0")[0]
    own.write(own.service(), npu_network="required", npu_addresses={**ONE_SUBNET, "mtu": 4200})
    assert said(own) == [("node-1", "provision.ports_in_use")]
    assert {port["mtu"] for node in own.nodes for port in runs(node).values()} == {"1500"}
    own.run("stop")
    provision(own)
    assert runs(own.nodes[0])[str(used)]["mtu"] == "4200"
