"""What one service runs on, on one node: the versions that must fit each other."""

from __future__ import annotations

from dataclasses import dataclass

from npuctl import engines
from npuctl.engines._contract import Release
from npuctl.facts.survey import ImageFacts
from npuctl.plan.checks._contract import CheckedNode
from npuctl.plan.compatibility import compatibility
from npuctl.spec.models import Service


@dataclass(frozen=True, slots=True)
class Stack:
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


def stack_of(node: CheckedNode, service: Service, reference: str) -> Stack:
    """The stack of a service that runs that image."""
    release = engines.load(service.engine).release(service)
    product = node.product.key if node.product else ""
    image = node.image(reference)
    canns: tuple[str, ...] = (image.cann,) if image and image.cann else ()
    source = "in the image"
    if not canns and release and official_suffix(release, reference) is not None:
        canns = compatibility().cann_of(release.tag, product, release.cann)
        source = f"by the table of {release.tag}; the image was not looked into"
    return Stack(
        node=node,
        service=service,
        release=release,
        product=product,
        driver=driver_of(node),
        reference=reference,
        image=image,
        canns=canns,
        canns_from=source,
    )


def driver_of(node: CheckedNode) -> str:
    """The driver that runs, else the one on disk; "" when neither could be read."""
    return node.facts.driver_running or node.facts.driver_on_disk


def official_suffix(release: Release, reference: str) -> str | None:
    """What follows the release in an official image's tag ("-a3"); None when it is no official image of it."""
    name, _, tag = reference.rpartition(":")
    if not f"/{name}".endswith(f"/{release.image}"):
        return None
    rest = tag.removeprefix(release.tag)
    return rest if tag.startswith(release.tag) and (not rest or rest.startswith("-")) else None
