"""The life of `vllm serve`: checks, engine, port, and the ways it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

from simvllm.engine import CORE, Engine, start_engine
from simvllm.faults import Faults
from simvllm.generation import Writer
from simvllm.http_api import ApiServer
from simvllm.journal import Journal, uvicorn
from simvllm.language import load_language
from simvllm.metrics import Metrics
from simvllm.scheduler import Scheduler
from simvllm.service import Service
from simvllm.settings import DEFAULT_HOST, DEFAULT_PORT, Settings, StartError, settle

if TYPE_CHECKING:
    from types import FrameType

    from simvllm.flags import Arguments
    from simvllm.surroundings import Surroundings

POLL_SECONDS = 0.1
ENGINE_GRACE_SECONDS = 5.0
ENGINE_FAILED = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
)


class Server:
    """One `vllm serve`, from its start to its exit code."""

    def __init__(self, arguments: Arguments, around: Surroundings) -> None:
        self._arguments = arguments
        self._around = around
        self._journal = Journal("APIServer")
        self._asked = threading.Event()
        self._names = tuple(arguments.values.get("--served-model-name") or [arguments.model])
        self._faults = Faults(around.faults, self._names)

    def run(self) -> int:
        """Serve until told to stop; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            return self._run()
        except StartError as error:
            self._journal.traceback(str(error))
            return 1

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGTERM and self._faults.get("ignore-sigterm") is not None:
            return
        self._asked.set()

    def _run(self) -> int:
        self._journal.info("api_server.py:1289", f"vLLM API server version {self._around.release}")
        self._journal.info("utils.py:253", f"non-default args: {self._arguments.values}")
        # Bound before anything slow, as vLLM does: two servers of one port do not both load a model.
        api = self._bind()
        settings = settle(self._arguments, self._around)
        self._journal.info("model.py:1541", f"Using max model len {settings.max_model_len}")
        if self._faults.get("exit-at-start") is not None:
            return self._fail_to_start(CORE, "RuntimeError: NPU out of memory. Tried to allocate 1.25 GiB")
        devices = self._devices(settings)
        with contextlib.ExitStack() as cleanup:
            engine = start_engine(settings.ranks, devices, self._around.shm, listener=api.fileno())
            cleanup.callback(engine.stop, ENGINE_GRACE_SECONDS)
            if not self._load(engine, settings):
                return 0 if self._asked.is_set() else 1
            if not settings.serves_http:
                return self._wait_headless(engine)
            return self._serve(api, engine, settings)

    def _bind(self) -> ApiServer:
        host = self._arguments.text("--host", DEFAULT_HOST)
        try:
            return ApiServer(host, self._arguments.number("--port", DEFAULT_PORT))
        except (OSError, OverflowError) as error:
            raise StartError(f"{type(error).__name__}: {error}") from error

    def _devices(self, settings: Settings) -> list[str]:
        """One device a rank; none when the sandbox allows that."""
        found = self._around.devices()
        if not found and self._around.allow_no_npu:
            return []
        if not found:
            self._journal.error("__init__.py:88", "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)")
            self._journal.error("__init__.py:89", "dcmi module initialize failed. ret is -8005")
            raise StartError(ENGINE_FAILED.format({CORE: 1}))
        if len(found) < len(settings.ranks):
            rank = settings.ranks[len(found)]
            cause = (
                f"RuntimeError: aclrtSetDevice failed, error code is 107001: Invalid device ID ({len(found)})"
            )
            self._fail_to_start(rank, cause)
            raise StartError(ENGINE_FAILED.format({CORE: 1}))
        return found[: len(settings.ranks)]

    def _fail_to_start(self, process: str, cause: str) -> int:
        journal = Journal(process)
        journal.info("core.py:77", f"Initializing a V1 LLM engine (v{self._around.release})")
        journal.info("model_runner_v1.py:2610", "Starting to load model...")
        journal.error("core.py:708", f"EngineCore failed to start.\n{cause}")
        self._journal.traceback(ENGINE_FAILED.format({CORE: 1}))
        return 1

    def _load(self, engine: Engine, settings: Settings) -> bool:
        """Play the loading of weights; False when it ended otherwise than with a ready engine."""
        worker = Journal(settings.ranks[0] if settings.ranks else CORE)
        worker.info("model_runner_v1.py:2610", f"Starting to load model {settings.model}...")
        until = time.monotonic() + self._around.load_seconds
        while time.monotonic() < until or self._faults.get("never-ready") is not None:
            if self._asked.is_set():
                return False
            if engine.dead(POLL_SECONDS):
                self._journal.traceback(ENGINE_FAILED.format({CORE: 1}))
                return False
        worker.info("default_loader.py:267", f"Loading weights took {self._around.load_seconds:.2f} seconds")
        return True

    def _serve(self, api: ApiServer, engine: Engine, settings: Settings) -> int:
        metrics = Metrics(settings, self._around.release)
        scheduler = Scheduler(settings, metrics)
        language = load_language(self._around.data / "model.json")
        writer = Writer(language, scheduler, self._faults, self._around.seconds_per_token)
        service = Service(self._around.release, settings, self._faults, metrics, scheduler, writer)
        uvicorn(f"Started server process [{os.getpid()}]")
        uvicorn("Waiting for application startup.")
        try:
            api.open(service)
        except OSError as error:
            raise StartError(f"OSError: {error}") from error
        threading.Thread(
            target=api.serve_forever, kwargs={"poll_interval": POLL_SECONDS}, daemon=True
        ).start()
        uvicorn("Application startup complete.")
        return self._watch(api.socket, engine, service)

    def _watch(self, listener: socket.socket, engine: Engine, service: Service) -> int:
        while not self._asked.is_set():
            limit = self._faults.get("die-after")
            if limit is not None and service.scheduler.finished >= int(limit.get("requests", 1)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(engine.core, signal.SIGKILL)
            if engine.dead(POLL_SECONDS):
                service.engine_dead = True
                self._journal.error("async_llm.py:525", "AsyncLLM output_handler failed.")
                self._journal.error(
                    "async_llm.py:525",
                    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. "
                    "See stack trace (above) for the root cause.",
                )
                self._asked.wait(self._around.dead_seconds)
                break
        uvicorn("Shutting down")
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        engine.stop(ENGINE_GRACE_SECONDS)
        uvicorn("Application shutdown complete.")
        return 0

    def _wait_headless(self, engine: Engine) -> int:
        """A node without an API server waits for its head, for ever if need be."""
        self._journal.info("serve.py:122", "Launching headless engine; no API server on this node")
        while not self._asked.is_set():
            if engine.dead(POLL_SECONDS):
                return 1
        return 0
