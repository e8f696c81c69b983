"""The host: every finding where it belongs, none on a machine that is well set or was not looked at."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.survey import HostFacts, Survey
from npuctl.plan.model import Finding
from tests.making import GIB, after_apply, facts_of, host, node, plan_of, service_data, spec_of, weights


def findings(
    spec: dict[str, Any] | None = None, *, survey: dict[str, Any] | None = None, **changes: Any
) -> list[Finding]:
    """Findings of node-1; `survey` are changes of its host, `changes` of its facts."""
    own = {"survey": Survey(host=host(**(survey or {}))), "kernel": "5.10.0-216.aarch64", **changes}
    return list(plan_of(spec_of(service_data(**(spec or {}))), facts_of(node_1=node(**own))).findings)


def said(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.id, finding.severity) for finding in found]


def test_a_well_set_machine_has_nothing_to_say() -> None:
    assert findings() == []
    assert findings({"topology": {"tensor_parallel": 8}}) == []


@pytest.mark.parametrize(
    "empty",
    [Survey(), Survey(host=HostFacts(nics=host().nics)), Survey(host=HostFacts(sysctl={"vm.x": "1"}))],
)
def test_what_could_not_be_read_is_not_judged(empty: Survey) -> None:
    assert findings(survey=None, kernel="", memory_total_mb=0, memory_available_mb=0) == []
    plan = plan_of(spec_of(service_data()), facts_of(node_1=node(survey=empty)))
    assert plan.findings == ()


@pytest.mark.parametrize(
    ("identity", "changes", "seen"),
    [
        ("host.swappiness", {"sysctl": {"vm.swappiness": "60"}}, "60"),
        ("host.numa_balancing", {"sysctl": {"kernel.numa_balancing": "1"}}, "1"),
        ("host.thp", {"transparent_hugepages": "madvise"}, "madvise"),
        ("host.thp", {"transparent_hugepages": "never"}, "never"),
        ("host.governor", {"governors": ["performance", "powersave"]}, "powersave"),
        ("host.firewall", {"firewalls": ["firewalld", "nftables"]}, "firewalld, nftables"),
        ("host.name", {"hostname_addresses": ["127.0.1.1"]}, "127.0.1.1: loopback"),
        ("host.name", {"hostname_addresses": ["10.0.0.9"]}, "10.0.0.9, which none"),
        ("host.name", {"hostname_addresses": ["::1"]}, "::1: loopback"),
    ],
)
def test_a_setting_of_the_machine(identity: str, changes: dict[str, Any], seen: str) -> None:
    (finding,) = findings(survey=changes)
    assert (finding.id, finding.severity, finding.node) == (identity, "warning", "node-1")
    assert seen in finding.seen
    assert finding.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"sysctl": {"vm.swappiness": "1"}},
        {"governors": []},
        {"transparent_hugepages": ""},
        {"hostname_addresses": []},
        {"hostname_addresses": ["127.0.1.1", "10.0.0.1"]},
        {"nics": [], "hostname_addresses": ["127.0.1.1"]},
    ],
)
def test_a_setting_that_is_good_enough_or_unknown(changes: dict[str, Any]) -> None:
    assert findings(survey=changes) == []


def test_a_name_that_does_not_resolve_is_said_with_the_reason() -> None:
    survey = Survey(host=host(hostname_addresses=[]), unread={"hostname": "Name or service not known"})
    plan = plan_of(spec_of(service_data()), facts_of(node_1=node(survey=survey, hostname="server")))
    (finding,) = plan.findings
    assert finding.id == "host.name"
    assert finding.seen == "the node's own name server does not resolve: Name or service not known"


def test_a_firewall_names_the_ports_that_must_be_open() -> None:
    two: dict[str, Any] = {"topology": {"tensor_parallel": 2}, "replicas": 2}
    (finding,) = findings(two, survey={"firewalls": ["firewalld"]})
    assert finding.expected == "TCP 8000-8001 open to the clients"
    spec = spec_of(service_data(**two)).model_copy(update={"npu_network": "required"})
    survey = Survey(host=host(firewalls=["firewalld"]))
    (finding,) = plan_of(spec, facts_of(node_1=node(survey=survey))).findings
    assert finding.expected.startswith("TCP 8000-8001,16666,60000-60015,60032-60047 open, and every port")
    assert "--add-port=16666/tcp --add-port=60000-60015/tcp" in finding.remedy


@pytest.mark.parametrize(
    ("kernel", "old"),
    [
        ("4.19.90-52.22.v2207.ky10.aarch64", True),
        ("5.4.0-1", True),
        ("5.10.0", False),
        ("5.15.0-60-generic", False),
        ("6.1.0", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_an_old_kernel(kernel: str, *, old: bool) -> None:
    assert said(findings(kernel=kernel)) == [("host.kernel", "warning")] * old


@pytest.mark.parametrize(
    ("spec", "memory_gib", "warned"),
    [
        ({"shm_gib": 16}, 16, False),
        ({"shm_gib": 17}, 16, True),
        ({"shm_gib": 9, "replicas": 2}, 16, True),
        ({"shm_gib": 8, "replicas": 2}, 16, False),
        ({"shm_gib": 1, "topology": {"data_parallel": 4}}, 1024, False),
        ({"shm_gib": 1, "topology": {"data_parallel": 5}}, 1024, True),
    ],
)
def test_shared_memory_that_does_not_fit(spec: dict[str, Any], memory_gib: int, *, warned: bool) -> None:
    found = findings(spec, memory_total_mb=memory_gib * GIB, memory_available_mb=memory_gib * GIB)
    assert said(found) == [("host.shm", "warning")] * warned


def memory_findings(spec: Any, found: Any) -> list[Finding]:
    return [
        finding for finding in plan_of(spec, facts_of(node_1=found)).findings if finding.id == "host.memory"
    ]


@pytest.mark.parametrize(("available_gib", "warned"), [(100, False), (99, True), (0, True)])
def test_weights_that_are_larger_than_the_memory(available_gib: int, *, warned: bool) -> None:
    survey = Survey(host=host(), weights=weights(100 * 2**30))
    found = node(survey=survey, memory_available_mb=available_gib * GIB)
    spec = spec_of(service_data(replicas=3))
    assert said(memory_findings(spec, found)) == [("host.memory", "warning")] * warned


def test_two_models_need_memory_for_both_and_a_running_one_for_none() -> None:
    other = "/data/models/other"
    both = weights(60 * 2**30) | weights(60 * 2**30, other)
    found = node(survey=Survey(host=host(), weights=both), memory_available_mb=100 * GIB)
    first = service_data()
    spec = spec_of(first, service_data(name="other", port=8100, model={"id": "o", "path": other}))
    (finding,) = memory_findings(spec, found)
    assert "120 GiB of weights" in finding.seen
    before = facts_of(node_1=found)
    running = after_apply(plan_of(spec_of(first), before), before).nodes["node-1"]
    assert memory_findings(spec, running) == []


def clock_findings(*offsets: float | None, doubt: float = 0.02) -> list[tuple[str, str]]:
    names = [f"node-{number}" for number in range(1, len(offsets) + 1)]
    spec = spec_of(service_data(hosts=names, replicas=len(names)))
    nodes = {
        name.replace("-", "_"): node(
            survey=Survey(host=host(number, clock_offset_seconds=offset, clock_doubt_seconds=doubt))
        )
        for number, (name, offset) in enumerate(zip(names, offsets, strict=True), start=1)
    }
    found = plan_of(spec, facts_of(**nodes)).findings
    assert {finding.id for finding in found} <= {"host.clock"}
    return [(finding.node, finding.seen) for finding in found]


def test_clocks_that_agree_within_a_second() -> None:
    assert clock_findings(0.9) == []
    assert clock_findings(0.4, -0.5, 0.1) == []
    assert clock_findings(None, None) == []


@pytest.mark.parametrize(
    ("offsets", "odd", "words"),
    [
        ((120.0,), "node-1", "its clock is 120.0 s ahead of most others"),
        ((0.1, -3.0), "node-2", "its clock is 3.0 s behind most others"),
        ((0.0, 90.0, 0.1), "node-2", "its clock is 90.0 s ahead of most others"),
        ((90.0, 90.1), "", "this machine's clock is 90.0 s behind the nodes' clocks"),
        ((-7.0, -7.1, -7.2, None), "", "this machine's clock is 7.0 s ahead of the nodes' clocks"),
    ],
)
def test_the_odd_clock_is_named(offsets: tuple[float | None, ...], odd: str, words: str) -> None:
    assert clock_findings(*offsets) == [(odd, words)]


def test_what_a_slow_connection_leaves_open_is_not_held_against_a_clock() -> None:
    assert clock_findings(3.0, doubt=2.5) == []
    assert len(clock_findings(3.0, doubt=1.5)) == 1
