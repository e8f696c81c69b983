"""From where an image is pulled, and with whose login."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.hardware.catalog import A2, A3
from npuctl.plan.model import Pull
from npuctl.plan.pull import image_of, images_of, pull_of, split
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, facts_of, node, plan_of, service, service_data, spec_of

NAME = "quay.io/ascend/vllm-ascend:v0.18.0"


def spec(**more: Any) -> ClusterSpec:
    return parse_cluster(cluster_text(service_data(), **more), file=FILE)


@pytest.mark.parametrize(
    ("reference", "registry", "path"),
    [
        (NAME, "quay.io", "ascend/vllm-ascend:v0.18.0"),
        ("alpine:3", "docker.io", "library/alpine:3"),
        ("docker.io/alpine", "docker.io", "library/alpine"),
        ("ascend/x", "docker.io", "ascend/x"),
        ("localhost/x:1", "localhost", "x:1"),
        ("host:5000/x:1", "host:5000", "x:1"),
        ("10.0.0.1/x@sha256:0", "10.0.0.1", "x@sha256:0"),
    ],
)
def test_a_name_is_split_as_docker_does(reference: str, registry: str, path: str) -> None:
    assert split(reference) == (registry, path)


def mirror(**images: str) -> dict[str, Any]:
    return {"docker": {"images": {name.replace("_", "."): prefix for name, prefix in images.items()}}}


def test_a_prefix_stands_for_the_registry() -> None:
    found = pull_of(spec(mirrors=mirror(quay_io="m.daocloud.io/quay.io")), NAME)
    assert found == Pull("m.daocloud.io/quay.io/ascend/vllm-ascend:v0.18.0", "m.daocloud.io")


def test_a_preset_has_prefixes_too() -> None:
    found = pull_of(spec(mirrors={"preset": "china"}), NAME)
    assert found.source == "m.daocloud.io/quay.io/ascend/vllm-ascend:v0.18.0"


def test_without_a_mirror_it_is_its_own_name() -> None:
    assert pull_of(spec(), NAME) == Pull("", "quay.io")
    assert pull_of(spec(mirrors=mirror(docker_io="m.example")), NAME) == Pull("", "quay.io")


def test_a_mirror_never_gets_the_login_of_whom_it_stands_for() -> None:
    logins = {"quay.io": {"username": "me", "password": {"secret": "quay"}}}
    assert pull_of(spec(registries=logins), NAME) == Pull("", "quay.io", "me", "quay")
    through = spec(registries=logins, mirrors=mirror(quay_io="m.example/quay.io"))
    assert pull_of(through, NAME).secret == ""
    own = {"m.example": {"username": "robot", "password": {"secret": "mirror"}}}
    through = spec(registries={**logins, **own}, mirrors=mirror(quay_io="m.example/quay.io"))
    found = pull_of(through, NAME)
    assert (found.registry, found.username, found.secret) == ("m.example", "robot", "mirror")


def test_the_image_follows_from_the_product_unless_the_spec_names_it() -> None:
    assert image_of(service(), A2) == NAME
    assert image_of(service(), A3) == f"{NAME}-a3"
    assert image_of(service(), None) is None
    assert image_of(service(image="own:1"), None) == "own:1"
    assert len(list(images_of(service()))) > 1
    assert list(images_of(service(image="own:1"))) == ["own:1"]


def test_a_mirror_and_a_login_restart_nothing() -> None:
    """The hash and the description of a container are those of before there were mirrors."""
    logins = {"m.example": {"username": "me", "password": {"secret": "key"}}}
    facts = facts_of(node_1=node())
    plain = plan_of(spec_of(service_data()), facts).replicas[0].container
    through = spec(mirrors=mirror(quay_io="m.example/quay.io"), registries=logins)
    other = plan_of(through, facts, secrets={"key": "s"}).replicas[0].container
    assert plain.labels == other.labels
    assert plain.described() == other.described()
    assert "pull" not in plain.described()
    assert other.pull.secret == "key"


def test_the_image_of_a_planned_container_is_the_one_that_is_provisioned() -> None:
    for product in ("a2", "a3", "310p"):
        more: dict[str, Any] = {"args": {"dtype": "float16"}} if product == "310p" else {}
        made = plan_of(spec_of(service_data(**more)), facts_of(node_1=node(product))).replicas[0]
        assert made.container.image in set(images_of(service()))
