"""Driver, firmware, CANN, torch_npu and image: whether they are known to work together, and are the same everywhere.

What is known stands in npuctl/data/compatibility/. Where an image could not be looked into, an official one is
taken to hold what its release's table says. Of any other image nothing is known then, and nothing is said: to
warn about a guess would teach people to overlook the warning.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from npuctl import engines
from npuctl.engines._contract import Release
from npuctl.facts.survey import DriverFiles, ImageFacts
from npuctl.hardware.catalog import PRODUCTS
from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.compatibility import Floor, Refusal, before, compatibility, on_any_line, release_numbers
from npuctl.plan.model import Finding, Replica, Severity
from npuctl.spec.models import Service

# Docker's name of an architecture → the kernel's.
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_RANGE = re.compile(r"\[([^,\[\]]+),([^\[\]]+)\]")
_NUMBER = re.compile(r"[0-9]+")
_NAMED = 3
_ID = len("sha256:") + 12
# What a difference between nodes is about → the findings that say more of its cause.
_TOLD_BY = {
    "driver": {"version.driver_cann", "version.unlisted", "version.firmware"},
    "firmware": {"version.firmware"},
    "image": {"version.image_cann", "version.torch_npu", "version.product"},
}


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about versions: each node and service by itself, then the nodes of a service together."""
    told = list(chain.from_iterable(_of_node(checked, node) for node in checked.nodes))
    yield from told
    for service in checked.spec.services:
        yield from _nodes_differ(checked, service, told)


@dataclass(frozen=True, slots=True)
class _Stack:
    """What one service runs on, on one node: the versions that must fit each other.

    Attributes:
        product: key of the node's product; "" when it is none that npuctl knows.
        driver: the one that runs, else the one on disk; "" when neither could be read.
        image: what is known of the image; None when it was not looked at.
        canns: of the image, or what an official one of the release may hold; empty when that is not known.
        canns_from: in words, where they are known from.
    """

    node: CheckedNode
    service: Service
    release: Release | None
    product: str
    driver: str
    reference: str
    image: ImageFacts | None
    canns: tuple[str, ...]
    canns_from: str

    @property
    def pair(self) -> str:
        """Driver and CANN, as a finding shows them."""
        return f"driver {self.driver} with CANN {' or '.join(self.canns)} ({self.canns_from})"


def _of_node(checked: Checked, node: CheckedNode) -> Iterator[Finding]:
    yield from _firmware_fits(node)
    seen: set[tuple[str, str]] = set()
    for replica in node.replicas:
        key = (replica.service, replica.container.image)
        if key not in seen:
            seen.add(key)
            stack = _stack(node, checked.services[replica.service], replica)
            for check in _CHECKS:
                yield from check(stack)


def _stack(node: CheckedNode, service: Service, replica: Replica) -> _Stack:
    release = engines.load(service.engine).release(service)
    product = node.product.key if node.product else ""
    reference = replica.container.image
    looked_at = node.survey.images if node.survey else []
    image = next((entry for entry in looked_at if entry.reference == reference), None)
    canns: tuple[str, ...] = (image.cann,) if image and image.cann else ()
    source = "in the image"
    if not canns and release and _official_suffix(release, reference) is not None:
        canns = compatibility().cann_of(release.tag, product, release.cann)
        source = f"by the table of {release.tag}; the image was not looked into"
    return _Stack(
        node=node,
        service=service,
        release=release,
        product=product,
        driver=_driver(node),
        reference=reference,
        image=image,
        canns=canns,
        canns_from=source,
    )


def _driver(node: CheckedNode) -> str:
    return node.facts.driver_running or node.facts.driver_on_disk


def _official_suffix(release: Release, reference: str) -> str | None:
    """What follows the release in an official image's tag ("-a3"); None when it is no official image of it."""
    name, _, tag = reference.rpartition(":")
    if not f"/{name}".endswith(f"/{release.image}"):
        return None
    rest = tag.removeprefix(release.tag)
    return rest if tag.startswith(release.tag) and (not rest or rest.startswith("-")) else None


# Driver and CANN


