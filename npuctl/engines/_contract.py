"""What every engine tells the planner. Data and pure functions; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from npuctl.facts.survey import WeightsFacts
from npuctl.hardware.catalog import Product
from npuctl.spec.models import Service


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one replica sits: the node's product, its chips in rank order, its port."""

    node: str
    product: Product
    chips: tuple[int, ...]
    port: int


@dataclass(frozen=True, slots=True)
class Launch:
    """How an engine's process is started in its container.

    Attributes:
        image: with tag.
        argv: the main process with its arguments, literal; no shell reads them.
        env: environment, without secrets.
        mounts: the engine's own mounts, `SOURCE:TARGET[:ro]`, besides those of the NPU driver.
        secret_env: environment variable → name of a secret in the vault.
    """

    image: str
    argv: tuple[str, ...]
    env: dict[str, str]
    mounts: tuple[str, ...]
    secret_env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenProbe:
    """An HTTP request that a healthy replica answers with a token.

    Attributes:
        alive_path: answers 200 as soon as the server is up (engine up, no statement about tokens).
        token_path: POST target.
        body: JSON body of the POST; asks for one token.
        failing_status: the status of alive_path by which the engine says that it is dead.
    """

    alive_path: str
    token_path: str
    body: dict[str, object]
    failing_status: int = 503


@dataclass(frozen=True, slots=True)
class Release:
    """What belongs together in one release of an engine, as its table says; "" for what the table leaves out.

    Attributes:
        image: the last two parts of the official images' names; mirrors keep them.
        tag: what the official tags begin with.
    """

    image: str
    tag: str
    cann: str = ""
    torch_npu: str = ""


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """Something in a service that the engine refuses: key below the service, message, hint."""

    key: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class MemoryWish:
    """What a service makes of a chip's memory, as its engine reckons.

    Attributes:
        utilisation: share of the memory that the engine takes at all, weights included.
        longest: tokens of the longest sequence; None: as long as the model allows.
        length_adapts: the engine shortens the longest sequence to what fits.
        any_length: sequences longer than the model says are accepted.
        sequences: served at once, where a person wrote it.
        element_bytes: of one number of the computation, and of a weight that is not quantised.
        cache_element_bytes: of one element of the KV cache; None: as the computation.
        overhead_bytes: activations, communication buffers and workspaces on one chip, by a rule of thumb.
        least_overhead_bytes: the least that has been measured for them.
        cache_share: share of what is left that becomes KV cache.
        context_parallel: chips that share the cache of one sequence beside tensor parallelism.
        offload_bytes: weights that a chip leaves in the host's memory.
        cache_bytes: size of the KV cache where a person wrote it: `utilisation` does not count then.
    """

    utilisation: float
    longest: int | None
    length_adapts: bool
    any_length: bool
    sequences: int | None
    element_bytes: int
    cache_element_bytes: int | None
    overhead_bytes: int
    least_overhead_bytes: int
    cache_share: float
    context_parallel: int
    offload_bytes: int
    cache_bytes: int | None


class Engine(Protocol):
    """One engine.

    `title` is for people. `package` is the Python package whose version, in an image, is the engine's
    release. `problems` looks at a service without knowing any node; `seat_problems` with
    the node's product known.
    """

    title: str
    package: str

    def problems(self, service: Service) -> list[SpecProblem]:
        """What the engine refuses in this service, whatever the node."""
        ...

    def seat_problems(self, service: Service, seat: Seat) -> list[SpecProblem]:
        """What the engine refuses on this seat."""
        ...

    def launch(self, service: Service, seat: Seat) -> Launch:
        """How the engine is started for this service on this seat."""
        ...

    def token_probe(self, service: Service) -> TokenProbe:
        """How to ask a replica for a token."""
        ...

    def remarks(self, service: Service, seat: Seat) -> list[SpecProblem]:
        """What starts on this seat but does not do what is written, or is known to end badly."""
        ...

    def weights_problems(self, service: Service, weights: WeightsFacts) -> list[SpecProblem]:
        """Why the engine cannot load the weights in this folder the way the service says."""
        ...

    def memory(self, service: Service, seat: Seat) -> MemoryWish:
        """What the service makes of the memory of each chip."""
        ...

    def release(self, service: Service) -> Release | None:
        """What the service's release is made of; None when the release is not known."""
        ...
