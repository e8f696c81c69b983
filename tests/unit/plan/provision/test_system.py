"""The operating system's settings: what is set for a spec, what cannot be and is told, and what is taken back."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.setup import Answered, EngineSetup, Setup, TextFile
from npuctl.plan.provision import system
from npuctl.plan.provision._contract import DAEMON_FILE, Node, Wish, Work
from npuctl.plan.provision.settings import RECORD, Reconciled, reconcile, record_data
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, node, service_data

POLICY = "/sys/devices/system/cpu/cpufreq/policy{}/{}"
VALUES = {
    "/proc/sys/vm/swappiness": "60\n",
    "/proc/sys/kernel/numa_balancing": "1\n",
    "/proc/sys/kernel/sched_migration_cost_ns": "500000\n",
    system.THP: "always [madvise] never\n",
    system.RESERVED_PORTS: "7000-7002\n",
    POLICY.format(0, "scaling_governor"): "powersave\n",
    POLICY.format(4, "scaling_governor"): "powersave\n",
}
CHRONY = "/etc/chrony/chrony.conf"


def setup_of(values: dict[str, str] | None = None, **more: Any) -> Setup:
    asked = {path: Answered(text=text) for path, text in (VALUES if values is None else values).items()}
    own: dict[str, Any] = {
        "values": asked,
        "os_id": "debian",
        "packages_by": "apt",
        "units": {"chrony.service": "active"},
        "engine": EngineSetup(version="24", nofile=1048576, nofile_hard=1048576),
    }
    return Setup(**(own | more))


def wish_of(*services: dict[str, Any], removing: bool = False, **tuning: Any) -> Wish:
    spec = parse_cluster(cluster_text(*services, system=tuning), file=FILE)
    return Wish(spec=spec, hosts={service.name: ["node-1"] for service in spec.services}, removing=removing)


def settings(wish: Wish, setup: Setup) -> dict[tuple[str, str], Any]:
    return {
        (each.file, each.key): each.value for each in system.settings(wish, Node("node-1", node(), setup))
    }


def work(wish: Wish, setup: Setup) -> Work:
    (found,) = system.work(wish, [Node("node-1", node(), setup)])
    return found


def done(wish: Wish, setup: Setup) -> Reconciled:
    return reconcile(system.settings(wish, Node("node-1", node(), setup)), setup)


def test_what_the_vendors_publish_is_set_now_and_at_the_next_boot() -> None:
    found = done(wish_of(service_data()), setup_of())
    assert found.values == {
        "/proc/sys/vm/swappiness": "0",
        "/proc/sys/kernel/numa_balancing": "0",
        "/proc/sys/kernel/sched_migration_cost_ns": "50000",
        system.THP: "always",
        system.RESERVED_PORTS: "7000-7002,8000",
        POLICY.format(0, "scaling_governor"): "performance",
        POLICY.format(4, "scaling_governor"): "performance",
    }
    sysctl = (found.writes[system.SYSCTL_FILE].text or "").splitlines()
    assert "vm.swappiness = 0" in sysctl
    assert "net.ipv4.ip_local_reserved_ports = 7000-7002,8000" in sysctl
    boot = found.writes[system.TMPFILES_FILE].text or ""
    assert f"w {system.THP} - - - - always\n" in boot
    assert f"w {system.GOVERNORS} - - - - performance\n" in boot


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("swappiness", "/proc/sys/vm/swappiness"),
        ("numa_balancing", "/proc/sys/kernel/numa_balancing"),
        ("sched_migration_cost_ns", "/proc/sys/kernel/sched_migration_cost_ns"),
        ("transparent_hugepages", system.THP),
        ("governor", POLICY.format(0, "scaling_governor")),
        ("reserved_ports", system.RESERVED_PORTS),
        ("nofile", system.LIMITS_FILE),
    ],
)
def test_a_key_that_is_null_is_left_alone(key: str, path: str) -> None:
    assert (path, "") in settings(wish_of(service_data()), setup_of())
    off: dict[str, Any] = {key: None}
    assert (path, "") not in settings(wish_of(service_data(), **off), setup_of())


def test_without_the_part_or_at_a_teardown_nothing_is_wanted() -> None:
    spec = parse_cluster(cluster_text(service_data()), file=FILE)
    assert settings(Wish(spec=spec, hosts={"chat": ["node-1"]}), setup_of()) == {}
    assert settings(wish_of(service_data(), removing=True), setup_of()) == {}
    assert system.work(wish_of(service_data(), removing=True), [Node("node-1", node(), setup_of())]) == []


def test_what_a_kernel_does_not_have_is_told_and_kept_for_no_boot() -> None:
    values = {path: text for path, text in VALUES.items() if "cpufreq" not in path and "sched" not in path}
    absent = Answered(error="absent")
    setup = setup_of(values)
    more = {"/proc/sys/kernel/sched_migration_cost_ns": absent}
    setup = setup.model_copy(update={"values": {**setup.values, **more}})
    found, notes = done(wish_of(service_data()), setup), work(wish_of(service_data()), setup).notes
    assert "sched_migration_cost_ns" not in (found.writes[system.SYSCTL_FILE].text or "")
    assert "scaling_governor" not in (found.writes[system.TMPFILES_FILE].text or "")
    assert any("sched_migration_cost_ns" in note for note in notes)
    assert any("no CPU frequency governor" in note for note in notes)
    assert found.unset == ()


def test_a_governor_that_the_policies_do_not_have_is_told_and_not_tried() -> None:
    available = {
        POLICY.format(number, "scaling_available_governors"): "powersave schedutil\n" for number in (0, 4)
    }
    setup = setup_of({**VALUES, **available})
    assert not any("scaling_governor" in path for path, _ in settings(wish_of(service_data()), setup))
    assert any(
        "no governor 'performance', only powersave" in note
        for note in work(wish_of(service_data()), setup).notes
    )


def test_a_value_that_is_read_only_is_told_and_kept_for_no_boot() -> None:
    setup = setup_of()
    sealed = {path: answer.model_copy(update={"read_only": True}) for path, answer in setup.values.items()}
    found = done(wish_of(service_data()), setup.model_copy(update={"values": sealed}))
    assert found.values == {}
    assert not {system.SYSCTL_FILE, system.TMPFILES_FILE} & set(found.writes)
    assert any("vm/swappiness" in note for note in found.unset)


def record_of(found: Reconciled) -> dict[str, dict[str, Any]]:
    return {RECORD: record_data(found.settled, "prod")}


def test_reserved_ports_of_others_stay_whatever_the_services_are() -> None:
    before = setup_of()
    first = done(wish_of(service_data()), before)
    ours = {**VALUES, system.RESERVED_PORTS: first.values[system.RESERVED_PORTS]}
    records: dict[str, Any] = {"records": record_of(first)}
    again = done(wish_of(service_data()), setup_of(ours, **records))
    assert system.RESERVED_PORTS not in again.values
    moved = done(wish_of(service_data(port=9000, replicas=2)), setup_of(ours, **records))
    assert moved.values[system.RESERVED_PORTS] == "7000-7002,9000-9001"
    more = {**ours, system.RESERVED_PORTS: "1234,7000-7002,8000"}
    added = done(wish_of(service_data(port=9000)), setup_of(more, **records))
    assert added.values[system.RESERVED_PORTS] == "1234,7000-7002,9000"
    removed = done(wish_of(service_data(), removing=True), setup_of(ours, **records))
    assert removed.values[system.RESERVED_PORTS] == "7000-7002"


@pytest.mark.parametrize(
    ("more", "ports"),
    [
        ({}, {8000}),
        ({"replicas": 3}, {8000, 8001, 8002}),
        ({"topology": {"tensor_parallel": 2}}, {8000, 16666, *range(60000, 60256)}),
        (
            {"topology": {"tensor_parallel": 2}, "env": {"HCCL_IF_BASE_PORT": 50000}},
            {8000, 16666, *range(50000, 50016)},
        ),
        (
            {"topology": {"tensor_parallel": 2}, "env": {"HCCL_HOST_SOCKET_PORT_RANGE": "51000-51001"}},
            {8000, 16666, 51000, 51001},
        ),
    ],
)
def test_the_ports_of_services_and_of_hccl_are_reserved(more: dict[str, Any], ports: set[int]) -> None:
    assert system.service_ports(wish_of(service_data(**more)), "node-1") == ports
    assert system.service_ports(wish_of(service_data(**more)), "node-2") == set()


def test_limits_are_raised_and_never_lowered() -> None:
    theirs = {
        "/etc/security/limits.conf": "* hard nofile 1000000\n# * soft nofile 9999999\nroot - nofile unlimited\n",
        "/etc/security/limits.d/20-x.conf": "* soft nofile 70000\n",
        "/etc/systemd/system.conf": "[Manager]\n#DefaultLimitNOFILE=9\nDefaultLimitNOFILE=1024:infinity\n",
    }
    files = {path: TextFile(path=path, text=text) for path, text in theirs.items()}
    wanted = settings(wish_of(service_data()), setup_of(files=files))
    lines = wanted[system.LIMITS_FILE, ""].splitlines()[1:]
    assert lines == [
        "* soft nofile 70000",
        "* hard nofile 1000000",
        "root soft nofile unlimited",
        "root hard nofile unlimited",
    ]
    assert wanted[system.SYSTEMD_FILE, ""].endswith("[Manager]\nDefaultLimitNOFILE=65536:infinity\n")
    plain = settings(wish_of(service_data(), nofile=100000), setup_of())
    assert plain[system.SYSTEMD_FILE, ""].endswith("DefaultLimitNOFILE=100000:524288\n")


@pytest.mark.parametrize(
    ("engine", "allow", "limit", "note"),
    [
        (EngineSetup(version="24", nofile=1048576, nofile_hard=1048576), False, None, ""),
        (EngineSetup(version="28", nofile=1024, nofile_hard=524288), False, (65536, 524288), ""),
        (
            EngineSetup(version="28", nofile=1024, nofile_hard=524288, running=["x"]),
            False,
            None,
            "--allow-restart",
        ),
        (
            EngineSetup(version="28", nofile=1024, nofile_hard=524288, running=["x"]),
            True,
            (65536, 524288),
            "",
        ),
        (
            EngineSetup(version="28", nofile=1024, nofile_hard=524288, running=["x"], live_restore=True),
            False,
            (65536, 524288),
            "",
        ),
        (EngineSetup(version="24", nofile=20000, nofile_hard=20000), False, None, "hard limit of containerd"),
        (EngineSetup(), False, None, ""),
    ],
)
def test_containers_get_the_limit_where_no_container_dies_of_it(
    engine: EngineSetup, allow: Any, limit: tuple[int, int] | None, note: str
) -> None:
    wish = wish_of(service_data())
    wish = Wish(spec=wish.spec, hosts=wish.hosts, allow_restart=allow)
    setup = setup_of(engine=engine)
    found = settings(wish, setup).get((DAEMON_FILE, "default-ulimits.nofile"))
    assert (found and (found["Soft"], found["Hard"])) == limit
    notes = " ".join(work(wish, setup).notes)
    assert note in notes
    assert bool(note) == ("files, not" in notes)


def test_where_nothing_keeps_the_clock_chrony_is_installed_and_started() -> None:
    setup = setup_of(units={"chrony.service": "not-found", "systemd-timesyncd.service": "inactive"})
    found = work(wish_of(service_data()), setup)
    assert found.variables["os_tuning_packages"] == ["chrony"]
    assert found.variables["os_tuning_units"] == [{"name": "chrony.service", "restart": False}]
    assert {change.what for change in found.changes} == {"chrony", "chrony.service"}


@pytest.mark.parametrize("unit", ["chronyd.service", "ntpd.service", "systemd-timesyncd.service"])
def test_where_something_keeps_the_clock_it_is_left_to_it(unit: str) -> None:
    found = work(wish_of(service_data(), time_servers=["ntp.example"]), setup_of(units={unit: "active"}))
    assert not found.changes
    assert not found.variables


def test_time_servers_go_with_a_chrony_that_npuctl_brings_and_stay_with_it() -> None:
    wish = wish_of(service_data(), time_servers=["ntp.example", "10.0.0.9"])
    fresh = work(wish, setup_of(units={}))
    (file,) = fresh.variables["os_tuning_fresh_files"]
    assert file["path"] == CHRONY
    assert "server ntp.example iburst\nserver 10.0.0.9 iburst\n" in file["text"]
    assert fresh.variables["os_tuning_units"] == [{"name": "chrony.service", "restart": True}]
    assert (CHRONY, "") not in settings(wish, setup_of(units={}))
    files = {CHRONY: TextFile(path=CHRONY, text=file["text"])}
    after = setup_of(files=files, packages={"chrony": "4"})
    assert not work(wish, after).changes
    other = work(wish_of(service_data(), time_servers=["ntp2.example"]), after)
    assert other.variables["os_tuning_units"] == [{"name": "chrony.service", "restart": True}]


def test_a_chrony_that_was_there_and_stood_still_gets_its_configuration_back() -> None:
    wish = wish_of(service_data(), time_servers=["ntp.example"])
    before = setup_of(
        units={}, files={CHRONY: TextFile(path=CHRONY, text="pool x\n")}, packages={"chrony": "4"}
    )
    first = done(wish, before)
    written = first.writes[CHRONY].text or ""
    there: dict[str, Any] = {
        "files": {CHRONY: TextFile(path=CHRONY, text=written)},
        "packages": {"chrony": "4"},
    }
    after = setup_of(**there, records=record_of(first))
    assert CHRONY not in done(wish, after).writes
    assert not work(wish, after).changes
    assert done(wish_of(service_data(), removing=True), after).writes[CHRONY].text == "pool x\n"


def test_an_unknown_system_is_a_finding_only_where_something_has_to_be_installed() -> None:
    unknown: dict[str, Any] = {"os_id": "plan9", "packages_by": ""}
    (finding,) = work(wish_of(service_data()), setup_of(units={}, **unknown)).findings
    assert finding.id == "provision.os_unknown"
    assert "plan9" in finding.seen
    assert work(wish_of(service_data()), setup_of(**unknown)).findings == ()
    assert work(wish_of(service_data(), time_sync=False), setup_of(units={}, **unknown)).findings == ()


def test_everything_is_asked_for() -> None:
    asked = system.questions(wish_of(service_data()))
    assert set(VALUES) - {POLICY.format(n, "scaling_governor") for n in (0, 4)} <= asked.values
    assert system.GOVERNORS in asked.values
    assert {
        each[0] for each in settings(wish_of(service_data()), setup_of()) if each[0].startswith("/etc/")
    } <= asked.files
    assert "systemd-timesyncd.service" in asked.units
