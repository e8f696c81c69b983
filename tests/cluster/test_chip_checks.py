"""Every fault of a chip or of the driver is found by its own check, on its node and chip, and by no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from npuctl.plan.checks.catalogue import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.harness import Cluster

pytestmark = pytest.mark.cluster

PLANNED, SPARE = 1, 6
NODE = "node-2"


class Case(NamedTuple):
    """A fault, and the finding that it makes; `npu` is its chip as well as the finding's."""

    fault: str
    check: str
    severity: str
    npu: int | None = None
    value: str = ""
    says: str = ""


CASES = [
    Case("chip-dropped", "npu.missing", "error", SPARE, says="lspci counts 8 NPUs, npu-smi lists 7"),
    Case("chip-dropped", "npu.missing", "warning", SPARE, "bus", says="on the other nodes 8"),
    Case("health", "npu.health", "error", PLANNED, says="80C98001: the AI core could not be reset"),
    Case("health", "npu.health", "warning", SPARE, says="health Alarm"),
    Case("health", "npu.health", "error", PLANNED, "80E18402,DEADBEEF", says="DEADBEEF: unknown code"),
    Case("health-mcu", "npu.health", "error", PLANNED, says="the table of npu-smi info says OK"),
    Case("ecc", "npu.ecc", "warning", SPARE, says="2 uncorrectable"),
    Case("temperature", "npu.temperature", "warning", SPARE, says="105 C"),
    Case("hbm-leak", "npu.memory", "error", PLANNED, says="no process"),
    Case("held", "npu.held", "error", PLANNED, says="sleep infinity"),
    Case("npu-smi-dead", "npu.readable", "error", says="-8005"),
    Case("npu-smi-cut", "npu.table", "warning", says="lists 8 chips"),
    Case("npu-smi-fails", "npu.unread", "warning", says="ecc of chip 0-7: Failed to query"),
    Case("npu-smi-fails", "npu.unread", "warning", value="board", says="board of card 0-7"),
    Case("driver", "driver.pending", "error", value="25.5.9", says="driver 25.5.9 is installed"),
    Case("compatibility", "driver.compatibility", "error", SPARE, says="card 6"),
    Case("firmware", "driver.differs_between_cards", "warning", SPARE, says="7.7.0.6.236"),
    Case("install-broken", "driver.install", "warning", says="Driver_Install_Status"),
]


@pytest.fixture(scope="module")
def healthy(watched: Cluster) -> Iterator[Cluster]:
    """Three nodes that nothing is wrong with, and a replica planned for each."""
    hosts = [node.name for node in watched.nodes]
    topology = {"tensor_parallel": 2}
    watched.write(watched.service(hosts=hosts, replicas=3, chips=[0, PLANNED], topology=topology))
    assert found(watched) == []
    yield watched
    assert found(watched) == []


def found(cluster: Cluster) -> list[dict[str, Any]]:
    findings: list[dict[str, Any]] = cluster.run("check", "--output", "json", expect=None).data["findings"]
    return findings


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(filter(None, (case.fault, case.value))))
def test_a_fault_is_found_by_its_check_alone(healthy: Cluster, case: Case) -> None:
    words = ["--chip", str(case.npu)] if case.npu is not None else []
    words += ["--value", case.value] if case.value else []
    healthy.fault(NODE, case.fault, *words)
    try:
        seen = found(healthy)
    finally:
        healthy.mend(NODE, case.fault)
    assert [(entry["id"], entry["severity"], entry["node"], entry["npu"]) for entry in seen] == [
        (case.check, case.severity, NODE, case.npu)
    ]
    assert case.says in seen[0]["seen"]
    assert seen[0]["remedy"]


def test_an_npu_smi_that_hangs_is_told_from_one_that_refuses(healthy: Cluster) -> None:
    healthy.fault(NODE, "npu-smi-hang")
    try:
        (finding,) = found(healthy)
    finally:
        healthy.mend(NODE, "npu-smi-hang")
    assert (finding["id"], finding["node"]) == ("npu.readable", NODE)
    assert finding["seen"] == "npu-smi did not end within 20 s"
    assert "hangs in the driver" in finding["remedy"]


def test_a_reboot_mends_what_a_reboot_owes(healthy: Cluster) -> None:
    healthy.fault(NODE, "driver", "--value", "25.5.9")
    healthy.fault(NODE, "hbm-leak", "--chip", str(PLANNED))
    assert {finding["id"] for finding in found(healthy)} == {"driver.pending", "npu.memory"}
    try:
        healthy.fault(NODE, "reboot")
        told = found(healthy)
        # The driver that the reboot loaded is another one than on the other nodes.
        assert {finding["id"] for finding in told} <= {"version.nodes_differ"}
    finally:
        healthy.fault(NODE, "driver", "--value", "25.5.2")
        healthy.fault(NODE, "reboot")


def test_every_check_of_a_chip_or_driver_has_its_fault_here() -> None:
    ours = {name: entry for name, entry in catalogue().items() if name.startswith(("npu.", "driver."))}
    triggered = {(case.check, case.fault) for case in CASES}
    for name, entry in ours.items():
        assert (name, entry.fault) in triggered or entry.fault.startswith("none: "), name
    assert {case.check for case in CASES} <= set(ours)
