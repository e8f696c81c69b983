"""Admission and accounting: how many sequences run, what they cost, and which blocks of prompts are known."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simvllm.settings import KV_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from simvllm.metrics import Metrics
    from simvllm.settings import Settings


@dataclass(slots=True)
class Ticket:
    """One sequence on its way through the engine."""

    metrics: Metrics
    prompt_tokens: int
    max_tokens: int
    arrived: float
    started: float = 0.0
    first: float = 0.0
    latest: float = 0.0
    generated: int = 0
    reason: str = field(default="")

    def token(self) -> None:
        """Count one more token."""
        now = time.monotonic()
        self.generated += 1
        if self.generated == 1:
            self.first = now
            self.metrics.first_token(self.prompt_tokens, now - self.arrived)
        else:
            self.metrics.next_token(now - self.latest)
        self.latest = now

    def finish(self, reason: str) -> None:
        """The sequence ended by itself; else it counts as aborted."""
        self.reason = reason


class Scheduler:
    """Lets at most max_num_seqs sequences run at once, first come first served as threads go."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._slots = threading.Semaphore(settings.max_num_seqs)
        self._metrics = metrics
        self._block = settings.block_size
        self._caching = settings.prefix_caching
        self._known: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()
        self.finished = 0

    @contextlib.contextmanager
    def admit(self, prompt: Sequence[int], max_tokens: int) -> Iterator[Ticket]:
        """Wait for a slot, run, and book what came of it."""
        ticket = Ticket(self._metrics, len(prompt), max_tokens, time.monotonic())
        blocks = -(-(len(prompt) + max_tokens) // self._block)
        with self._metrics.waiting():
            self._slots.acquire()
        ticket.started = time.monotonic()
        try:
            self._look_up(prompt)
            with self._metrics.running(blocks):
                yield ticket
        finally:
            self._slots.release()
            self._metrics.ended(ticket)
            with self._lock:
                self.finished += 1

    def _look_up(self, prompt: Sequence[int]) -> None:
        """Count the prompt tokens whose blocks have been seen, and remember the blocks."""
        if not self._caching:
            return
        hits = 0
        chain = 0
        with self._lock:
            for start in range(0, len(prompt) - self._block + 1, self._block):
                chain = hash((chain, tuple(prompt[start : start + self._block])))
                hits += self._block if chain in self._known else 0
                self._known[chain] = None
                self._known.move_to_end(chain)
            while len(self._known) > KV_BLOCKS:
                self._known.popitem(last=False)
        # The last token is always computed, or there would be nothing to go on from.
        self._metrics.prefix(len(prompt), min(hits, (len(prompt) - 1) // self._block * self._block))
