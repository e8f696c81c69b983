"""What `npuctl provision` makes nodes of a bare sandbox from: packages, weights, an image, and a spec that names them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from npuctl.sandbox import engine, images, packages
from npuctl.sandbox.inventory import Inventory, Supply

if TYPE_CHECKING:
    from npuctl.sandbox.model import Sandbox
    from npuctl.sandbox.progress import Progress

# Hidden, for Ansible takes every other file of an inventory's folder for an inventory.
PACKAGES, WEIGHTS = ".provision/packages", ".provision/tiny"
# As the factory's addresses of an ordinary sandbox: one network for an A2, one for each die of an A3.
_NETWORKS = {"a2": ("10.20",), "a3": ("10.20", "10.21"), "310p": ()}


def prepare(place: Inventory, sandbox: Sandbox, driver: str) -> Supply:
    """Write packages beside the inventory, and say how the machines are to be."""
    release = packages.Release(sandbox.product, driver)
    written = packages.write(place.folder / PACKAGES, release)
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written}
    return Supply(machines=_machines(sandbox.product, release, digests))


def add_service(place: Inventory, supply: Supply, kind: str, image: str, progress: Progress) -> Supply:
    """Write the model beside the inventory too, and name the file that holds the engine `kind`."""
    for name, file in engine.model_files(kind, image).items():
        path = place.folder / WEIGHTS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
    return replace(supply, image_file=str(images.archive_of(image, progress)), weights=WEIGHTS)


def _machines(product: str, release: packages.Release, digests: dict[str, str]) -> str:
    runtime = packages.name("runtime", release.runtime, release)
    sums = "".join(f"      {name}: {digest}\n" for name, digest in digests.items() if name != runtime)
    pools = "".join(
        f"      - {{network: {net}.0.0/16, gateway: {net}.255.1}}\n" for net in _NETWORKS[product]
    )
    return (
        "  system: {time_sync: null}  # a container has no clock of its own\n"
        "  container_engine:\n    ascend_runtime:\n"
        f"      package: {PACKAGES}/{runtime}\n      sha256: {digests[runtime]}\n"
        f"  driver:\n    version: {release.driver}\n    firmware: {release.usual_firmware}\n"
        f"    packages: {PACKAGES}\n    reboot: rolling\n    reboot_within_seconds: 120\n"
        "    build_packages: false  # simulated installers build nothing\n"
        f"    sha256:\n{sums}"
    ) + (f"  npu_addresses:\n    pools:\n{pools}" if pools else "")
