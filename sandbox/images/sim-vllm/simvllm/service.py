"""What the threads of one server share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simvllm.faults import Faults
    from simvllm.generation import Writer
    from simvllm.metrics import Metrics
    from simvllm.scheduler import Scheduler
    from simvllm.settings import Settings


@dataclass(slots=True)
class Service:
    """One running server.

    Attributes:
        engine_dead: set once, when the engine core is gone; nothing brings it back.
    """

    release: str
    settings: Settings
    faults: Faults
    metrics: Metrics
    scheduler: Scheduler
    writer: Writer
    engine_dead: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
