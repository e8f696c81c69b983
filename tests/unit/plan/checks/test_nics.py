"""Network interfaces: those that the engines are told to use, and their MTU."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.survey import NicFacts, Survey
from npuctl.plan.build import build_plan, resolve_hosts
from npuctl.plan.checks import nics
from npuctl.plan.model import Finding
from tests.making import facts_of, host, node, plan_of, service_data, spec_of

TWO_CHIPS = {"topology": {"tensor_parallel": 2}}


def nic(name: str, *addresses: str, mtu: int = 1500, up: bool = True, kind: str = "physical") -> NicFacts:
    return NicFacts(name=name, kind=kind, up=up, mtu=mtu, addresses=list(addresses))


LO = nic("lo", "127.0.0.1", mtu=65536, kind="loopback")


def findings(env: dict[str, Any], spec: dict[str, Any] | None = None, **changes: Any) -> list[Finding]:
    service = service_data(**{**TWO_CHIPS, **(spec or {}), "env": env})
    found = plan_of(spec_of(service), facts_of(node_1=node(survey=Survey(host=host(**changes))))).findings
    return [finding for finding in found if finding.id.startswith("nic.")]


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("eth0", ["eth0"]),
        ("eth", ["eth0", "eth1"]),
        ("eth,enp", ["eth0", "eth1", "enp3"]),
        ("=eth0", ["eth0"]),
        ("=eth", []),
        ("=eth1,enp3", ["eth1", "enp3"]),
        ("^docker", ["eth0", "eth1", "enp3"]),
        ("^docker,eth", ["enp3"]),
        ("^=eth0,enp3", ["eth1", "docker0"]),
        ("^=eth", ["eth0", "eth1", "enp3", "docker0"]),
        ("ib", []),
        ("", []),
        ("=", []),
    ],
)
def test_what_hccl_takes_a_value_for(value: str, meant: list[str]) -> None:
    there = [LO, nic("eth0"), nic("eth1"), nic("enp3"), nic("docker0")]
    assert [found.name for found in nics.interfaces_meant(value, there)] == meant


@pytest.mark.parametrize(
    ("env", "chips", "severity"),
    [
        ({"HCCL_SOCKET_IFNAME": "ib0"}, 2, "error"),
        ({"HCCL_SOCKET_IFNAME": "ib0"}, 1, "warning"),
        ({"HCCL_SOCKET_IFNAME": "^eth,docker"}, 2, "error"),
        ({"HCCL_SOCKET_IFNAME": "eth"}, 2, ""),
        ({"HCCL_SOCKET_IFNAME": "ib0", "HCCL_IF_IP": "10.0.0.1"}, 2, ""),
        ({"GLOO_SOCKET_IFNAME": "eth"}, 2, "error"),
        ({"GLOO_SOCKET_IFNAME": "ib0"}, 1, "error"),
        ({"GLOO_SOCKET_IFNAME": "eth0"}, 2, ""),
        ({"GLOO_SOCKET_IFNAME": "ib0,eth0"}, 2, ""),
        ({"TP_SOCKET_IFNAME": "=eth0"}, 2, "error"),
        ({"OMP_NUM_THREADS": "ib0"}, 2, ""),
    ],
)
def test_an_interface_that_is_not_there(env: dict[str, Any], chips: int, severity: str) -> None:
    found = findings(env, {"topology": {"tensor_parallel": chips}})
    assert [(finding.id, finding.severity) for finding in found] == [("nic.absent", severity)] * bool(
        severity
    )
    assert all(finding.service == "chat" and "eth0" in finding.expected for finding in found)


def test_an_interface_that_is_down_is_told_from_one_that_is_absent() -> None:
    there = [LO, nic("eth0", "10.0.0.1"), nic("eth1", up=False)]
    (finding,) = findings({"GLOO_SOCKET_IFNAME": "eth1"}, nics=there)
    assert finding.seen == "GLOO_SOCKET_IFNAME=eth1: eth1 is down"
    (finding,) = findings({"GLOO_SOCKET_IFNAME": "eth2"}, nics=there)
    assert finding.seen == "GLOO_SOCKET_IFNAME=eth2: no such interface"


@pytest.mark.parametrize(
    ("env", "chips", "severity"),
    [
        ({"HCCL_IF_IP": "10.0.0.2"}, 2, "error"),
        ({"HCCL_IF_IP": "10.0.0.2"}, 1, "warning"),
        ({"HCCL_IF_IP": "10.0.0.1"}, 2, ""),
        ({"VLLM_HOST_IP": "10.0.0.2"}, 1, "error"),
        ({"VLLM_HOST_IP": "fd00::1"}, 1, ""),
        ({"VLLM_HOST_IP": "fd00:0::0001"}, 1, ""),
        ({"VLLM_HOST_IP": "node-1"}, 1, "error"),
    ],
)
def test_an_address_that_the_node_does_not_own(env: dict[str, Any], chips: int, severity: str) -> None:
    there = [LO, nic("eth0", "10.0.0.1", "fd00::1")]
    found = findings(env, {"topology": {"tensor_parallel": chips}}, nics=there)
    assert [(finding.id, finding.severity) for finding in found] == [("nic.address", severity)] * bool(
        severity
    )
    assert all("10.0.0.1" in finding.expected and "127.0.0.1" not in finding.expected for finding in found)


def test_interfaces_that_could_not_be_read_are_not_judged() -> None:
    assert findings({"GLOO_SOCKET_IFNAME": "ib0", "HCCL_IF_IP": "10.0.0.2"}, nics=[]) == []


def mtu_findings(*hosts: Any, addresses: dict[str, str] | None = None) -> dict[str, str]:
    """Node → what is said of it, where each has one of these hosts."""
    names = [f"node-{number}" for number in range(1, len(hosts) + 1)]
    spec = spec_of(service_data(hosts=names, replicas=len(names)))
    nodes = {
        name.replace("-", "_"): node(survey=Survey(host=own)) for name, own in zip(names, hosts, strict=True)
    }
    resolved = resolve_hosts(spec, {}, names, file="f")
    plan = build_plan(spec, resolved, facts_of(**nodes), {}, file="f", addresses=addresses)
    return {finding.node: finding.seen for finding in plan.findings if finding.id == "nic.mtu"}


def with_mtu(number: int, mtu: int) -> Any:
    return host(
        number, nics=[LO, nic("eth0", f"10.0.0.{number}", mtu=mtu), nic("docker0", kind="bridge", mtu=99)]
    )


@pytest.mark.parametrize(
    ("mtus", "odd"),
    [
        ([1500], []),
        ([1500, 1500, 1500], []),
        ([1500, 9000, 1500], ["node-2"]),
        ([9000, 9000, 1500, 9000], ["node-3"]),
        ([1500, 9000], ["node-1", "node-2"]),
        ([1500, 1500, 9000, 9000], ["node-1", "node-2", "node-3", "node-4"]),
        ([1500, 1500, 1500, 9000, 4200], ["node-4", "node-5"]),
    ],
)
def test_the_odd_mtu_is_named(mtus: list[int], odd: list[str]) -> None:
    assert list(mtu_findings(*(with_mtu(number, mtu) for number, mtu in enumerate(mtus, start=1)))) == odd


def test_the_interface_with_the_inventorys_address_counts() -> None:
    """A server with a management network has two: what the inventory names is what the nodes talk over."""

    def two(number: int, mtu: int) -> Any:
        cards = [LO, nic("eth0", f"10.0.0.{number}", mtu=mtu), nic("eth1", f"10.9.0.{number}", mtu=9000)]
        return host(number, nics=cards)

    hosts = [two(1, 1500), two(2, 1500), two(3, 1400)]
    assert list(mtu_findings(*hosts)) == ["node-3"]
    assert mtu_findings(*hosts, addresses={f"node-{n}": f"10.9.0.{n}" for n in (1, 2, 3)}) == {}
    assert list(mtu_findings(*hosts, addresses={f"node-{n}": f"n{n}.example" for n in (1, 2, 3)})) == [
        "node-3"
    ]


def test_a_node_whose_name_leads_nowhere_is_judged_by_its_first_interface() -> None:
    lost = with_mtu(2, 1400).model_copy(update={"hostname_addresses": ["127.0.1.1"]})
    assert list(mtu_findings(with_mtu(1, 1500), lost, with_mtu(3, 1500))) == ["node-2"]


def test_a_node_without_a_thorough_look_has_no_vote() -> None:
    spec = spec_of(service_data(hosts=["node-1", "node-2"], replicas=2))
    facts = facts_of(node_1=node(), node_2=node(survey=Survey(host=with_mtu(2, 1400))))
    assert plan_of(spec, facts).findings == ()
