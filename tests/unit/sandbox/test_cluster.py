"""What a sandbox is made of, decided without an engine: names, addresses, networks, remedies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from npuctl.errors import UsageError
from npuctl.sandbox import cluster, docker, images, model, preflight
from npuctl.sandbox.cluster import Wanted
from npuctl.sandbox.model import Sandbox
from npuctl.sandbox.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

TWO = Sandbox("sandbox", 2, "a2", "10.77.3.0/24")


def test_nodes_have_fixed_names_containers_and_addresses() -> None:
    assert [(node.name, node.container, node.address) for node in TWO.members] == [
        ("node-1", "npuctl-sandbox-node-1", "10.77.3.11"),
        ("node-2", "npuctl-sandbox-node-2", "10.77.3.12"),
    ]


def test_every_node_of_the_largest_sandbox_has_an_address_in_its_network() -> None:
    members = Sandbox("x", model.MOST_NODES, "a3", "10.77.0.0/24").members
    assert len({node.address for node in members}) == model.MOST_NODES
    assert members[-1].address == f"10.77.0.{10 + model.MOST_NODES}"


def test_a_node_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="no node 'node-3'") as caught:
        TWO.node("node-3")
    assert caught.value.hint == "node-1 to node-2"


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a b", "-a", "a;rm", "../x", "a" * 32, "a\n"])
def test_names_that_a_shell_or_docker_could_misread_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="a letter first"):
        model.check_name(name)


@pytest.mark.parametrize("count", [0, -1, model.MOST_NODES + 1])
def test_node_counts_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match="1 to 64 nodes"):
        model.check_nodes(count)


@pytest.mark.parametrize(
    "version", ["", "25", "25.5", "25.5.2;id", "25.5.2\n", "../25.5.2", "x.5.2", "٢٥.5.2"]
)
def test_versions_that_a_shell_or_a_path_could_misread_are_refused(version: str) -> None:
    with pytest.raises(UsageError, match=r"--driver .* is no version"):
        model.check_version(version, "--driver")


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], "10.77.0.0/24"),
        (["10.77.0.0/24", "172.17.0.0/16"], "10.77.1.0/24"),
        (["10.77.0.0/23"], "10.77.2.0/24"),
        (["10.77.1.128/25"], "10.77.0.0/24"),
        (["0.0.0.0/0", "fd00::/8"], "10.77.0.0/24"),  # the default route covers everything and means nothing
    ],
)
def test_the_first_network_that_overlaps_nothing_is_chosen(taken: list[str], expected: str) -> None:
    assert model.choose_subnet(taken) == expected


def test_no_free_network_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match=r"every 10\.77\.X\.0/24 is in use"):
        model.choose_subnet(["10.77.0.0/16"])


def test_the_kernels_route_table_is_read() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "br-1\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert model.routed_networks(table) == ["0.0.0.0/0.0.0.0", "10.77.0.0/255.255.255.0"]


def wanted(nodes: int | None = None, product: str | None = None, **more: Any) -> Wanted:
    return Wanted("sandbox", nodes, product, "none", None, **more)


@pytest.mark.parametrize(
    "call", [wanted(), wanted(2), wanted(2, "a2"), wanted(product="a2"), wanted(driver="25.5.2")]
)
def test_up_again_with_what_is_there_is_accepted(call: Wanted) -> None:
    cluster._refuse_difference(TWO, call)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (wanted(3), "--nodes 3"),
        (wanted(product="a3"), "--product a3"),
        (wanted(4, "310p"), "--nodes 4 --product 310p"),
        (wanted(bare=True), "--bare"),
        (wanted(driver="24.1.0"), "--driver 24.1.0"),
    ],
)
def test_up_with_other_settings_names_both_sides(call: Wanted, told: str) -> None:
    with pytest.raises(UsageError, match=r"has 2 nodes of a2, driver 25\.5\.2 \(simulated NPUs\)") as caught:
        cluster._refuse_difference(TWO, call)
    assert told in str(caught.value)
    assert "npuctl sandbox down --name sandbox" in caught.value.hint


@pytest.mark.parametrize(
    ("complaint", "says", "remedy"),
    [
        (
            "Got permission denied while trying to connect to the Docker daemon socket",
            "may not use",
            "usermod",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
            "does not run",
            "systemctl start",
        ),
        ("error during connect: EOF", "error during connect: EOF", "docker info"),
        ("", "it said nothing", "docker info"),
    ],
)
def test_an_engine_that_does_not_answer_has_a_remedy(complaint: str, says: str, remedy: str) -> None:
    error = preflight.why_no_answer(complaint)
    assert says in str(error)
    assert remedy in error.hint
    assert error.exit_code == 2


def test_a_machine_that_lets_containers_do_too_little_is_recognised() -> None:
    said = "OCI runtime create failed: unable to apply caps: operation not permitted"
    assert "unprivileged container" in preflight.why_no_node(said)
    assert preflight.why_no_node("something else") == ""


def test_a_remote_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    with pytest.raises(UsageError, match="needs a local Docker engine"):
        preflight.require_engine()


def test_without_a_client_the_remedy_is_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="no Docker client") as caught:
        preflight.require_engine()
    assert "tools/ensure-docker" in caught.value.hint


def test_purge_keeps_images_while_a_sandbox_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "names", lambda: ["other"])
    assert cluster._purge(Progress()) == []


def test_purge_removes_the_builds_the_images_and_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = {"ps": ["c0ffee"], "images": ["npuctl-sandbox/node:1"]}
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(cluster, "names", list)
    monkeypatch.setattr(docker, "lines", lambda *arguments: answers[arguments[0]])
    monkeypatch.setattr(docker, "run", lambda *arguments: ran.append(arguments))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (images.cache_folder() / "sim-vllm-1.tar").write_text("x")
    assert cluster._purge(Progress()) == ["npuctl-sandbox/node:1", str(tmp_path / "npuctl")]
    assert ran == [
        ("rm", "--force", "--volumes", "c0ffee"),
        ("image", "rm", "--force", "npuctl-sandbox/node:1"),
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_first_error_of_many_is_raised_and_the_rest_does_not_begin() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise UsageError("one")

    with pytest.raises(UsageError, match="one"):
        docker.in_parallel(work, range(100), at_once=1)
    assert len(begun) < 100


@pytest.mark.parametrize("script", ["exec sleep 9", "echo Pulling; exec sleep 9", "exit 1"])
def test_a_registry_that_does_not_answer_in_time_is_given_up(
    script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fake_docker(script, monkeypatch, tmp_path)
    assert not docker.pull("x", answers_within=0.2, done_within=0.2)


def test_a_registry_that_answers_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_docker("echo Pulling; sleep 0.3; echo done", monkeypatch, tmp_path)
    assert docker.pull("x", answers_within=5, done_within=5)


def _fake_docker(script: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = folder / "docker"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
