"""In which order replicas are changed: one of each service first, the rest when it has produced a token.

A wrong flag must not take down every replica of a service at once: loading weights again takes an hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from npuctl.plan.model import Step


def split_waves(steps: Sequence[Step], ready: AbstractSet[str]) -> list[tuple[Step, ...]]:
    """The first wave: everything that takes no replica out of service, and one recreation a service.

    `ready` names the replicas that serve now: one that does not is tried first.
    """
    first: list[Step] = []
    rest: list[Step] = []
    tried: set[str] = set()
    for step in sorted(steps, key=lambda step: step.name in ready):
        if step.action == "recreate" and step.service in tried:
            rest.append(step)
        else:
            first.append(step)
        if step.action == "recreate":
            tried.add(step.service)
    return [tuple(wave) for wave in (first, rest) if wave]


def sparing_services(steps: Sequence[Step], failed: AbstractSet[str]) -> tuple[Step, ...]:
    """The steps without recreations in services of which a changed replica did not come up."""
    return tuple(step for step in steps if step.action != "recreate" or step.service not in failed)
