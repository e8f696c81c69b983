"""Driver, firmware, CANN, torch_npu and image: whether they are known to work together, and are the same everywhere.

What is known stands in npuctl/data/compatibility/. Where an image could not be looked into, an official one is
taken to hold what its release's table says. Of any other image nothing is known then, and nothing is said: to
warn about a guess would teach people to overlook the warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks.versions._stack import Stack, stack_of
from npuctl.plan.checks.versions.driver_cann import driver_fits_cann, pair_is_listed
from npuctl.plan.checks.versions.firmware import firmware_fits
from npuctl.plan.checks.versions.floors import features_have_their_floor
from npuctl.plan.checks.versions.image import image_holds_cann, image_holds_torch_npu, image_is_for_product
from npuctl.plan.checks.versions.nodes import nodes_differ
from npuctl.plan.model import Finding

_CHECKS: tuple[Callable[[Stack], Iterator[Finding]], ...] = (
    driver_fits_cann,
    pair_is_listed,
    image_holds_cann,
    image_holds_torch_npu,
    image_is_for_product,
    features_have_their_floor,
)


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about versions: each node and service by itself, then the nodes of a service together."""
    told = list(chain.from_iterable(_of_node(checked, node) for node in checked.nodes))
    yield from told
    for service in checked.spec.services:
        yield from nodes_differ(checked, service, told)


def _of_node(checked: Checked, node: CheckedNode) -> Iterator[Finding]:
    yield from firmware_fits(node)
    seen: set[tuple[str, str]] = set()
    for replica in node.replicas:
        key = (replica.service, replica.container.image)
        if key not in seen:
            seen.add(key)
            stack = stack_of(node, checked.services[replica.service], replica.container.image)
            for check in _CHECKS:
                yield from check(stack)
