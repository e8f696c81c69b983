"""The nodes of a service against each other: one driver, one firmware, one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import release_key
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks._majority import most_frequent
from npuctl.plan.checks.versions._stack import driver_of
from npuctl.plan.checks.versions.firmware import firmware_of
from npuctl.plan.model import Finding, Severity
from npuctl.plan.wording import several
from npuctl.spec.models import Service

_MOST_NAMED = 3
_ID = len("sha256:") + 12
# What a difference between nodes is about → the findings that say more of its cause.
_TOLD_BY = {
    "driver": {"version.driver_cann", "version.unlisted", "version.firmware"},
    "firmware": {"version.firmware"},
    "image": {"version.image_cann", "version.torch_npu", "version.product"},
}


def nodes_differ(checked: Checked, service: Service, told: Sequence[Finding]) -> Iterator[Finding]:
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
            alike = [name for name, value in values.items() if value == usual]
            for name, value in values.items():
                if value != usual and not _is_told(what, name, severity, told):
                    yield Finding(
                        id="version.nodes_differ",
                        severity=severity,
                        node=name,
                        seen=f"{what} {value}",
                        expected=f"{what} {usual}, as on {several(alike, _MOST_NAMED)}",
                        remedy=f"bring {what} on all nodes of the service to one version",
                        service=service.name,
                    )


def _driver_value(node: CheckedNode, _service: Service) -> tuple[str, str]:
    return node.product.key if node.product else "", driver_of(node)


def _firmware_value(node: CheckedNode, _service: Service) -> tuple[str, str]:
    # A node whose cards differ among themselves is driver.differs_between_cards's.
    versions = firmware_of(node)
    return node.product.key if node.product else "", versions[0] if len(versions) == 1 else ""


def _image_value(node: CheckedNode, service: Service) -> tuple[str, str]:
    reference = next(r.container.image for r in node.replicas if r.service == service.name)
    image = node.image(reference)
    return reference, image.id[:_ID] if image else ""


_VALUES: tuple[tuple[str, Callable[[CheckedNode, Service], tuple[str, str]]], ...] = (
    ("driver", _driver_value),
    ("firmware", _firmware_value),
    ("image", _image_value),
)


def _usual(values: Sequence[str]) -> str:
    """What most have; of two that are as frequent the newer, for the older is what was forgotten."""
    return max(most_frequent(values), key=_age)


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
