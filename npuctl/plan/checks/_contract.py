"""What every family of checks is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from npuctl.facts.model import NodeFacts
from npuctl.facts.reach import Reach
from npuctl.facts.survey import ImageFacts, Survey, WeightsFacts
from npuctl.hardware.catalog import Product
from npuctl.plan.model import Finding, Replica
from npuctl.spec.models import ClusterSpec, Service


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """One node as the checks see it.

    Attributes:
        product: None when its chips are of no product that npuctl knows, or could not be read.
        leaving: our containers that the plan removes first: what they hold comes free.
        replicas: what should run on it.
        address: where the inventory reaches it; "" when that is not known.
    """

    name: str
    facts: NodeFacts
    product: Product | None
    leaving: AbstractSet[str] = frozenset()
    replicas: tuple[Replica, ...] = ()
    address: str = ""

    @property
    def survey(self) -> Survey | None:
        """The thorough look; None in facts that were taken without one: then there is nothing to judge."""
        return self.facts.survey

    @property
    def running(self) -> frozenset[str]:
        """Our containers that run on it."""
        return frozenset(
            entry.name for entry in self.facts.containers if entry.state in {"running", "restarting"}
        )

    def image(self, reference: str) -> ImageFacts | None:
        """That image, where it is on the node and was looked at."""
        images = self.survey.images if self.survey else []
        return next((image for image in images if image.reference == reference), None)

    def weights(self, path: str | None) -> WeightsFacts | None:
        """The model's folder, where it is on the node and was looked at."""
        found = self.survey.weights.get(path) if self.survey and path else None
        return found if found is not None and found.exists else None

    def freed_for(self, replica: Replica) -> AbstractSet[str]:
        """Containers whose chips and ports the replica may have: its own of before, and those that leave."""
        return {replica.container.name, *self.leaving}


@dataclass(frozen=True, slots=True)
class Checked:
    """The whole cluster as the checks see it: what was asked for, what is there, what is planned.

    `network_required` says that the NPU network must work between the nodes: findings about it are errors
    then, and warnings where every replica lives on one node.
    """

    spec: ClusterSpec
    nodes: tuple[CheckedNode, ...]
    reach: Reach | None = None
    network_required: bool = False

    @property
    def services(self) -> Mapping[str, Service]:
        """Services by name."""
        return {service.name: service for service in self.spec.services}


Family = Callable[[Checked], Iterable[Finding]]
