"""Docker: what is installed, what daemon.json gets, and whether Docker is reloaded, restarted or left alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.model import ClusterFacts
from npuctl.facts.setup import EngineSetup, Setup, TextFile
from npuctl.plan.provision import container_engine, proxy
from npuctl.plan.provision._contract import DAEMON_FILE, LocalFile, Node, Wish, Work
from npuctl.plan.provision.build import provision_plan
from npuctl.plan.provision.formats import ABSENT
from npuctl.plan.provision.settings import RECORD, Noted, Setting, reconcile, record_data
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, node, service_data

DAEMON = DAEMON_FILE
THEIRS = '{\n  "data-root": "/data",\n  "log-opts": {"max-file": "2"},\n  "registry-mirrors": ["https://mine.example"]\n}\n'
INFO = "/usr/local/Ascend/Ascend-Docker-Runtime/ascend_docker_runtime_install.info"
PACKAGE = "rt/Ascend-docker-runtime_7.3.0_linux-aarch64.run"
DIGEST = "ab" * 32
RUNTIME = {"package": "rt/Ascend-docker-runtime_7.3.0_linux-{arch}.run"}


def setup_of(daemon: str | None = THEIRS, **more: Any) -> Setup:
    own: dict[str, Any] = {
        "files": {DAEMON: None if daemon is None else TextFile(path=DAEMON, text=daemon)},
        "programs": {"dockerd": "/usr/sbin/dockerd"},
        "units": {"docker.service": "active"},
        "os_id": "openEuler",
        "packages_by": "dnf",
        "engine": EngineSetup(version="24"),
    }
    return Setup(**(own | more))


def node_of(setup: Setup) -> Node:
    return Node("node-1", node(), setup)


def wish_of(engine: dict[str, Any] | None, *, local: tuple[LocalFile, ...] = (), **more: Any) -> Wish:
    parts = {key: more.pop(key) for key in ("proxy",) if key in more}
    parts |= {} if engine is None else {"container_engine": engine}
    spec = parse_cluster(cluster_text(service_data(), **parts), file=FILE)
    return Wish(spec=spec, hosts={"chat": ["node-1"]}, local={file.path: file for file in local}, **more)


def work(wish: Wish, setup: Setup) -> Work:
    (found,) = container_engine.work(wish, [node_of(setup)])
    return found


def after(wish: Wish, setup: Setup, *extra: Setting) -> list[Work]:
    reconciled = reconcile([*container_engine.settings(wish, node_of(setup)), *extra], setup)
    return container_engine.after_settings(wish, node_of(setup), reconciled)


def daemon_after(wish: Wish, setup: Setup) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        reconcile(container_engine.settings(wish, node_of(setup)), setup).writes[DAEMON].text or "{}"
    )
    return found


def test_keys_are_merged_into_what_is_there() -> None:
    wish = wish_of(
        {
            "ascend_runtime": RUNTIME,
            "default_runtime": True,
            "daemon": {
                "log-opts": {"max-size": "500m"},
                "insecure-registries": ["r.example:5000"],
                "registry-mirrors": ["https://more.example"],
                "exec-opts": ["native.cgroupdriver=systemd"],
            },
        }
    )
    assert daemon_after(wish, setup_of()) == {
        "data-root": "/data",
        "log-opts": {"max-file": "2", "max-size": "500m"},
        "registry-mirrors": ["https://more.example", "https://mine.example"],
        "insecure-registries": ["r.example:5000"],
        "exec-opts": ["native.cgroupdriver=systemd"],
        "runtimes": {
            "ascend": {"path": "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"},
        },
        "default-runtime": "ascend",
    }


def test_what_is_written_goes_before_what_follows() -> None:
    engine = {"default_runtime": True, "daemon": {"default-runtime": "runc"}}
    assert daemon_after(wish_of(engine), setup_of())["default-runtime"] == "runc"


def test_the_default_runtime_is_changed_only_if_asked() -> None:
    assert "default-runtime" not in daemon_after(wish_of({"ascend_runtime": RUNTIME}), setup_of())


@pytest.mark.parametrize(
    ("daemon", "effect"),
    [
        ({"registry-mirrors": ["https://m.example"]}, "reload"),
        ({"runtimes": {"x": {"path": "/x"}}, "labels": ["a=b"], "max-concurrent-downloads": 3}, "reload"),
        ({"log-opts": {"max-size": "1g"}}, "restart"),
        ({"data-root": "/other"}, "restart"),
        ({"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 9, "Soft": 9}}}, "restart"),
        ({"debug": True, "bip": "10.9.0.1/24"}, "restart"),
    ],
)
def test_docker_is_reloaded_where_that_is_enough(daemon: dict[str, Any], effect: str) -> None:
    (found,) = after(wish_of({"daemon": daemon}), setup_of())
    assert found.variables["container_engine_effect"] == effect
    assert found.findings == ()


def test_where_nothing_changes_docker_is_left_alone() -> None:
    wish = wish_of({"daemon": {"registry-mirrors": ["https://mine.example"]}})
    assert after(wish, setup_of()) == []
    assert work(wish, setup_of()).changes == ()


def test_certificates_need_neither() -> None:
    certificate = Setting("/etc/docker/certs.d/r.example/ca.crt", "", "PEM")
    (found,) = after(wish_of({}), setup_of(), certificate)
    assert found.variables["container_engine_effect"] == "none"


@pytest.mark.parametrize(
    ("engine", "allow", "refused"),
    [
        (EngineSetup(running=["npuctl-prod-chat-0", "postgres"]), False, True),
        (EngineSetup(running=["npuctl-prod-chat-0", "postgres"]), True, False),
        (EngineSetup(running=["postgres"], live_restore=True), False, False),
        (EngineSetup(), False, False),
    ],
)
def test_a_restart_that_would_end_containers_is_refused_by_name(
    engine: EngineSetup, allow: Any, refused: Any
) -> None:
    wish = replace(wish_of({"daemon": {"log-driver": "journald"}}), allow_restart=allow)
    (found,) = after(wish, setup_of(engine=engine))
    assert [finding.id for finding in found.findings] == ["provision.docker_restart"] * refused
    if refused:
        assert "npuctl-prod-chat-0, postgres" in found.findings[0].seen
        assert "log-driver" in found.findings[0].seen


def test_a_reload_is_never_refused() -> None:
    wish = wish_of({"daemon": {"labels": ["a=b"]}})
    (found,) = after(wish, setup_of(engine=EngineSetup(running=["postgres"])))
    assert found.findings == ()


@pytest.mark.parametrize("text", [THEIRS, None])
def test_the_role_is_told_what_the_plan_has_seen(text: str | None) -> None:
    (found,) = after(wish_of({"daemon": {"labels": ["a=b"]}}), setup_of(text))
    seen = hashlib.sha256(text.encode()).hexdigest() if text else ""
    assert found.variables["container_engine_seen"] == {DAEMON: seen}


def test_what_a_killed_run_owes_is_done_by_the_next() -> None:
    setup = setup_of(records={"container_engine": {"owed": "restart"}}, engine=EngineSetup(running=["x"]))
    assert work(wish_of(None), setup).changes
    (found,) = after(wish_of(None), setup)
    assert found.variables["container_engine_effect"] == "restart"
    assert [finding.id for finding in found.findings] == ["provision.docker_restart"]
    odd = setup_of(records={"container_engine": {"owed": "nonsense", "error": "no JSON"}})
    assert not work(wish_of(None), odd).changes


def test_a_changed_proxy_restarts_docker_and_no_secret_is_in_the_plan() -> None:
    secrets = {"way_out": "http://me:canary@p.example:3128"}
    wish = replace(wish_of({}, proxy={"http": {"secret": "way_out"}}), secrets=secrets)
    (found,) = after(wish, setup_of(), *proxy.settings(wish, node_of(setup_of())))
    assert found.variables["container_engine_effect"] == "restart"
    assert found.variables["container_engine_environment_path"] == proxy.ENVIRONMENT_FILE
    assert found.secret_variables == {"container_engine_http_proxy": "way_out"}
    assert "canary" not in repr(found)
    removing = replace(wish, removing=True)
    there = setup_of(files={proxy.ENVIRONMENT_FILE: TextFile(path=proxy.ENVIRONMENT_FILE, text="x")})
    (gone,) = after(removing, there)
    assert gone.variables["container_engine_environment"] == {}


def test_a_missing_docker_comes_from_the_family_and_starts_with_its_configuration() -> None:
    setup = setup_of(None, programs={"dockerd": ""}, units={}, engine=EngineSetup())
    wish = wish_of({"daemon": {"labels": ["a=b"]}})
    assert work(wish, setup).variables["container_engine_packages"] == ["docker-engine"]
    (found,) = after(wish, setup)
    assert found.variables["container_engine_effect"] == "restart"
    assert found.variables["container_engine_present"] is True


def test_a_docker_that_is_stopped_is_started() -> None:
    found = work(wish_of({}), setup_of(units={"docker.service": "inactive"}))
    assert [change.wanted for change in found.changes] == ["active"]


@pytest.mark.parametrize(
    ("release", "identity"),
    [
        ({"os_id": "plan9", "packages_by": ""}, "provision.os_unknown"),
        ({"os_id": "centos", "packages_by": "yum"}, "provision.docker_package"),
    ],
)
def test_where_no_package_is_known_it_is_said(release: dict[str, Any], identity: str) -> None:
    setup = setup_of(None, programs={"dockerd": ""}, **release)
    assert [finding.id for finding in work(wish_of({}), setup).findings] == [identity]


def test_given_files_are_installed_in_their_order_and_missed_before_anything_is_touched() -> None:
    setup = setup_of(None, programs={"dockerd": ""})
    wish = wish_of({"packages": ["p/containerd-{arch}.rpm", "p/docker.rpm"]})
    (finding,) = work(wish, setup).findings
    assert finding.id == "provision.engine_file"
    assert "p/containerd-aarch64.rpm, p/docker.rpm" in finding.seen
    files = [
        LocalFile(path, resolved=f"/here/{path}") for path in ("p/docker.rpm", "p/containerd-aarch64.rpm")
    ]
    found = work(replace(wish, local={file.path: file for file in files}), setup)
    assert found.variables["container_engine_package_files"] == [
        "/here/p/containerd-aarch64.rpm",
        "/here/p/docker.rpm",
    ]
    assert not work(wish, setup_of()).findings, "Docker is there: its packages are not needed"


LOCAL = LocalFile(PACKAGE, size=1, sha256=DIGEST, resolved=f"/here/{PACKAGE}")


@pytest.mark.parametrize(
    ("info", "record", "runtime"),
    [
        (None, {}, {"source": f"/here/{PACKAGE}", "sha256": DIGEST, "upgrade": False}),
        ("version=v7.1.RC1\n", {}, {"source": f"/here/{PACKAGE}", "sha256": DIGEST, "upgrade": True}),
        ("version=v7.3.0\narch=aarch64\n", {}, None),
        ("version=v7.3.0.1\n", {"identity": DIGEST, "rc": 0}, None),
        (
            None,
            {"identity": DIGEST, "rc": 0},
            {"source": f"/here/{PACKAGE}", "sha256": DIGEST, "upgrade": False},
        ),
    ],
)
def test_the_ascend_runtime_is_installed_where_it_is_another(
    info: str | None, record: dict[str, Any], runtime: dict[str, Any] | None
) -> None:
    files = {INFO: None if info is None else TextFile(path=INFO, text=info)}
    setup = setup_of(files=files, records={"ascend_runtime": record})
    found = work(wish_of({"ascend_runtime": RUNTIME}, local=(LOCAL,)), setup)
    expected = None if runtime is None else {**runtime, "accept_eula": False}
    assert found.variables.get("container_engine_runtime") == expected
    assert bool(found.changes) == (runtime is not None)


@pytest.mark.parametrize("digest", ["cd" * 32, {PACKAGE.rpartition("/")[2]: "cd" * 32}])
def test_a_package_with_another_digest_is_refused(digest: Any) -> None:
    wish = wish_of({"ascend_runtime": {**RUNTIME, "sha256": digest}}, local=(LOCAL,))
    (finding,) = work(wish, setup_of()).findings
    assert finding.id == "provision.engine_file"
    assert DIGEST in finding.seen


def test_at_a_teardown_the_keys_go_and_docker_is_told() -> None:
    wish = wish_of({"daemon": {"labels": ["a=b"]}})
    first = reconcile(container_engine.settings(wish, node_of(setup_of())), setup_of())
    text = first.writes[DAEMON].text
    setup = setup_of(text, records={RECORD: record_data(first.settled, "prod")})
    (found,) = after(replace(wish, removing=True), setup)
    assert found.variables["container_engine_effect"] == "reload"
    assert container_engine.settings(replace(wish, removing=True), node_of(setup)) == []


def test_what_a_killed_reload_left_is_nobodys_change() -> None:
    told, meant = '{"debug": false, "labels": []}', '{\n  "labels": []\n}'
    digest = hashlib.sha256(told.encode()).hexdigest()
    both = {
        DAEMON: TextFile(path=DAEMON, text=told),
        container_engine.MEANT_FILE: TextFile(path=container_engine.MEANT_FILE, text=meant),
    }
    setup = setup_of(
        files=both, records={container_engine.RELOAD_RECORD: {"gone": ["debug"], "told": digest}}
    )
    seen = container_engine.as_meant(setup).files[DAEMON]
    assert seen is not None
    assert (seen.path, seen.text, seen.absent) == (DAEMON, meant, False)
    plan = provision_plan(wish_of(None), ClusterFacts(nodes={"node-1": node(setup=setup)}))
    assert not [work for work in plan.works if work.stage == "container_engine"]
    gone = container_engine.as_meant(setup.model_copy(update={"files": {DAEMON: both[DAEMON]}})).files[DAEMON]
    assert gone is not None
    assert (gone.text, gone.absent) == ("", True)
    newer = setup.model_copy(update={"files": {**both, DAEMON: TextFile(path=DAEMON, text="{}")}})
    assert container_engine.as_meant(newer) == newer, "somebody wrote it since"


def test_a_setting_is_still_ours_after_a_killed_reload() -> None:
    """npuctl set debug, the spec dropped it, the reload that took it back was killed: nothing is left to keep."""
    noted = record_data([Noted(DAEMON, "debug", item=False, before=ABSENT, ours=(True,))], "prod")
    told = '{"debug": false}'
    reload = {"gone": ["debug"], "told": hashlib.sha256(told.encode()).hexdigest()}
    records = {
        RECORD: noted,
        container_engine.RECORD: {"owed": "reload"},
        container_engine.RELOAD_RECORD: reload,
    }
    setup = setup_of(told, records=records)
    plan = provision_plan(wish_of(None), ClusterFacts(nodes={"node-1": node(setup=setup)}))
    (work,) = [work for work in plan.works if work.stage == "container_engine"]
    assert work.notes == ()
    assert [change.what for change in work.changes] == ["Docker"]
    assert plan.records["node-1"].after == ()
