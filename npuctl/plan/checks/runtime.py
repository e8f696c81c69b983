"""The container engine, and what it is told to use: images and mounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding, Replica
from npuctl.spec.models import Service


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the container engine of every node."""
    for node in checked.nodes:
        yield from _engine_answers(node)
        for replica in node.replicas:
            yield from _mounts_present(node, replica, checked.services[replica.service])
            yield from _image_present(node, replica)


def _engine_answers(node: CheckedNode) -> Iterator[Finding]:
    if node.facts.docker.error:
        yield Finding(
            id="docker.engine",
            severity="error",
            node=node.name,
            seen=node.facts.docker.error,
            expected="a Docker engine that answers",
            remedy=f"on {node.name}: systemctl start docker; journalctl -u docker tells why it stopped",
        )


def _mounts_present(node: CheckedNode, replica: Replica, service: Service) -> Iterator[Finding]:
    for mount in replica.container.mounts:
        kind = node.facts.paths.get(mount.source)
        if kind != "absent" or mount.create:
            continue
        is_model = mount.source == service.model.path
        yield Finding(
            id="model.path" if is_model else "mount.source",
            severity="error",
            node=node.name,
            seen=f"{mount.source} does not exist",
            expected="the model's folder" if is_model else f"a source for the mount {mount.target}",
            remedy="copy the weights to this node" if is_model else "install the NPU driver, or mend mounts",
            service=replica.service,
        )


def _image_present(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    if not node.facts.docker.error and replica.container.image not in node.facts.images:
        yield Finding(
            id="image.absent",
            severity="warning",
            node=node.name,
            seen=f"{replica.container.image} is not on the node",
            expected="the image, or a registry that has it",
            remedy="deploy will pull it; without a registry: docker load -i IMAGE.tar on the node",
            service=replica.service,
        )


def paths_to_look_at(services: Sequence[Service]) -> list[str]:
    """Paths on a node whose existence the checks judge."""
    paths = {path for product in PRODUCTS for path in (*product.driver_mounts, *product.network_mounts)}
    for service in services:
        paths |= {text.split(":")[0] for text in service.mounts}
        paths |= {service.model.path} if service.model.path else set()
    return sorted(paths)
