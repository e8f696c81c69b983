"""What placing the replicas found: places that are taken, engines that cannot run on a product."""

from __future__ import annotations

from collections.abc import Sequence

from npuctl.engines._contract import Seat, SpecProblem
from npuctl.plan.model import Finding
from npuctl.plan.placement import Conflict
from npuctl.spec.models import Service


def of_conflict(conflict: Conflict) -> Finding:
    """A place that could not be given."""
    return Finding(
        id="place.conflict",
        severity="error",
        node=conflict.node,
        seen=conflict.message,
        expected="chips and ports of its own for every replica",
        remedy=conflict.hint,
        npu=conflict.npu,
        service=conflict.service,
    )


def of_seat(service: Service, seat: Seat, problems: Sequence[SpecProblem]) -> list[Finding]:
    """What the engine refuses on this node's product."""
    return [
        Finding(
            id="engine.product",
            severity="error",
            node=seat.node,
            seen=f"{problem.key}: {problem.message}",
            expected=f"settings that {seat.product.title} can run",
            remedy=problem.hint,
            service=service.name,
        )
        for problem in problems
    ]
