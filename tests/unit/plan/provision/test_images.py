"""Which images each node gets, from where, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from npuctl.facts.image_archive import ArchivedImage, ImageArchive
from npuctl.facts.model import DockerFacts, NodeFacts
from npuctl.facts.setup import LocalImage, Setup
from npuctl.facts.survey import DiskFacts, ImageFacts, Survey
from npuctl.plan.provision._contract import LocalFile, Node, Wish, Work
from npuctl.plan.provision.images import questions, settings, work
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, REPOSITORY, cluster_text, host, node, service_data

NAME = "quay.io/ascend/vllm-ascend:v0.18.0"
MIRROR = {"docker": {"images": {"quay.io": "m.example/quay.io"}}}
THROUGH = "m.example/quay.io/ascend/vllm-ascend:v0.18.0"
FILES = {"image_file": "images/vllm-{arch}.tar"}


def wish(*services: dict[str, Any], archives: dict[str, ImageArchive] | None = None, **more: Any) -> Wish:
    own = {key: more.pop(key) for key in ("removing", "remove", "local") if key in more}
    spec = parse_cluster(cluster_text(*(services or (service_data(),)), **more), file=FILE)
    files = {
        path: LocalFile(path, 2**30, resolved=f"/here/{path}", archive=archive)
        for path, archive in (archives or {}).items()
    }
    hosts = {entry.name: list(entry.hosts) for entry in spec.services}
    return Wish(spec, hosts=hosts, nodes=["node-1", "node-2"], **{"local": files, **own})


def at(
    facts: NodeFacts | None = None,
    *images: str,
    name: str = "node-1",
    record: dict[str, Any] | None = None,
    there: str = "",
) -> Node:
    found = {reference: LocalImage(id=f"sha256:{reference}") for reference in images}
    found |= {NAME: LocalImage(id=there)} if there else {}
    records = {"images": {"schema": 1, "images": record}} if record else {}
    return Node(name, facts or node(images=[]), Setup(images=found, records=records))


def only(works: list[Work]) -> Work:
    (one,) = works
    options = yaml.safe_load((REPOSITORY / f"roles/{one.role}/meta/argument_specs.yml").read_text())
    spec = options["argument_specs"][one.entry]["options"]
    if one.changes:
        given = json.loads(json.dumps(one.variables))
        errors = ArgumentSpecValidator(spec).validate(given).error_messages
        assert errors == [], "the role would not take it"
    else:
        assert not one.variables
    return one


def archive(*images: ArchivedImage) -> ImageArchive:
    return ImageArchive(images=list(images))


def archived(**changes: Any) -> ArchivedImage:
    own = {"id": "sha256:in-the-file", "names": [NAME], "architecture": "arm64", "unpacked_bytes": 2**30}
    return ArchivedImage.model_validate(own | changes)


def test_an_image_that_is_absent_is_pulled_through_the_mirror() -> None:
    found = only(work(wish(mirrors=MIRROR), [at()]))
    (change,) = found.changes
    assert (change.what, change.was, change.wanted) == (
        f"image {NAME}",
        "absent",
        f"pulled through {THROUGH}",
    )
    (image,) = found.variables["container_image_images"]
    assert image == {"reference": NAME, "source": THROUGH, "registry": "m.example"}
    assert found.variables["container_image_logins"] == []
    assert found.findings == ()


def test_a_login_is_handed_on_by_name() -> None:
    logins = {"m.example": {"username": "robot", "password": {"secret": "pull_password"}}}
    found = only(work(wish(mirrors=MIRROR, registries=logins), [at()]))
    assert found.variables["container_image_logins"] == [
        {"registry": "m.example", "username": "robot", "secret": "pull_password"}
    ]


def test_what_is_there_stays_as_it_is() -> None:
    assert only(work(wish(mirrors=MIRROR), [at(None, NAME)])).changes == ()


def test_an_image_pinned_by_digest_is_there_under_the_mirrors_name() -> None:
    pinned = "quay.io/ascend/vllm-ascend@sha256:" + "0" * 64
    wanted = wish(service_data(image=pinned), mirrors=MIRROR)
    through = pinned.replace("quay.io", "m.example/quay.io")
    assert questions(wanted).images == {pinned, through}
    assert only(work(wanted, [at()])).changes
    assert only(work(wanted, [at(None, through)])).changes == ()
    moved = wish(service_data(image=f"{pinned[:-1]}1"), mirrors=MIRROR)
    assert only(work(moved, [at(None, through)])).changes, "another digest is another image"


def test_each_node_gets_the_image_of_its_product() -> None:
    wanted = wish(service_data(hosts=["node-1", "node-2"]))
    first, second = work(wanted, [at(), at(node("a3", images=[]), name="node-2")])
    assert [work.variables["container_image_images"][0]["reference"] for work in (first, second)] == [
        NAME,
        f"{NAME}-a3",
    ]


def test_a_node_without_services_gets_none() -> None:
    assert only(work(wish(), [at(name="node-2")])).changes == ()


def test_two_services_with_one_image_bring_it_once() -> None:
    found = only(work(wish(service_data(), service_data("other", port=9000)), [at()]))
    assert len(found.changes) == 1


def test_without_an_npu_the_image_is_not_guessed() -> None:
    found = only(work(wish(), [at(node(chips=[], images=[]))]))
    assert found.changes == ()
    assert "no NPU of a known product" in found.notes[0]
    named = wish(service_data(image="own/image:1"))
    assert only(work(named, [at(node(chips=[], images=[]))])).changes, "named in the spec it is no guess"


# --- archives


def test_an_archive_is_loaded_where_that_very_image_is_not() -> None:
    wanted = wish(service_data(**FILES), archives={"images/vllm-aarch64.tar": archive(archived())})
    found = only(work(wanted, [at()]))
    assert found.changes[0].wanted == "loaded from images/vllm-aarch64.tar, 1 GiB"
    (image,) = found.variables["container_image_images"]
    assert image["archive_here"] == "/here/images/vllm-aarch64.tar"
    assert image["archive"] == "/var/lib/npuctl/images/vllm-aarch64.tar"
    assert only(work(wanted, [at(None, there="sha256:in-the-file")])).changes == ()
    other = only(work(wanted, [at(None, there="sha256:another")]))
    assert other.changes[0].was == "another image of this name"


def test_what_containerds_store_made_of_an_archive_is_known_by_the_record() -> None:
    wanted = wish(service_data(**FILES), archives={"images/vllm-aarch64.tar": archive(archived())})
    record = {NAME: {"id": "sha256:of-the-manifest", "archive": "sha256:in-the-file", "names": [NAME]}}
    assert only(work(wanted, [at(None, record=record, there="sha256:of-the-manifest")])).changes == ()
    assert only(work(wanted, [at(None, record=record, there="sha256:retagged")])).changes


def test_a_name_that_the_archive_does_not_have_is_given_to_its_only_image() -> None:
    wanted = wish(
        service_data(**FILES), archives={"images/vllm-aarch64.tar": archive(archived(names=["old:1"]))}
    )
    (image,) = only(work(wanted, [at()])).variables["container_image_images"]
    assert (image["archive_name"], image["archive_names"]) == ("old:1", ["old:1"])


@pytest.mark.parametrize(
    ("archives", "seen"),
    [
        ({}, "there is no images/vllm-aarch64.tar here"),
        ({"images/vllm-x86_64.tar": archive(archived())}, "there is no images/vllm-aarch64.tar here"),
        (
            {"images/vllm-aarch64.tar": archive(archived(names=["a:1"]), archived(names=["b:1"]))},
            "images/vllm-aarch64.tar holds a:1, b:1",
        ),
    ],
)
def test_an_archive_that_cannot_serve_is_refused(archives: dict[str, ImageArchive], seen: str) -> None:
    found = only(work(wish(service_data(**FILES), archives=archives), [at()]))
    (finding,) = found.findings
    assert (finding.id, finding.severity, finding.seen) == ("provision.image_file", "error", seen)
    assert found.changes == ()


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"architecture": "amd64"}, "is built for x86_64"),
        (
            {"soc_version": "ascend910_9391"},
            "is for Atlas 800I/800T A3 (910C) (SOC_VERSION is ascend910_9391)",
        ),
    ],
)
def test_an_archive_for_another_machine_is_refused_before_it_is_copied(
    changes: dict[str, Any], seen: str
) -> None:
    archives = {"images/vllm-aarch64.tar": archive(archived(**changes))}
    found = only(work(wish(service_data(**FILES), archives=archives), [at()]))
    (finding,) = found.findings
    assert finding.id == "version.product"
    assert seen in finding.seen
    assert found.changes == ()


# --- refusals and warnings


def test_an_image_whose_tag_is_for_another_product_is_refused() -> None:
    found = only(work(wish(service_data(image=f"{NAME}-a3")), [at()]))
    assert [finding.id for finding in found.findings] == ["version.product"]
    assert found.changes == ()


def survey(free: int, *images: ImageFacts) -> Survey:
    disks = [DiskFacts(path="/var/lib/docker", holds=["docker"], free_bytes=free)]
    return Survey(host=host(disks=disks), images=list(images))


@pytest.mark.parametrize(
    ("free_gib", "severity"), [(5, "error"), (15, "warning"), (25, None)], ids=["full", "scarce", "room"]
)
def test_the_disk_is_looked_at_first(free_gib: int, severity: str | None) -> None:
    copy = ImageFacts(reference=NAME, size_bytes=10 * 2**30)
    first = at(node(images=[], survey=survey(free_gib * 2**30)))
    second = at(node(survey=survey(2**40, copy)), NAME, name="node-2")
    found, _other = work(wish(service_data(hosts=["node-1", "node-2"])), [first, second])
    assert [(entry.id, entry.severity) for entry in found.findings] == (
        [("disk.image", severity)] if severity else []
    )


def test_docker_must_be_there_or_asked_for() -> None:
    broken = node(images=[], docker=DockerFacts(error="no such file"))
    (finding,) = only(work(wish(), [at(broken)])).findings
    assert (finding.id, finding.severity) == ("provision.no_docker", "error")
    assert only(work(wish(container_engine={}), [at(broken)])).findings == ()


def test_a_login_that_nobody_asks_for_is_a_warning() -> None:
    logins = {"qauy.io": {"username": "me", "password": {"secret": "a"}}}
    found = only(work(wish(registries=logins), [at(None, NAME)]))
    (finding,) = found.findings
    assert (finding.id, finding.severity, finding.node) == ("provision.login_unused", "warning", "")
    assert "qauy.io" in finding.seen
    assert "quay.io" in finding.expected


@pytest.mark.parametrize("prefix", ["m.example/other", "m.example"])
def test_a_login_for_a_mirror_that_is_written_down_is_none_too_many(prefix: str) -> None:
    logins = {"m.example": {"username": "me", "password": {"secret": "a"}}}
    mirrors = {"docker": {"images": {"other.example": prefix}}}
    assert only(work(wish(registries=logins, mirrors=mirrors), [at(None, NAME)])).findings == ()


# --- certificates, teardown


def test_every_registry_that_is_asked_is_trusted() -> None:
    mirrors = {**MIRROR, "ca": "ca.pem"}
    mirrors["docker"] = {**MIRROR["docker"], "registry_mirrors": ["https://hub.example:5000"]}
    local = {"ca.pem": LocalFile("ca.pem", text="PEM")}
    wanted = wish(mirrors=mirrors, local=local)
    found = {setting.file: setting.value for setting in settings(wanted, at())}
    assert found == {
        "/etc/docker/certs.d/hub.example:5000/npuctl.crt": "PEM",
        "/etc/docker/certs.d/m.example/npuctl.crt": "PEM",
    }
    assert questions(wanted).files == set(found)
    assert settings(wish(mirrors=mirrors, local=local, removing=True), at()) == []
    assert settings(wish(mirrors=MIRROR), at()) == []


def test_a_teardown_removes_what_is_noted_and_only_if_that_is_asked_for() -> None:
    record = {NAME: {"names": [NAME]}}
    assert work(wish(removing=True), [at(record=record)]) == []
    asked = wish(removing=True, remove=frozenset({"images"}))
    found = only(work(asked, [at(record=record)]))
    given = {"container_image_references": [NAME], "container_image_cluster": "prod"}
    assert (found.entry, found.variables) == ("remove", given)
    assert only(work(asked, [at(None, NAME)])).changes == (), "what was there before is not ours"


def test_a_teardown_leaves_what_was_brought_for_another_cluster() -> None:
    record = {NAME: {"names": [NAME], "cluster": "other"}, "own:1": {"names": ["own:1"], "cluster": "prod"}}
    asked = wish(removing=True, remove=frozenset({"images"}))
    found = only(work(asked, [at(record=record)]))
    assert found.variables["container_image_references"] == ["own:1"]
    assert found.notes == (f"{NAME} was brought for cluster other: it stays",)
    (theirs,) = work(asked, [at(record={NAME: record[NAME], "odd:1": "no entry"})])
    assert (theirs.changes, theirs.variables) == ((), {})


def test_an_image_is_brought_for_the_cluster_of_the_spec() -> None:
    assert only(work(wish(), [at()])).variables["container_image_cluster"] == "prod"
