"""Where an image is pulled from: through the mirror of its registry, with the login of whom is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from npuctl import engines
from npuctl.engines._contract import Seat
from npuctl.hardware.catalog import PRODUCTS, Product
from npuctl.plan.model import Pull
from npuctl.spec.mirrors import effective_mirrors
from npuctl.spec.models import ClusterSpec, Service

DOCKER_HUB = "docker.io"
_OFFICIAL = "library/"  # of Docker Hub: `alpine` is docker.io/library/alpine


def pull_of(spec: ClusterSpec, reference: str) -> Pull:
    """How that image is pulled. A registry's login is for that registry: a mirror of it never gets it."""
    registry, path = split(reference)
    prefix = image_prefixes(spec).get(registry)
    source = f"{prefix}/{path}" if prefix else ""
    asked = split(source)[0] if source else registry
    login = spec.registries.get(asked)
    if login is None:
        return Pull(source, asked)
    return Pull(source, asked, login.username, login.password.secret)


def image_prefixes(spec: ClusterSpec) -> dict[str, str]:
    """Registry → the prefix it is pulled through."""
    docker = effective_mirrors(spec).docker
    return dict(docker.images) if docker else {}


def split(reference: str) -> tuple[str, str]:
    """Registry and the rest, by Docker's rule: the first part is a host if it could not be a name."""
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        path = rest
        registry = first
    else:
        registry, path = DOCKER_HUB, reference
    if registry == DOCKER_HUB and "/" not in path:
        path = _OFFICIAL + path
    return registry, path


def image_of(service: Service, product: Product | None) -> str | None:
    """The image that the service's engine runs on a product; None where that is not known.

    A product that is not known does not matter where the spec names the image itself.
    """
    found = {_launched(service, one) for one in ([product] if product else PRODUCTS)}
    return found.pop() if len(found) == 1 else None


def images_of(service: Service) -> Iterator[str]:
    """The images that the service may need, on whatever product."""
    yield from dict.fromkeys(_launched(service, product) for product in PRODUCTS)


def _launched(service: Service, product: Product) -> str:
    seat = Seat("", product, tuple(range(service.topology.chips)), service.port)
    return engines.load(service.engine).launch(service, seat).image
