"""What /metrics tells: vLLM's names and types, with the true values of this server's requests."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from simvllm.settings import KV_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simvllm.scheduler import Ticket
    from simvllm.settings import Settings

FIRST_TOKEN = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
NEXT_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
ITERATION = tuple(2**power for power in (0, *range(3, 15)))
REASONS = ("stop", "length", "abort", "error")
Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Counts of observations at or below each bound."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take in one value."""
        place = next((number for number, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[place] += 1
        self.total += value


def token_bounds(limit: int) -> tuple[int, ...]:
    """The bounds 1, 2, 5, 10, … up to the context length, as vLLM makes them."""
    found: list[int] = []
    factor = 1
    while True:
        for step in (1, 2, 5):
            if step * factor > limit:
                return tuple(found)
            found.append(step * factor)
        factor *= 10


class Metrics:
    """The counters, gauges and histograms of one server; every method may be called from any thread."""

    def __init__(self, settings: Settings, release: str) -> None:
        self._settings = settings
        self._release = tuple(int(part) for part in release.split("."))
        self._born = time.time()
        self._lock = threading.Lock()
        self._waiting = self._running = self._blocks = 0
        self._counters = dict.fromkeys(
            ("prompt_tokens", "generation_tokens", "num_preemptions", "queries", "hits"), 0
        )
        self._success = dict.fromkeys(REASONS, 0)
        tokens = token_bounds(settings.max_model_len)
        self._histograms = {
            "time_to_first_token_seconds": Histogram(FIRST_TOKEN),
            "inter_token_latency_seconds": Histogram(NEXT_TOKEN),
            "iteration_tokens_total": Histogram(ITERATION),
            "request_prompt_tokens": Histogram(tokens),
            "request_generation_tokens": Histogram(tokens),
        } | {
            f"{name}_seconds": Histogram(REQUEST)
            for name in (
                "e2e_request_latency",
                "request_queue_time",
                "request_prefill_time",
                "request_decode_time",
                "request_inference_time",
            )
        }

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A sequence waits for its slot."""
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @contextlib.contextmanager
    def running(self, blocks: int) -> Iterator[None]:
        """A sequence runs and holds this many blocks of the cache."""
        with self._lock:
            self._running += 1
            self._blocks += blocks
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._blocks -= blocks

    def prefix(self, queries: int, hits: int) -> None:
        """So many prompt tokens were looked up, so many of them were known."""
        with self._lock:
            self._counters["queries"] += queries
            self._counters["hits"] += hits

    def first_token(self, prompt_tokens: int, seconds: float) -> None:
        """A prompt was read and its first token written."""
        with self._lock:
            self._counters["prompt_tokens"] += prompt_tokens
            self._counters["generation_tokens"] += 1
            self._histograms["time_to_first_token_seconds"].observe(seconds)
            self._histograms["iteration_tokens_total"].observe(prompt_tokens + 1)

    def next_token(self, seconds: float) -> None:
        """One more token was written."""
        with self._lock:
            self._counters["generation_tokens"] += 1
            self._histograms["inter_token_latency_seconds"].observe(seconds)
            self._histograms["iteration_tokens_total"].observe(1)

    def ended(self, ticket: Ticket) -> None:
        """A sequence is over."""
        now = time.monotonic()
        first = ticket.first or now
        seen = {
            "e2e_request_latency_seconds": now - ticket.arrived,
            "request_queue_time_seconds": ticket.started - ticket.arrived,
            "request_prefill_time_seconds": first - ticket.started,
            "request_decode_time_seconds": now - first,
            "request_inference_time_seconds": now - ticket.started,
            "request_prompt_tokens": ticket.prompt_tokens,
            "request_generation_tokens": ticket.generated,
        }
        with self._lock:
            self._success[ticket.reason or "abort"] += 1
            for name, value in seen.items():
                self._histograms[name].observe(value)

    def exposition(self) -> str:
        """The text of /metrics."""
        if not self._settings.log_stats:
            return ""
        with self._lock:
            return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        old = self._release < (0, 10, 2)
        prefix = "gpu_" if old else ""
        labels = (("engine", "0"), ("model_name", self._settings.names[0]))
        yield from _gauge("num_requests_running", labels, self._running)
        yield from _gauge("num_requests_waiting", labels, self._waiting)
        yield from _gauge(f"{prefix or 'kv_'}cache_usage_perc", labels, min(1.0, self._blocks / KV_BLOCKS))
        yield from self._counter("prompt_tokens", ((labels, self._counters["prompt_tokens"]),))
        yield from self._counter("generation_tokens", ((labels, self._counters["generation_tokens"]),))
        yield from self._counter("num_preemptions", ((labels, self._counters["num_preemptions"]),))
        yield from self._counter(f"{prefix}prefix_cache_queries", ((labels, self._counters["queries"]),))
        yield from self._counter(f"{prefix}prefix_cache_hits", ((labels, self._counters["hits"]),))
        reasons = [
            (tuple(sorted((*labels, ("finished_reason", reason)))), count)
            for reason, count in self._success.items()
        ]
        yield from self._counter("request_success", reasons)
        for name, histogram in self._histograms.items():
            real = "time_per_output_token_seconds" if old and name == "inter_token_latency_seconds" else name
            yield from _histogram(real, labels, histogram)
        config = {
            "block_size": self._settings.block_size,
            "enable_prefix_caching": self._settings.prefix_caching,
            "engine": 0,
            "gpu_memory_utilization": self._settings.memory_utilization,
            "num_gpu_blocks": KV_BLOCKS,
        }
        yield from _gauge("cache_config_info", tuple((name, str(value)) for name, value in config.items()), 1)

    def _counter(
        self, name: str, samples: list[tuple[Labels, int]] | tuple[tuple[Labels, int]]
    ) -> Iterator[str]:
        yield f"# HELP vllm:{name}_total Counted since the server started."
        yield f"# TYPE vllm:{name}_total counter"
        for labels, value in samples:
            yield f"vllm:{name}_total{_labels(labels)} {float(value)}"
        yield f"# HELP vllm:{name}_created Counted since the server started."
        yield f"# TYPE vllm:{name}_created gauge"
        for labels, _ in samples:
            yield f"vllm:{name}_created{_labels(labels)} {self._born}"


def _gauge(name: str, labels: Labels, value: float) -> Iterator[str]:
    yield f"# HELP vllm:{name} As it is now."
    yield f"# TYPE vllm:{name} gauge"
    yield f"vllm:{name}{_labels(labels)} {float(value)}"


def _histogram(name: str, labels: Labels, histogram: Histogram) -> Iterator[str]:
    yield f"# HELP vllm:{name} Observed since the server started."
    yield f"# TYPE vllm:{name} histogram"
    reached = 0
    for bound, count in zip((*map(float, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        reached += count
        yield f"vllm:{name}_bucket{_labels(((labels[0]), ('le', str(bound)), *labels[1:]))} {float(reached)}"
    yield f"vllm:{name}_count{_labels(labels)} {float(reached)}"
    yield f"vllm:{name}_sum{_labels(labels)} {histogram.total}"


def _labels(labels: Labels) -> str:
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for name, value in labels
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"
