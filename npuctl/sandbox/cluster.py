"""Bring a sandbox up, bring back what is missing of it, and take it down."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from npuctl.errors import UsageError
from npuctl.sandbox import (
    bootstrap,
    docker,
    engine,
    images,
    inventory,
    mirror,
    model,
    nodes,
    preflight,
    provisioning,
)
from npuctl.sandbox.inventory import Inventory
from npuctl.sandbox.model import (
    LABEL,
    LABEL_BUILD,
    LABEL_DRIVER,
    LABEL_INVENTORY,
    LABEL_NODES,
    LABEL_PRODUCT,
    Node,
    Sandbox,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from npuctl.sandbox.progress import Progress


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `sandbox up` was asked for; None where the user said nothing."""

    name: str
    nodes: int | None
    product: str | None
    engine: str
    inventory: Path | None
    force: bool = False
    mirror: bool = False
    mirror_model_mib: int | None = None
    bare: bool = False
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class Up:
    """What `sandbox up` brought up."""

    sandbox: Sandbox
    inventory: Path
    engine_image: str
    cluster_written: bool  # False: the user's own was kept
    vault_written: bool  # likewise; True where there is no mirror
    seconds: float


def up(wanted: Wanted, progress: Progress) -> Up:
    """Make the sandbox as wanted; what is there already stays.

    Raises:
        UsageError: no usable Docker engine, or the sandbox runs with other settings.
        PlayFailedError: an image could not be built or a node does not come up.
    """
    _check(wanted)
    preflight.require_engine()
    preflight.require_inotify(wanted.nodes or 1)
    with images.only_one(f"sandbox-{wanted.name}"):
        found = find(wanted.name)
        if found:
            _refuse_difference(found, wanted)
        bare = found.bare if found else wanted.bare
        node_image = images.ensure_node_image(progress, bare=bare)
        engine_image = images.ensure_engine_image(wanted.engine, progress) if wanted.engine != "none" else ""
        folder = _inventory_folder(wanted)
        sandbox = found or _make_network(wanted, folder)
        place = Inventory(folder)
        public_key = inventory.ensure_key(place)
        mirrored = wanted.mirror or bool(mirror.state(sandbox))
        if mirrored:
            mirror.start(sandbox, progress)
        host_keys = _bring_up_nodes(sandbox, node_image, public_key, progress)
        inventory.write(place, sandbox, host_keys)
        release = images.engine_release(wanted.engine)
        about_mirror, vault_written = "", True
        if mirrored:
            about_mirror, vault_written = _fill_mirror(wanted, sandbox, place, engine_image, progress)
        supply = inventory.NOTHING
        if sandbox.bare:
            driver = wanted.driver or model.DEFAULT_DRIVER
            supply = provisioning.prepare(place, sandbox, driver)
            if engine_image and not mirrored:
                supply = provisioning.add_service(place, supply, wanted.engine, engine_image, progress)
        elif engine_image and not mirrored:
            engine.deliver(wanted.engine, engine_image, sandbox, progress)
        if mirrored:
            engine_image = engine_image and mirror.image_name(wanted.engine, sandbox.product)
        text = inventory.cluster_yaml(
            sandbox,
            engine=wanted.engine,
            image=engine_image,
            version=release,
            mirror=about_mirror,
            supply=supply,
        )
        written = inventory.write_cluster(place, text, force=wanted.force)
    return Up(sandbox, folder, engine_image, written, vault_written, progress.seconds)


def _check(wanted: Wanted) -> None:
    model.check_name(wanted.name)
    if wanted.nodes is not None:
        model.check_nodes(wanted.nodes)
    if wanted.driver is not None:
        model.check_version(wanted.driver, "--driver")
    if wanted.mirror_model_mib is not None:
        model.check_mirror_model(wanted.mirror_model_mib, mirror=wanted.mirror)


