"""Ports: who holds one, which ones HCCL opens, and which the kernel may give away."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuctl.facts.model import ListenerFacts
from npuctl.facts.survey import Survey
from npuctl.plan.checks import ports
from npuctl.plan.model import Finding
from npuctl.plan.wording import ranges
from tests.making import after_apply, facts_of, host, node, plan_of, service_data, spec_of

TWO_CHIPS: dict[str, Any] = {"topology": {"tensor_parallel": 2}}
RANGE, RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"


def findings(*specs: dict[str, Any], network: str = "auto", **changes: Any) -> list[Finding]:
    services = [
        service_data(**{"name": f"chat{i}", "port": 8000 + 100 * i, **own}) for i, own in enumerate(specs)
    ]
    spec = spec_of(*services).model_copy(update={"npu_network": network})
    own = {"survey": Survey(host=host()), **changes}
    found = plan_of(spec, facts_of(node_1=node(**own))).findings
    return [finding for finding in found if finding.id.startswith("port.")]


def set_to(**sysctl: str) -> Survey:
    names = {"range": RANGE, "reserved": RESERVED}
    return Survey(host=host(sysctl={names[name]: text for name, text in sysctl.items()}))


@pytest.mark.parametrize(
    ("spec", "network", "port", "taken"),
    [
        (TWO_CHIPS, "auto", 60000, True),
        (TWO_CHIPS, "auto", 60015, True),
        (TWO_CHIPS, "auto", 60016, False),
        (TWO_CHIPS, "auto", 59999, False),
        (TWO_CHIPS | {"chips": [2, 3]}, "auto", 60032, True),
        (TWO_CHIPS | {"chips": [2, 3]}, "auto", 60000, False),
        (TWO_CHIPS | {"env": {"HCCL_IF_BASE_PORT": 50000}}, "auto", 50015, True),
        (TWO_CHIPS | {"env": {"HCCL_IF_BASE_PORT": 50000}}, "auto", 60000, False),
        (TWO_CHIPS | {"env": {"HCCL_IF_BASE_PORT": "many"}}, "auto", 60000, False),
        (TWO_CHIPS | {"env": {"HCCL_HOST_SOCKET_PORT_RANGE": "61000-61003,61010"}}, "auto", 61010, True),
        (TWO_CHIPS | {"env": {"HCCL_HOST_SOCKET_PORT_RANGE": "auto"}}, "auto", 60000, False),
        (TWO_CHIPS, "auto", 16666, False),
        (TWO_CHIPS, "required", 16666, True),
        (TWO_CHIPS | {"env": {"HCCL_NPU_SOCKET_PORT_RANGE": "auto"}}, "required", 16666, False),
        ({}, "required", 60000, False),
        ({}, "required", 16666, False),
    ],
)
def test_a_port_of_hccl_that_somebody_holds(
    spec: dict[str, Any], network: str, port: int, *, taken: bool
) -> None:
    stranger = ListenerFacts(port=port, pid=9, command="left.py", container="somebodys")
    found = findings(spec, network=network, survey=None, listeners=[stranger])
    assert [(finding.id, finding.severity) for finding in found] == [("port.hccl", "error")] * taken
    assert all(f"port {port}, " in finding.seen for finding in found)
    assert all("pid 9 in container somebodys: left.py" in finding.seen for finding in found)


def test_what_our_own_container_opened_is_no_obstacle() -> None:
    spec = spec_of(service_data(**TWO_CHIPS))
    before = facts_of(node_1=node())
    plan = plan_of(spec, before)
    there = after_apply(plan, before).nodes["node-1"]
    own = ListenerFacts(port=60003, pid=1000, container=plan.replicas[0].container.name)
    again = there.model_copy(update={"listeners": [*there.listeners, own]})
    assert plan_of(spec, facts_of(node_1=again)).findings == ()


def test_two_replicas_that_would_open_the_same_ports() -> None:
    (finding,) = findings(TWO_CHIPS | {"replicas": 2, "env": {"HCCL_IF_BASE_PORT": 50000}}, survey=None)
    assert (finding.id, finding.severity) == ("port.hccl", "error")
    assert "chat0-0 and chat0-1 would both use 50000-50015" in finding.seen
    assert findings(TWO_CHIPS | {"replicas": 2}) == []


def test_a_service_that_listens_where_hccl_of_another_does() -> None:
    (finding,) = findings(TWO_CHIPS, {"port": 60004}, survey=None)
    assert "chat0-0 and chat1-0 would both use 60004" in finding.seen


@pytest.mark.parametrize(
    ("sysctl", "spec", "exposed"),
    [
        ({"range": "32768 60999", "reserved": ""}, TWO_CHIPS, "60000-60015"),
        ({"range": "32768\t60999", "reserved": "16666,60000-60007"}, TWO_CHIPS, "60008-60015"),
        ({"range": "32768 60999", "reserved": "60000-60015"}, TWO_CHIPS, ""),
        ({"range": "32768 60007", "reserved": ""}, TWO_CHIPS, "60000-60007"),
        ({"range": "1024 50000", "reserved": ""}, TWO_CHIPS, "8000"),
        ({"range": "32768 60999", "reserved": ""}, {}, ""),
        ({"range": "32768 60999", "reserved": ""}, {"port": 40000}, "40000"),
        ({"range": "32768 60999"}, TWO_CHIPS, ""),
        ({"reserved": ""}, TWO_CHIPS, ""),
        ({"range": "", "reserved": ""}, TWO_CHIPS, ""),
    ],
)
def test_ports_that_the_kernel_may_give_away(
    sysctl: dict[str, str], spec: dict[str, Any], exposed: str
) -> None:
    found = findings(spec, survey=set_to(**sysctl))
    assert [(finding.id, finding.severity) for finding in found] == [("port.ephemeral", "warning")] * bool(
        exposed
    )
    assert all(finding.seen.startswith(f"{exposed} within {RANGE}") for finding in found)


def test_the_line_that_reserves_ports_keeps_those_that_were() -> None:
    (finding,) = findings(TWO_CHIPS, survey=set_to(range="32768 60999", reserved="16666,60010-60020"))
    assert f"sysctl -w {RESERVED}=16666,60000-60020;" in finding.remedy


def test_all_replicas_of_a_node_are_in_one_line() -> None:
    (finding,) = findings(TWO_CHIPS | {"replicas": 2}, survey=set_to(range="32768 60999", reserved=""))
    assert f"{RESERVED}=60000-60015,60032-60047;" in finding.remedy


@given(st.sets(st.integers(1, 65535), max_size=40))
def test_a_list_of_ports_reads_as_it_was_written(chosen: set[int]) -> None:
    assert ports.ports_in(ranges(chosen)) == chosen


@given(st.text())
def test_any_text_is_read_as_some_ports(text: str) -> None:
    assert ports.ports_in(text) <= set(range(1, 65536))