def _driver_fits_cann(stack: _Stack) -> Iterator[Finding]:
    rule = _refusal(stack)
    if rule is not None:
        yield Finding(
            id="version.driver_cann",
            severity="error",
            node=stack.node.name,
            seen=stack.pair,
            expected=f"driver {_listed(stack) or f'{rule.below} or later'}: {rule.reason}"
            f" (rule {rule.rule}; source: {rule.source})",
            remedy="update driver and firmware on this node, or choose a release whose CANN fits the driver",
            service=stack.service.name,
        )


def _pair_is_listed(stack: _Stack) -> Iterator[Finding]:
    if not stack.driver or not stack.canns or not stack.product or _refusal(stack) is not None:
        return
    known = compatibility()
    rows = [row for cann in stack.canns for row in known.partners(cann, stack.product)]
    if any(on_any_line(stack.driver, row.drivers) for row in rows):
        return
    reports = (known.report(cann, stack.driver, stack.product) for cann in stack.canns)
    report = next((found for found in reports if found), None)
    sources = "; ".join(dict.fromkeys(row.source for row in rows))
    yield Finding(
        id="version.unlisted",
        severity="warning",
        node=stack.node.name,
        seen=f"{stack.pair}: in no published table"
        + (f", but reported to run ({report.source})" if report else ""),
        expected=f"driver {_listed(stack)} (source: {sources})"
        if rows
        else "a CANN that is in a published table",
        remedy="try it with one replica first, or install a driver that is listed",
        service=stack.service.name,
    )


def _listed(stack: _Stack) -> str:
    """The drivers that tables name with the CANN, as a finding shows them."""
    rows = (row for cann in stack.canns for row in compatibility().partners(cann, stack.product))
    return ", ".join(dict.fromkeys(name for row in rows for name in row.drivers))


def _refusal(stack: _Stack) -> Refusal | None:
    """The rule that refuses the pair, whichever CANN it is."""
    if not stack.driver or not stack.canns:
        return None
    rules = [compatibility().refusal(cann, stack.driver, stack.product) for cann in stack.canns]
    return rules[0] if all(rules) else None


# Driver and firmware


def _firmware_fits(node: CheckedNode) -> Iterator[Finding]:
    driver, firmware = _driver(node), _firmware(node)
    if node.survey is None or not driver or not firmware:
        return
    files = node.survey.files
    for number in firmware:
        wanted = _firmware_wanted(files, number) or _driver_wanted(files, driver)
        if wanted:
            yield Finding(
                id="version.firmware",
                severity="error",
                node=node.name,
                seen=f"driver {driver} with firmware {number}",
                expected=wanted,
                remedy="install driver and firmware of one HDK release: firmware first where a driver is"
                " installed already, then the driver; reboot if the installer says so",
            )


def _firmware(node: CheckedNode) -> list[str]:
    """Every firmware that runs on the node's cards; the one on disk where the cards did not say."""
    if node.survey is None:
        return []
    running = {card.firmware_version for card in node.survey.cards if card.firmware_version}
    return sorted(running or ({node.survey.files.firmware} - {""}))


def _firmware_wanted(files: DriverFiles, firmware: str) -> str:
    """What the driver's file asks for, where this firmware is not in it; "" where it is, or nothing is asked."""
    ranges = _RANGE.findall(files.compatible_firmware)
    number = _numbers(firmware)
    if not ranges or not number:
        return ""
    for first, last in ranges:
        low, high = _numbers(first), _numbers(last)
        if low <= number and number[: len(high)] <= high:
            return ""
    return f"firmware {_ranges_text(ranges)}, which the driver's version.info names"


def _driver_wanted(files: DriverFiles, driver: str) -> str:
    """What the firmware's file asks for, where this driver is older than all that; "" otherwise.

    A newer driver cannot stand in it. Only year and quarter are compared: the file of firmware 7.1.0.11.220
    names 23.0.rc3 and 23.0.0, and that firmware belongs to driver 23.0.7 (mind-cluster's fixtures have both).
    """
    ranges = _RANGE.findall(files.compatible_driver)
    number = _numbers(driver)
    if not ranges or not number or number >= min(_numbers(first)[:2] for first, _ in ranges):
        return ""
    return f"driver {_ranges_text(ranges)}, which the firmware's version.info names"