def find(name: str) -> Sandbox | None:
    """Return the sandbox of that name from its network's labels, if there is one."""
    done = docker.attempt("network", "inspect", model.network_name(name))
    if done.returncode != 0:
        return None
    (entry,) = json.loads(done.stdout)
    labels = entry.get("Labels") or {}
    if labels.get(LABEL) != name:
        raise UsageError(
            f"the Docker network {entry['Name']} exists and is not a sandbox's", hint="choose another --name"
        )
    return Sandbox(
        name,
        int(labels[LABEL_NODES]),
        labels[LABEL_PRODUCT],
        entry["IPAM"]["Config"][0]["Subnet"],
        labels.get(LABEL_DRIVER, model.DEFAULT_DRIVER),  # older sandboxes do not say
    )


def names() -> list[str]:
    """Return the names of all sandboxes of this engine, whole or in parts."""
    template = f'{{{{.Label "{LABEL}"}}}}'
    found: set[str] = set()
    for kind in (("ps", "--all"), ("network", "ls"), ("volume", "ls")):
        found.update(docker.lines(*kind, "--filter", f"label={LABEL}", "--format", template))
    return sorted(found)


def recorded_inventory(name: str) -> Path | None:
    """Return the inventory folder that the sandbox was made with."""
    template = f'{{{{index .Labels "{LABEL_INVENTORY}"}}}}'
    done = docker.attempt("network", "inspect", "--format", template, model.network_name(name))
    text = done.stdout.decode().strip()
    return Path(text) if done.returncode == 0 and text else None


def down(names_wanted: Iterable[str], progress: Progress, *, purge: bool = False) -> list[str]:
    """Remove the containers, volumes and networks of these sandboxes; return what was removed.

    With `purge` also the images and the cache, if no sandbox is left that uses them.
    """
    preflight.require_engine()
    removed: list[str] = []
    for name in names_wanted:
        model.check_name(name)
        with images.only_one(f"sandbox-{name}"):
            removed += _remove(name, progress)
    if purge:
        removed += _purge(progress)
    return removed


def _fill_mirror(
    wanted: Wanted, sandbox: Sandbox, place: Inventory, engine_image: str, progress: Progress
) -> tuple[str, bool]:
    """Put into the mirror what it serves; return its part of cluster.yml, and whether the vault is ours."""
    filled = mirror.fill(sandbox, wanted.engine, engine_image, progress)
    if wanted.mirror_model_mib:
        mirror.add_random_model(sandbox, wanted.mirror_model_mib, progress)
    written = inventory.write_mirror(place, filled, force=wanted.force)
    return inventory.mirror_yaml(filled, bootstrap.host_mirrors()), written


def _refuse_difference(found: Sandbox, wanted: Wanted) -> None:
    differs = []
    if wanted.nodes not in {None, found.nodes}:
        differs.append(f"--nodes {wanted.nodes}")
    if wanted.product not in {None, found.product}:
        differs.append(f"--product {wanted.product}")
    if wanted.bare and not found.bare:
        differs.append("--bare")
    if not found.bare and wanted.driver not in {None, found.driver}:
        differs.append(f"--driver {wanted.driver}")
    if differs:
        made = "bare" if found.bare else f"driver {found.driver}"
        raise UsageError(
            f"sandbox {found.name!r} has {found.nodes} nodes of {found.product}, {made} ({model.SIMULATED}), "
            f"which does not fit {' '.join(differs)}",
            hint=f"npuctl sandbox down --name {found.name}, then up again; or another --name beside it",
        )


def _inventory_folder(wanted: Wanted) -> Path:
    folder = wanted.inventory or recorded_inventory(wanted.name)
    return (folder or inventory.default_folder(wanted.name, Path.cwd())).resolve()


def _make_network(wanted: Wanted, folder: Path) -> Sandbox:
    count = model.DEFAULT_NODES if wanted.nodes is None else wanted.nodes
    product = wanted.product or model.DEFAULT_PRODUCT
    driver = "" if wanted.bare else wanted.driver or model.DEFAULT_DRIVER
    with images.only_one("network"):
        subnet = model.choose_subnet(_taken_networks())
        docker.run(
            *("network", "create", "--subnet", subnet, "--label", f"{LABEL}={wanted.name}"),
            *("--label", f"{LABEL_NODES}={count}", "--label", f"{LABEL_PRODUCT}={product}"),
            *(
                "--label",
                f"{LABEL_DRIVER}={driver}",
                "--label",
                f"{LABEL_INVENTORY}={folder}",
                model.network_name(wanted.name),
            ),
        )
    return Sandbox(wanted.name, count, product, subnet, driver)


