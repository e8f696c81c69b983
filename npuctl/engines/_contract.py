"""What every engine tells the planner. Data and pure functions; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

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
class SpecProblem:
    """Something in a service that the engine refuses: key below the service, message, hint."""

    key: str
    message: str
    hint: str = ""


class Engine(Protocol):
    """One engine.

    `title` is for people. `problems` looks at a service without knowing any node; `seat_problems` with
    the node's product known.
    """

    title: str

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
