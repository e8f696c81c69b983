"""The container engine, and what it is told to use: runtime, images, devices and mounts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from npuctl.facts.survey import DeviceNode, DiskFacts
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.model import Finding, Replica
from npuctl.plan.wording import size
from npuctl.spec.models import Service

_OLDEST_DOCKER = (18, 9)  # mind-cluster, environment dependencies
# Compressed layers and unpacked ones lie side by side while an image is pulled.
_ROOM_TO_PULL = 2
# Where no node has the image to tell its size: one of vllm-ascend had 24.46 GB (volcano-sh/kthena PR 494).
_USUAL_IMAGE_BYTES = 30 * 2**30
# The driver's installer: the user and group of the device nodes, unless it was told others.
_DRIVER_USER = "HwHiAiUser"
_GROUP_RIGHTS, _WORLD_RIGHTS = 0o060, 0o006


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the container engine of every node."""
    for node in checked.nodes:
        yield from _engine_answers(node)
        yield from _engine_new(node)
        yield from _runtimes_there(node)
        for replica in node.replicas:
            service = checked.services[replica.service]
            yield from _mounts_present(node, replica, service)
            yield from _weights_present(node, replica, service, checked)
            yield from _image_present(node, replica, checked)
            yield from _devices_there(node, replica)


def _engine_answers(node: CheckedNode) -> Iterator[Finding]:
    if node.facts.docker.error:
        refused = "permission denied" in node.facts.docker.error.lower()
        yield Finding(
            id="docker.engine",
            severity="error",
            node=node.name,
            seen=node.facts.docker.error,
            expected="a Docker engine that answers",
            remedy="log in as root, or set ansible_become: true: this user may not use the Docker engine"
            if refused
            else f"on {node.name}: systemctl start docker; journalctl -u docker tells why it stopped; where no Docker"
            " is installed, npuctl provision does it (npuctl_cluster.container_engine)",
        )


def _engine_new(node: CheckedNode) -> Iterator[Finding]:
    version = re.match(r"(\d+)\.(\d+)", node.facts.docker.version)
    if version and (int(version[1]), int(version[2])) < _OLDEST_DOCKER:
        yield Finding(
            id="docker.version",
            severity="warning",
            node=node.name,
            seen=f"Docker {node.facts.docker.version}",
            expected="18.09 or newer",
            remedy="update Docker; the Ascend runtime does not support older ones",
        )


def _runtimes_there(node: CheckedNode) -> Iterator[Finding]:
    host = node.survey.host if node.survey else None
    for name in host.missing_runtimes if host else []:
        default = host is not None and name == host.docker_default_runtime
        path = host.docker_runtimes.get(name, "") if host else ""
        yield Finding(
            id="docker.runtime",
            severity="error" if default else "warning",
            node=node.name,
            seen=f"{'the default runtime' if default else 'the runtime'} {name} is {path}, which is not there",
            expected="the program of every runtime that /etc/docker/daemon.json names",
            remedy=f"install it, or take {name} out of /etc/docker/daemon.json; then systemctl reload docker",
        )


def _mounts_present(node: CheckedNode, replica: Replica, service: Service) -> Iterator[Finding]:
    for mount in replica.container.mounts:
        absent = node.facts.paths.get(mount.source) == "absent"
        if absent and not mount.create and mount.source != service.model.path:
            yield Finding(
                id="mount.source",
                severity="error",
                node=node.name,
                seen=f"{mount.source} does not exist",
                expected=f"a source for the mount {mount.target}",
                remedy="install the NPU driver, or mend mounts",
                service=replica.service,
            )


def _weights_present(
    node: CheckedNode, replica: Replica, service: Service, checked: Checked
) -> Iterator[Finding]:
    path = service.model.path
    if path is None or node.facts.paths.get(path) != "absent":
        return
    needed, where = _largest_copy(path, checked)
    disk = _disk_of(node, f"model:{path}")
    if disk is not None and needed > disk.free_bytes:
        yield Finding(
            id="disk.weights",
            severity="error",
            node=node.name,
            seen=f"{path} does not exist; {where} has {size(needed)} of weights there,"
            f" and {size(disk.free_bytes)} are free on the disk {disk.path} here",
            expected="the model's folder, or room for it",
            remedy=f"free space on {disk.path}, or mount a larger disk there; then copy the weights",
            service=replica.service,
        )
        return
    yield Finding(
        id="model.path",
        severity="error",
        node=node.name,
        seen=f"{path} does not exist",
        expected="the model's folder",
        remedy=f"copy the weights to this node: {where} has them, {size(needed)}"
        if where
        else "copy the weights to this node",
        service=replica.service,
    )


