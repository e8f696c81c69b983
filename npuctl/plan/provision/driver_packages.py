"""Which .run packages of the given folder a node needs, and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from npuctl.hardware.catalog import PRODUCTS, Product, identify
from npuctl.hardware.run_packages import RunPackage, package_name, parse_package_name
from npuctl.hardware.unreadable import UnreadableError
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import RECORDS, LocalFile, Node, Wish
from npuctl.plan.provision.driver_record import Kind
from npuctl.spec.machines import Driver

FOLDER = f"{RECORDS}/packages"
_MOST_NAMES = 6


@dataclass(frozen=True, slots=True)
class Chosen:
    """One package for one node.

    Attributes:
        local: the file here, by its path as the spec writes it.
        path: where it lies on the node.
    """

    kind: Kind
    name: str
    local: LocalFile
    path: str


def product_of_node(node: Node) -> Product | None:
    """By npu-smi; before any driver is installed, by the PCI bus."""
    chips = node.facts.chips
    known = identify([chip.name for chip in chips], len(chips))
    if known is None and node.facts.survey is not None:
        on_bus = node.facts.survey.pci_product
        known = next((product for product in PRODUCTS if product.key == on_bus), None)
    return known


def choose(
    wish: Wish, node: Node, driver: Driver, kind: Kind, version: str
) -> tuple[Chosen | None, list[Finding]]:
    """The package of that kind for a node, and what speaks against it."""
    product = product_of_node(node)
    if product is None:
        return None, [_unknown_product(node)]
    offered = _offered(wish, driver)
    arch = node.facts.architecture
    fitting = [
        name for name, package in offered.items() if package.suits(kind, product.package_chips, version, arch)
    ]
    if not fitting:
        return None, [_none_fits(node, driver, product, kind, version, list(offered))]
    if len(fitting) > 1:
        return None, [_several_fit(node, driver, kind, version, fitting)]
    name = fitting[0]
    local = wish.local[f"{driver.packages.rstrip('/')}/{name}"]
    return Chosen(kind, name, local, f"{FOLDER}/{name}"), _digest(node, driver, name, local)


def _offered(wish: Wish, driver: Driver) -> Mapping[str, RunPackage]:
    folder = f"{driver.packages.rstrip('/')}/"
    found: dict[str, RunPackage] = {}
    for path in sorted(wish.local):
        name = path.removeprefix(folder)
        if path.startswith(folder) and "/" not in name:
            try:
                found[name] = parse_package_name(name)
            except UnreadableError:
                continue  # signatures, release notes
    return found


def _digest(node: Node, driver: Driver, name: str, local: LocalFile) -> list[Finding]:
    wanted = driver.sha256.get(name)
    if wanted is None:
        return [
            Finding(
                id="provision.package_unproven",
                severity="warning",
                node=node.name,
                seen=f"npuctl_cluster.driver.sha256 does not have {name}",
                expected="the digest from the vendor's page, to know that the file is the vendor's",
                remedy=f"compare with the vendor's page, and write {name}: {local.sha256}",
            )
        ]
    if wanted != local.sha256:
        return [
            Finding(
                id="provision.package_digest",
                severity="error",
                node=node.name,
                seen=f"{local.path} has sha256 {local.sha256}",
                expected=f"{wanted}, as npuctl_cluster.driver.sha256 says",
                remedy="fetch the package anew from the vendor's page; if the digest in the spec is wrong, correct it",
            )
        ]
    return []


def _none_fits(
    node: Node, driver: Driver, product: Product, kind: Kind, version: str, offered: list[str]
) -> Finding:
    names = ", ".join(offered[:_MOST_NAMES]) + (", …" if len(offered) > _MOST_NAMES else "")
    wanted = package_name(kind, product.package_chips[0], version, node.facts.architecture)
    return Finding(
        id="provision.package_missing",
        severity="error",
        node=node.name,
        seen=f"{driver.packages} has {names or 'no .run package'}",
        expected=f"the {kind} {version} for {product.title}, {node.facts.architecture}: {wanted}",
        remedy=f"put {wanted} into {driver.packages}, or correct the version in npuctl_cluster.driver",
    )


def _several_fit(node: Node, driver: Driver, kind: Kind, version: str, fitting: list[str]) -> Finding:
    return Finding(
        id="provision.package_ambiguous",
        severity="error",
        node=node.name,
        seen=f"{driver.packages} has {' and '.join(fitting)}",
        expected=f"one package of the {kind} {version} for this node",
        remedy="take all but one of them out of the folder",
    )


def _unknown_product(node: Node) -> Finding:
    survey = node.facts.survey
    names = sorted({chip.name for chip in node.facts.chips})
    on_bus = (
        f"{survey.pci_chips} on the PCI bus" if survey and survey.pci_chips else "none found on the PCI bus"
    )
    return Finding(
        id="provision.product_unknown",
        severity="error",
        node=node.name,
        seen=f"NPUs: {', '.join(names) or on_bus}",
        expected="NPUs of one product that npuctl knows, so that the right package can be chosen",
        remedy=f"look at `lspci -n -d 19e5:` on {node.name}; where that is not found, install pciutils there",
    )