def _taken_networks() -> list[str]:
    taken = model.routed_networks(Path("/proc/net/route").read_text())
    ids = docker.lines("network", "ls", "--quiet")
    for entry in json.loads(docker.run("network", "inspect", *ids)):
        taken += [config["Subnet"] for config in entry["IPAM"].get("Config") or [] if config.get("Subnet")]
    return taken


def _bring_up_nodes(sandbox: Sandbox, image: str, public_key: str, progress: Progress) -> dict[str, str]:
    """Bring every node up, a few at once, and return their host keys."""
    present = nodes.existing(sandbox.name)
    todo = [node for node in sandbox.members if not _is_whole(present.get(node.name))]
    if todo:
        progress.say(f"starting {_shown(todo)} of {sandbox.nodes}, {sandbox.product}, {model.SIMULATED}")
    if any(container.image != image for container in present.values()):
        progress.say("some nodes were made from an older node image; `down` and `up` renews them")
    host_keys: dict[str, str] = {}

    def bring_up(node: Node) -> None:
        began = time.monotonic()
        _start(sandbox, node, present.get(node.name), image, public_key)
        nodes.wait_until_up(node, engine=not sandbox.bare)
        host_keys[node.name] = nodes.host_key(node.container)
        if node in todo:
            progress.say(f"{node.name} is up at {node.address} ({time.monotonic() - began:.0f} s)")

    docker.in_parallel(bring_up, sandbox.members, at_once=_at_once())
    return host_keys


def _is_whole(container: nodes.Container | None) -> bool:
    return container is not None and container.state == "running" and container.attached


def _start(
    sandbox: Sandbox, node: Node, container: nodes.Container | None, image: str, public_key: str
) -> None:
    if container is None:
        nodes.create(sandbox, node, image)
    elif container.state == "paused":
        docker.run("unpause", node.container)
    if container is not None and not container.attached:
        docker.run("network", "connect", "--ip", node.address, sandbox.network, node.container)
    nodes.give_files(node.container, nodes.identity_files(sandbox, node, public_key))
    if container is not None and container.state in {"running", "paused"}:
        nodes.start_services(node.container)
    if container is None or container.state not in {"running", "paused"}:
        nodes.start(node.container)


def _at_once() -> int:
    return max(2, min(8, (os.cpu_count() or 2) + 1))


def _shown(members: list[Node]) -> str:
    return members[0].name if len(members) == 1 else f"{members[0].name} … {members[-1].name}"


def _remove(name: str, progress: Progress) -> list[str]:
    ours = f"label={LABEL}={name}"
    containers = docker.lines("ps", "--all", "--filter", ours, "--format", "{{.Names}}")
    if containers:
        progress.say(f"removing {len(containers)} containers of sandbox {name!r}")
        docker.in_parallel(_remove_container, containers, at_once=_at_once())
    volumes = docker.lines("volume", "ls", "--quiet", "--filter", ours)
    if volumes:
        docker.run("volume", "rm", "--force", *volumes)
    networks = docker.lines("network", "ls", "--filter", ours, "--format", "{{.Name}}")
    for network in networks:
        docker.run("network", "rm", network)
    return [*containers, *networks]


def _remove_container(container: str) -> None:
    # A frozen node cannot be killed on cgroup v1.
    docker.attempt("unpause", container)
    docker.run("rm", "--force", "--volumes", container)


def _purge(progress: Progress) -> list[str]:
    if names():
        progress.say("images and cache stay: another sandbox uses them")
        return []
    progress.say("removing images and cache")
    builds = docker.lines("ps", "--all", "--quiet", "--filter", f"label={LABEL_BUILD}=1")
    if builds:
        docker.run("rm", "--force", "--volumes", *builds)
    tags = docker.lines(
        "images", "--filter", f"reference={images.REPOSITORY}/*", "--format", "{{.Repository}}:{{.Tag}}"
    )
    if tags:
        docker.run("image", "rm", "--force", *tags)
    folder = images.cache_folder().parent  # the engine images' builds keep their downloads there
    shutil.rmtree(folder, ignore_errors=True)
    return [*tags, str(folder)]