def _ranges_text(ranges: Sequence[tuple[str, str]]) -> str:
    return " or ".join(dict.fromkeys(f"{first} to {last.rstrip('.')}" for first, last in ranges))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _NUMBER.findall(version))


# The image and its release


def _image_holds_cann(stack: _Stack) -> Iterator[Finding]:
    if stack.image is None or stack.release is None or not stack.image.cann or not stack.release.cann:
        return
    expected = compatibility().cann_of(stack.release.tag, stack.product, stack.release.cann)
    if not on_any_line(stack.image.cann, expected):
        yield _image_differs(stack, "version.image_cann", f"CANN {stack.image.cann}", "CANN", expected)


def _image_holds_torch_npu(stack: _Stack) -> Iterator[Finding]:
    if stack.image is None or stack.release is None or not stack.image.torch_npu:
        return
    expected = compatibility().torch_npu_of(stack.release.tag, stack.product, stack.release.torch_npu)
    # What follows a plus names the build, which wheels of one version need not share.
    if stack.image.torch_npu.partition("+")[0] not in {version.partition("+")[0] for version in expected}:
        seen = f"torch_npu {stack.image.torch_npu}"
        yield _image_differs(stack, "version.torch_npu", seen, "torch_npu", expected)


def _image_differs(stack: _Stack, identity: str, seen: str, what: str, expected: Sequence[str]) -> Finding:
    release = stack.release.tag if stack.release else ""
    return Finding(
        id=identity,
        severity="warning",
        node=stack.node.name,
        seen=f"{seen} in {stack.reference}",
        expected=f"{what} {' or '.join(expected)}, which {release} is made with",
        remedy=f"use an official image of {release}, or write the release that this image holds into version",
        service=stack.service.name,
    )


def _image_is_for_product(stack: _Stack) -> Iterator[Finding]:
    for seen, expected in _wrong_image(stack):
        yield Finding(
            id="version.product",
            severity="error",
            node=stack.node.name,
            seen=seen,
            expected=expected,
            remedy="leave image out to get the product's own, or name one for this product and architecture",
            service=stack.service.name,
        )


def _wrong_image(stack: _Stack) -> Iterator[tuple[str, str]]:
    """Seen and expected of every way in which the image is not one for this node."""
    image, known = stack.image, compatibility()
    titles = {product.key: product.title for product in PRODUCTS}
    here = titles.get(stack.product, "")
    first = known.first_releases.get(stack.product, "")
    if stack.release and first and release_numbers(stack.release.tag) < release_numbers(first):
        yield f"{stack.release.tag} has no images for {here}", f"{first} or later"
    soc_version = image.soc_version if image else ""
    meant, why = known.soc_product(soc_version), f"SOC_VERSION is {soc_version}"
    suffix = _official_suffix(stack.release, stack.reference) if stack.release else None
    if not meant and suffix is not None:
        meant, why = known.tag_product(suffix), "by its tag"
    if meant and stack.product and meant != stack.product:
        yield f"{stack.reference} is for {titles[meant]} ({why})", f"an image for {here}"
    architecture = _ARCHITECTURES.get(image.architecture, "") if image else ""
    machine = stack.node.facts.architecture
    if architecture and machine in _ARCHITECTURES.values() and architecture != machine:
        yield f"{stack.reference} is built for {architecture}", f"an image for {machine}"


# What a feature needs


def _features_have_their_floor(stack: _Stack) -> Iterator[Finding]:
    for floor in compatibility().floors:
        if not stack.product or not floor.concerns(stack.product) or not _uses(stack, floor):
            continue
        low = [
            (f"{name} {' or '.join(versions)}", f"{name} {least}")
            for name, versions, least in (
                ("driver", (stack.driver,), floor.driver),
                ("CANN", stack.canns, floor.cann),
            )
            if versions and least and all(before(version, least) for version in versions)
        ]
        if low:
            yield Finding(
                id="version.floor",
                severity=floor.severity,
                node=stack.node.name,
                seen=f"{floor.feature} on {' and '.join(seen for seen, _ in low)}",
                expected=f"{' and '.join(least for _, least in low)} or later: below, {floor.otherwise}"
                f" (source: {floor.source})",
                remedy="update what is too old, or turn the feature off in the service",
                service=stack.service.name,
            )