def _largest_copy(path: str, checked: Checked) -> tuple[int, str]:
    """Size of the weights and who has them; 0 and "" when nobody has."""
    copies = [
        (weights.bytes, node.name) for node in checked.nodes if (weights := node.weights(path)) is not None
    ]
    return max(copies, default=(0, ""))


def _image_present(node: CheckedNode, replica: Replica, checked: Checked) -> Iterator[Finding]:
    image = replica.container.image
    # Pinned by digest it is the same image under the name of a mirror.
    names = {image, replica.container.pull.source} if "@" in image else {image}
    if node.facts.docker.error or names & set(node.facts.images):
        return
    copies = (other.image(image) for other in checked.nodes)
    unpacked_bytes = max((copy.size_bytes for copy in copies if copy), default=0)
    full = no_room(node, image, unpacked_bytes, replica.service)
    if full is not None:
        yield full
        return
    yield Finding(
        id="image.absent",
        severity="warning",
        node=node.name,
        seen=f"{image} is not on the node",
        expected="the image, or a registry that has it",
        remedy="deploy will pull it; without a registry: docker load -i IMAGE.tar on the node",
        service=replica.service,
    )


def no_room(node: CheckedNode, image: str, unpacked_bytes: int, service: str) -> Finding | None:
    """The finding that Docker's disk has no room for an image; 0 bytes: its size is not known."""
    wanted = _ROOM_TO_PULL * unpacked_bytes or _USUAL_IMAGE_BYTES
    disk = _disk_of(node, "docker")
    if disk is None or disk.free_bytes >= wanted:
        return None
    unpacked = f", {size(unpacked_bytes)} unpacked," if unpacked_bytes else ""
    return Finding(
        id="disk.image",
        severity="error" if disk.free_bytes < unpacked_bytes else "warning",
        node=node.name,
        seen=f"{image}{unpacked} is not on the node, and {size(disk.free_bytes)} are free on the disk"
        f" {disk.path} of Docker",
        expected=f"the image, or {size(wanted)} free to bring it",
        remedy="docker system df shows what takes the space; docker image prune frees some;"
        " or move Docker's data-root to a larger disk",
        service=service,
    )


def _disk_of(node: CheckedNode, what: str) -> DiskFacts | None:
    disks = node.survey.host.disks if node.survey else []
    return next((disk for disk in disks if what in disk.holds), None)


def _devices_there(node: CheckedNode, replica: Replica) -> Iterator[Finding]:
    present = {entry.path: entry for entry in node.survey.host.device_nodes} if node.survey else {}
    for path in replica.container.devices if present else ():
        chip = int(path[12:]) if re.fullmatch(r"/dev/davinci\d+", path) else None
        if path not in present:
            yield Finding(
                id="device.absent",
                severity="error" if node.product is None or node.product.verified else "warning",
                node=node.name,
                seen=f"{path} does not exist",
                expected=f"the device node, for {replica.name}",
                remedy="`lsmod | grep drv_` and `dmesg` tell what the driver did; load it again, or restart the node",
                npu=chip,
                service=replica.service,
            )
        elif not _group_may_open(present[path], _driver_group(node)):
            entry = present[path]
            yield Finding(
                id="device.rights",
                severity="warning",
                node=node.name,
                seen=f"{path} is {entry.mode} {entry.owner}:{entry.group}",
                expected=f"0660 {_driver_group(node)}:{_driver_group(node)}: the driver's group may open it",
                remedy=f"chown {_driver_group(node)}:{_driver_group(node)} {path}; chmod 0660 {path};"
                " look for a udev rule that changes it",
                npu=chip,
                service=replica.service,
            )


def _driver_group(node: CheckedNode) -> str:
    installed = node.survey.files.install_group if node.survey else ""
    return installed or _DRIVER_USER


def _group_may_open(entry: DeviceNode, group: str) -> bool:
    """Whether who is in the driver's group may read and write; what could not be read counts as well."""
    try:
        mode = int(entry.mode, 8)
    except ValueError:
        return True
    own = entry.group == group and mode & _GROUP_RIGHTS == _GROUP_RIGHTS
    return own or mode & _WORLD_RIGHTS == _WORLD_RIGHTS


def paths_to_look_at(services: Sequence[Service]) -> list[str]:
    """Paths on a node whose existence the checks judge."""
    paths = {path for product in PRODUCTS for path in (*product.driver_mounts, *product.network_mounts)}
    for service in services:
        paths |= {text.split(":")[0] for text in service.mounts}
        paths |= {service.model.path} if service.model.path else set()
    return sorted(paths)
