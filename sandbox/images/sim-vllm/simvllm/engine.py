"""The processes below the API server: one engine core, and below it one worker a chip.

They do no work. They hold what the real ones hold, devices and shared memory, and end as the real ones end:

* SIGTERM to the core ends it and its workers, and the shared memory goes.
* A dead worker takes the core with it, a dead core its workers: each watches a pipe to the other.
* A dead API server is not noticed. Core and workers stay, with devices and shared memory.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from simvllm.journal import Journal
from simvllm.proctitle import set_title

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RING_BYTES = 1 << 20
CORE = "EngineCore_DP0"


@dataclass(frozen=True, slots=True)
class Engine:
    """A started engine, as the API server knows it.

    Attributes:
        core: process id of the engine core.
        alive: a pipe that reaches its end when the core is dead.
        ring: the shared memory file.
    """

    core: int
    alive: int
    ring: Path

    def dead(self, wait_seconds: float) -> bool:
        """Whether the core is dead, after waiting at most this long for it."""
        return bool(select.select([self.alive], [], [], wait_seconds)[0])

    def stop(self, grace_seconds: float) -> None:
        """End the core and its workers, and remove the ring."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.core, signal.SIGTERM)
        if not self.dead(grace_seconds):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.core, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.core, 0)
        self.ring.unlink(missing_ok=True)


def start_engine(ranks: tuple[str, ...], devices: list[str], shm: Path, *, listener: int) -> Engine:
    """Fork the engine core, which forks the workers. The caller has no threads yet.

    Args:
        ranks: the workers' names.
        devices: one device file a rank, or none at all.
        shm: the folder of shared memory files.
        listener: the API server's socket, which would stay open in orphans.
    """
    ring = shm / f"psm_{secrets.token_hex(4)}"
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.close(listener)
        _child(lambda: _core(ranks, devices, ring, theirs))
    os.close(theirs)
    return Engine(pid, ours, ring)


def _child(body: Callable[[], int]) -> NoReturn:
    """Run a forked process's body; never returns into the parent's code."""
    status = 1
    try:
        # An interrupt at the terminal reaches the whole group; only the API server acts on it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
        status = body()
    finally:
        sys.stdout.flush()
        os._exit(status)


def _core(ranks: tuple[str, ...], devices: list[str], ring: Path, alive: int) -> int:
    set_title("VLLM::EngineCore")
    journal = Journal(CORE)
    journal.info("core.py:77", f"Initializing a V1 LLM engine with {len(ranks)} worker(s)")
    ring.write_bytes(bytes(RING_BYTES))
    # Before the first fork, so that no worker's death is missed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    watched, held = os.pipe()
    workers = [
        _fork_worker(rank, devices[place : place + 1], (watched, held, alive))
        for place, rank in enumerate(ranks)
    ]
    os.close(watched)
    got = signal.sigwait({signal.SIGTERM, signal.SIGCHLD})
    if got == signal.SIGCHLD:
        journal.error("multiproc_executor.py:246", "Worker proc died unexpectedly, shutting down executor.")
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in workers:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    ring.unlink(missing_ok=True)
    return 0 if got == signal.SIGTERM else 1


def _fork_worker(rank: str, devices: list[str], pipes: tuple[int, int, int]) -> int:
    pid = os.fork()
    if pid == 0:
        watched, held, alive = pipes
        os.close(held)
        os.close(alive)
        _child(lambda: _worker(rank, devices, watched))
    return pid


def _worker(rank: str, devices: list[str], watched: int) -> int:
    set_title(f"VLLM::{rank}")
    for device in devices:
        os.open(device, os.O_RDWR)
    Journal(rank).info("worker_v1.py:120", f"rank {rank} on {devices[0] if devices else 'no device'}")
    # The end of this pipe is the core's death; nothing is ever written to it.
    os.read(watched, 1)
    return 1