def _uses(stack: _Stack, floor: Floor) -> bool:
    service = stack.service
    if floor.environment:
        return floor.says in _text(service.env.get(floor.environment))
    flags = {_flag(name): value for name, value in service.args.items()}
    said = _lead(flags, floor.argument.split("."))
    if said is not None:
        return floor.says in _text(said)
    default = floor.default_since and release_numbers(service.version) >= release_numbers(floor.default_since)
    return bool(default) and flags.get(floor.unless) is not True


def _lead(flags: Mapping[str, object], path: Sequence[str]) -> object:
    """A flag's value, or what stands below it in its JSON; both may be written with dots as well."""
    dotted = flags.get(".".join(path))
    if dotted is not None:
        return dotted
    found = flags.get(path[0])
    if isinstance(found, str) and len(path) > 1:
        try:
            found = json.loads(found)
        except ValueError:
            return None
    for key in path[1:]:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _flag(name: str) -> str:
    first, dot, rest = name.removeprefix("--").partition(".")
    return first.replace("_", "-") + dot + rest


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


_CHECKS: tuple[Callable[[_Stack], Iterator[Finding]], ...] = (
    _driver_fits_cann,
    _pair_is_listed,
    _image_holds_cann,
    _image_holds_torch_npu,
    _image_is_for_product,
    _features_have_their_floor,
)


# The nodes of a service


def _nodes_differ(checked: Checked, service: Service, told: Sequence[Finding]) -> Iterator[Finding]:
    """Nodes of one product whose driver, firmware or image is not that of most others.

    One cause is told once: where another finding about it refuses as much, this one adds nothing. A node with
    such a finding is not what the others are measured against.
    """
    severity: Severity = "error" if checked.network_required else "warning"
    nodes = [node for node in checked.nodes if any(r.service == service.name for r in node.replicas)]
    for what, value_of in _VALUES:
        groups: dict[str, dict[str, str]] = {}
        for node in nodes:
            kind, value = value_of(node, service)
            if value:
                groups.setdefault(kind, {})[node.name] = value
        for values in groups.values():
            sound = [value for name, value in values.items() if not _is_told(what, name, "warning", told)]
            usual = _usual(sound or list(values.values()))
            for name, value in values.items():
                if value != usual and not _is_told(what, name, severity, told):
                    yield Finding(
                        id="version.nodes_differ",
                        severity=severity,
                        node=name,
                        seen=f"{what} {value}",
                        expected=f"{what} {usual}, as on {_names(values, usual)}",
                        remedy=f"bring {what} on all nodes of the service to one version",
                        service=service.name,
                    )


def _driver_value(node: CheckedNode, _service: Service) -> tuple[str, str]:
    return node.product.key if node.product else "", _driver(node)


def _firmware_value(node: CheckedNode, _service: Service) -> tuple[str, str]:
    # A node whose cards differ among themselves is driver.differs_between_cards's.
    versions = _firmware(node)
    return node.product.key if node.product else "", versions[0] if len(versions) == 1 else ""


def _image_value(node: CheckedNode, service: Service) -> tuple[str, str]:
    reference = next(r.container.image for r in node.replicas if r.service == service.name)
    looked_at = node.survey.images if node.survey else []
    return reference, next((image.id[:_ID] for image in looked_at if image.reference == reference), "")


_VALUES: tuple[tuple[str, Callable[[CheckedNode, Service], tuple[str, str]]], ...] = (
    ("driver", _driver_value),
    ("firmware", _firmware_value),
    ("image", _image_value),
)


def _usual(values: Sequence[str]) -> str:
    """What most have; of two that are as frequent the newer, for the older is what was forgotten."""
    counted = Counter(values)
    return max(counted, key=lambda value: (counted[value], _age(value)))


def _age(version: str) -> tuple[int, ...]:
    try:
        return release_key(version)
    except UnreadableError:
        return ()


def _is_told(what: str, node: str, severity: Severity, told: Sequence[Finding]) -> bool:
    return any(
        finding.node == node
        and finding.id in _TOLD_BY[what]
        and (severity == "warning" or finding.severity == "error")
        for finding in told
    )


def _names(values: Mapping[str, str], usual: str) -> str:
    nodes = [name for name, value in values.items() if value == usual]
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return ", ".join(nodes[:_NAMED]) + more
