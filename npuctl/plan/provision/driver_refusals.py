"""Why driver and firmware of a node are left as they are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from npuctl.hardware.catalog import A2
from npuctl.plan.model import Finding
from npuctl.plan.provision.driver_packages import product_of_node
from npuctl.plan.provision.driver_state import DriverState, same_version
from npuctl.plan.provision.os_families import family_of, unknown_family
from npuctl.plan.wording import process, several, size

_MIB = 2**20
# What the installers want to be free (hicann/driver, scripts/package, env_check.sh).
_INSTALLED_BYTES = {"driver": 300 * _MIB, "firmware": 32 * _MIB}
# Where the second number of the installed firmware is 11, newer driver packages refuse (env_check.sh, 910B).
_OLD_FIRMWARE, _HOP = "11", "23.0.rc1"
_MOST_PROCESSES = 6


def refusals(state: DriverState) -> list[Finding]:
    """Everything that is wrong with what would be installed."""
    if not state.pending:
        return []
    return [
        *state.package_findings,
        *_downgrades(state),
        *_hop(state),
        *_space(state),
        *_unknown_system(state),
    ]


def held(state: DriverState) -> list[Finding]:
    """Somebody else's work on the NPUs is not ended by a driver."""
    if not state.foreign:
        return []
    whose: dict[tuple[int, str, str], list[int]] = {}
    for holder in state.foreign:
        whose.setdefault((holder.pid, holder.container, holder.command), []).append(holder.chip)
    words = [
        f"{process(pid, container, command)} holds NPU {', '.join(map(str, sorted(chips)))}"
        for (pid, container, command), chips in whose.items()
    ]
    return [
        Finding(
            id="provision.npu_held",
            severity="error",
            node=state.node.name,
            seen=several(words, _MOST_PROCESSES),
            expected="NPUs that nobody but npuctl's own services uses: the driver is taken from under them",
            remedy=f"end these processes on {state.node.name}, or leave the node out with --limit",
        )
    ]


def unfit_packages(state: DriverState) -> list[Finding]:
    """Driver and firmware are those of the spec, and npu-smi says that they do not fit each other."""
    if not state.unfit or "firmware" not in state.wanted:
        return []
    wanted = state.wanted
    return [
        Finding(
            id="provision.driver_unfit",
            severity="error",
            node=state.node.name,
            seen="; ".join(state.unfit),
            expected=f"driver {wanted['driver']} and firmware {wanted['firmware']} that fit each other",
            remedy="name driver and firmware of one HDK release in npuctl_cluster.driver",
        )
    ]


def differing_services(
    node: str, running: Sequence[str], actions: Mapping[str, tuple[str, str]]
) -> list[Finding]:
    """Services that could be stopped for the driver, and not started again as they were.

    Args:
        node: its name.
        running: our containers that run there.
        actions: container → what a deploy would do with it, and its replica.
    """
    return [
        Finding(
            id="provision.service_differs",
            severity="error",
            node=node,
            seen=f"{actions[name][1]} runs, and `npuctl deploy` would {actions[name][0]} it",
            expected="services that are as the spec says: they are stopped for the driver and started again after it",
            remedy="run npuctl deploy first, or npuctl stop where they need not run",
            service=actions[name][1].rpartition("-")[0],
        )
        for name in running
        if name in actions and actions[name][0] not in {"none", "start"}
    ]


def _downgrades(state: DriverState) -> Iterator[Finding]:
    if state.wish.allow_downgrade or state.transaction.downgrade:
        return
    for kind in state.pending:
        there, wanted = state.on_disk.get(kind, ""), state.wanted[kind]
        if there and not same_version(there, wanted) and not state.is_upgrade(kind):
            yield Finding(
                id="provision.driver_downgrade",
                severity="error",
                node=state.node.name,
                seen=f"{kind} {there} is installed",
                expected=f"an older one than the {kind} {wanted} that the spec wants",
                remedy="correct npuctl_cluster.driver, or allow it: npuctl provision --downgrade",
            )


def _hop(state: DriverState) -> Iterator[Finding]:
    firmware = state.on_disk.get("firmware", "")
    numbers = firmware.split(".")
    old = len(numbers) > 1 and numbers[1] == _OLD_FIRMWARE
    goes_by = "driver" not in state.pending or same_version(state.wanted["driver"], _HOP)
    if old and not goes_by and product_of_node(state.node) is A2:
        yield Finding(
            id="provision.firmware_hop",
            severity="error",
            node=state.node.name,
            seen=f"firmware {firmware} is installed",
            expected="a firmware whose second number is not 11: newer driver packages refuse on it",
            remedy="provision driver 23.0.RC1 with its firmware first, then what is wanted",
        )


def _space(state: DriverState) -> Iterator[Finding]:
    free = state.node.facts.free_bytes.get("/")
    # Once as a package, once unpacked by the installer, and once installed.
    needed = sum(
        2 * package.local.size + _INSTALLED_BYTES[package.kind] for package in state.packages.values()
    )
    if free is not None and not state.transaction.prepared and free < needed:
        yield Finding(
            id="provision.driver_space",
            severity="error",
            node=state.node.name,
            seen=f"{size(free)} are free on /",
            expected=f"{size(needed)} for the packages and what they install",
            remedy=f"make room on {state.node.name}",
        )


def _unknown_system(state: DriverState) -> Iterator[Finding]:
    builds = "driver" in state.pending and state.driver.build_packages
    if builds and not state.transaction.prepared and family_of(state.node.setup) is None:
        yield unknown_family(state.node, "kernel headers, gcc and make")
