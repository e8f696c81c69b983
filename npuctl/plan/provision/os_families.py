"""Families of operating systems: which one a node belongs to, and what packages are called there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from npuctl.facts.setup import Setup
from npuctl.plan.model import Finding, Severity
from npuctl.plan.provision._contract import Node

Purpose = Literal["docker", "chrony", "kernel_headers", "driver_build"]


@dataclass(frozen=True, slots=True)
class Family:
    """One family of npuctl/data/os_families.yaml.

    Attributes:
        ids: values of ID in os-release, in lower case, for os-release is not agreed about it ("openEuler").
        managers: package managers that its systems may have.
        chrony_config: the file that chronyd reads.
        packages: purpose → packages; {kernel} and {architecture} are not filled in.
    """

    name: str
    ids: frozenset[str]
    managers: tuple[str, ...]
    chrony_config: str
    chrony_unit: str
    docker_unit: str
    packages: Mapping[str, tuple[str, ...]]

    def packages_for(self, purpose: Purpose, *, kernel: str = "", architecture: str = "") -> tuple[str, ...]:
        """The packages for a purpose, on a node with that kernel (uname -r); () where there are none."""
        return tuple(name.format(kernel=kernel, architecture=architecture) for name in self.packages[purpose])


@cache
def families() -> tuple[Family, ...]:
    """All families, in the file's order."""
    text = files("npuctl").joinpath("data/os_families.yaml").read_text(encoding="utf-8")
    return tuple(
        Family(
            name=name,
            ids=frozenset(identifier.lower() for identifier in entry["ids"]),
            managers=tuple(entry["managers"]),
            chrony_config=entry["chrony_config"],
            chrony_unit=entry["chrony_unit"],
            docker_unit=entry["docker_unit"],
            packages={purpose: tuple(names) for purpose, names in entry["packages"].items()},
        )
        for name, entry in yaml.safe_load(text).items()
    )


def family_of(setup: Setup) -> Family | None:
    """The family of a node, by what its os-release says of itself first and of its likes then."""
    for identifier in (setup.os_id, *setup.os_like):
        for family in families():
            if identifier.lower() in family.ids and setup.packages_by in family.managers:
                return family
    return None


def packages_of_all(*purposes: Purpose) -> frozenset[str]:
    """The packages for these purposes in every family: before a node was looked at, its family is not known."""
    return frozenset(
        name for family in families() for purpose in purposes for name in family.packages[purpose]
    )


def unknown_family(node: Node, wanted: str, *, severity: Severity = "error") -> Finding:
    """The node is of no family, and `wanted` cannot be installed therefore."""
    setup = node.setup
    release = f"{setup.os_id} {setup.os_version}".strip() or "no ID in /etc/os-release"
    like = f", like {' '.join(setup.os_like)}" if setup.os_like else ""
    known = ", ".join(f"{family.name} ({'/'.join(family.managers)})" for family in families())
    return Finding(
        id="provision.os_unknown",
        severity=severity,
        node=node.name,
        seen=f"{release}{like}, package manager {setup.packages_by or 'none of apt, dnf, yum'}",
        expected=f"a family whose package names are known: {known}",
        remedy=f"install {wanted} on the node by hand; provision then finds it and goes on",
    )
