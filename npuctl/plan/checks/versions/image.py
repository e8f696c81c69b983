"""The image: it holds what its release is made with, and is for this product and machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from npuctl.engines._release_numbers import release_numbers
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.checks.versions._stack import Stack, official_suffix
from npuctl.plan.compatibility import compatibility, on_any_line
from npuctl.plan.model import Finding

# Docker's name of an architecture → the kernel's.
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def image_holds_cann(stack: Stack) -> Iterator[Finding]:
    """The CANN in the image against that of its release."""
    if stack.image is None or stack.release is None or not stack.image.cann or not stack.release.cann:
        return
    expected = compatibility().cann_of(stack.release.tag, stack.product, stack.release.cann)
    if not on_any_line(stack.image.cann, expected):
        yield _image_differs(stack, "version.image_cann", f"CANN {stack.image.cann}", "CANN", expected)


def image_holds_torch_npu(stack: Stack) -> Iterator[Finding]:
    """The torch_npu in the image against that of its release."""
    if stack.image is None or stack.release is None or not stack.image.torch_npu:
        return
    expected = compatibility().torch_npu_of(stack.release.tag, stack.product, stack.release.torch_npu)
    # What follows a plus names the build, which wheels of one version need not share.
    if stack.image.torch_npu.partition("+")[0] not in {version.partition("+")[0] for version in expected}:
        seen = f"torch_npu {stack.image.torch_npu}"
        yield _image_differs(stack, "version.torch_npu", seen, "torch_npu", expected)


def _image_differs(stack: Stack, identity: str, seen: str, what: str, expected: Sequence[str]) -> Finding:
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


def image_is_for_product(stack: Stack) -> Iterator[Finding]:
    """An image for another product, or another machine, does not start."""
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


def _wrong_image(stack: Stack) -> Iterator[tuple[str, str]]:
    """Seen and expected of every way in which the image is not one for this node."""
    image, known = stack.image, compatibility()
    titles = {product.key: product.title for product in PRODUCTS}
    here = titles.get(stack.product, "")
    first = known.first_releases.get(stack.product, "")
    if stack.release and first and release_numbers(stack.release.tag) < release_numbers(first):
        yield f"{stack.release.tag} has no images for {here}", f"{first} or later"
    soc_version = image.soc_version if image else ""
    meant, why = known.soc_product(soc_version), f"SOC_VERSION is {soc_version}"
    suffix = official_suffix(stack.release, stack.reference) if stack.release else None
    if not meant and suffix is not None:
        meant, why = known.tag_product(suffix), "by its tag"
    if meant and stack.product and meant != stack.product:
        yield f"{stack.reference} is for {titles[meant]} ({why})", f"an image for {here}"
    architecture = _ARCHITECTURES.get(image.architecture, "") if image else ""
    machine = stack.node.facts.architecture
    if architecture and machine in _ARCHITECTURES.values() and architecture != machine:
        yield f"{stack.reference} is built for {architecture}", f"an image for {machine}"
