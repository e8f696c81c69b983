"""Which family a system belongs to, by its os-release and its package manager."""

from __future__ import annotations

from typing import get_args

import pytest

from npuctl.facts.setup import Setup
from npuctl.plan.provision._contract import Node
from npuctl.plan.provision.os_families import Purpose, families, family_of, packages_of_all, unknown_family
from tests.making import node


@pytest.mark.parametrize(
    ("os_id", "like", "manager", "family"),
    [
        ("debian", [], "apt", "debian"),
        ("ubuntu", ["debian"], "apt", "debian"),
        ("zorin", ["ubuntu", "debian"], "apt", "debian"),
        ("openEuler", [], "dnf", "openeuler"),
        ("kylin", [], "dnf", "openeuler"),
        ("kylin", ["fedora"], "yum", "openeuler"),
        ("kylin", ["debian"], "apt", "debian"),
        ("uos", [], "dnf", "openeuler"),
        ("uos", [], "apt", "debian"),
        ("centos", ["rhel", "fedora"], "yum", "redhat"),
        ("mydistro", ["openEuler"], "dnf", "openeuler"),
        ("debian", [], "", None),
        ("plan9", [], "apt", None),
        ("", [], "", None),
    ],
)
def test_a_system_belongs_to_a_family(os_id: str, like: list[str], manager: str, family: str | None) -> None:
    found = family_of(Setup(os_id=os_id, os_like=like, packages_by=manager))
    assert (found.name if found else None) == family


def test_every_family_has_names_for_every_purpose() -> None:
    for family in families():
        assert set(family.packages) == set(get_args(Purpose))
    assert {"docker.io", "docker-engine"} <= packages_of_all("docker")


def test_headers_are_those_of_the_kernel_that_runs() -> None:
    debian, openeuler = families()[:2]
    assert debian.packages_for("kernel_headers", kernel="6.1.0-13-arm64") == ("linux-headers-6.1.0-13-arm64",)
    assert "kernel-devel-5.10.0-136" in openeuler.packages_for("kernel_headers", kernel="5.10.0-136")


def test_an_unknown_system_is_told_with_what_it_is_and_what_to_do() -> None:
    finding = unknown_family(Node("node-1", node(), Setup(os_id="plan9", os_version="4")), "Docker")
    assert "plan9 4" in finding.seen
    assert "install Docker" in finding.remedy
