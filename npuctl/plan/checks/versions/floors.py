"""Features that want a driver or a CANN of at least some version."""

from __future__ import annotations

import json
from collections.abc import Iterator

from npuctl.engines._arguments import argument
from npuctl.engines._release_numbers import release_numbers
from npuctl.plan.checks.versions._stack import Stack
from npuctl.plan.compatibility import Floor, before, compatibility
from npuctl.plan.model import Finding


def features_have_their_floor(stack: Stack) -> Iterator[Finding]:
    """Features of the service that are below their floor on this node."""
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


def _uses(stack: Stack, floor: Floor) -> bool:
    service = stack.service
    if floor.environment:
        return floor.says in _text(service.env.get(floor.environment))
    said = argument(service, floor.argument)
    if said is not None:
        return floor.says in _text(said)
    default = floor.default_since and release_numbers(service.version) >= release_numbers(floor.default_since)
    return bool(default) and argument(service, floor.unless) is not True


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)
