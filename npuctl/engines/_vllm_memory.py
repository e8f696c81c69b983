"""What vllm-ascend makes of a chip's memory: its worker.py, and worker_310p.py for a 310P."""

from __future__ import annotations

from npuctl.engines._arguments import argument, readable_count
from npuctl.engines._contract import MemoryWish, Seat
from npuctl.engines._release_numbers import release_numbers
from npuctl.spec.models import Service

# The default of --gpu-memory-utilization: 0.9 up to vLLM 0.18, 0.92 in 0.20.2 (config/cache.py of the source
# distributions; 0.19 was not looked at and keeps the smaller one).
_UTILISATION = 0.9
_UTILISATION_SINCE = ((0, 20), 0.92)
# vllm-ascend gives a 310P half of what is left as KV cache and keeps the rest for workspaces
# (worker_310p.py, pull 7372 of March 2026).
_CACHE_SHARES: dict[str, tuple[tuple[int, ...], float]] = {"310p": ((0, 18), 0.5)}
# vllm-ascend pull 8289, a model of 0.6 billion parameters on one chip: 0.22 GiB at the peak of activations,
# 0.13 GiB outside of torch. Nothing smaller was found.
_LEAST_OVERHEAD_BYTES = int(0.35 * 2**30)
# An assumption between that measurement and vllm-ascend issue 10700 (GLM-5.1 over several tensor and data
# parallel ranks: 2.0 GiB of activations, 2.07 outside of torch): 1 GiB of activations and workspaces, and where
# chips talk, HCCL's two buffers (200 MB each by default) for every group of chips.
_ACTIVATION_BYTES = 2**30
_HCCL_BUFFER_MB = 200
_GROUPS_DENSE, _GROUPS_SPREAD = 2, 4
# No setting that is meant is larger (GiB, shares); what is larger would not survive arithmetic.
_MOST = 2.0**40


def memory(service: Service, seat: Seat) -> MemoryWish:
    """What the service makes of the memory of each chip of the seat."""
    length = argument(service, "max-model-len")
    adapts = length in (-1, "-1", "auto")
    since, share = _CACHE_SHARES.get(seat.product.key, ((), 1.0))
    return MemoryWish(
        utilisation=_share(argument(service, "gpu-memory-utilization"))
        or _default_utilisation(service.version),
        longest=None if adapts else _positive(length),
        length_adapts=adapts,
        any_length=_takes_any_length(service),
        sequences=_positive(argument(service, "max-num-seqs")),
        element_bytes=4 if argument(service, "dtype") in ("float32", "float") else 2,
        cache_element_bytes=1 if _has_narrow_cache(service) else None,
        overhead_bytes=_usual_overhead(service),
        least_overhead_bytes=_LEAST_OVERHEAD_BYTES,
        cache_share=share if release_numbers(service.version) >= since else 1.0,
        context_parallel=_positive(argument(service, "decode-context-parallel-size")) or 1,
        offload_bytes=int(max(_number(argument(service, "cpu-offload-gb")) or 0, 0) * 2**30),
        cache_bytes=_positive(argument(service, "kv-cache-memory-bytes")),
    )


def _default_utilisation(release: str) -> float:
    since, later = _UTILISATION_SINCE
    return later if release_numbers(release)[:2] >= since else _UTILISATION


def _positive(value: object) -> int | None:
    """A count; one that is none or below 1 counts as not written: the engine refuses it itself."""
    number = readable_count(value)
    return number if number is not None and number > 0 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= _MOST else None  # not a number is not below it either


def _share(value: object) -> float | None:
    """A share that vLLM takes: above 0, at most 1."""
    number = _number(value)
    return number if number is not None and 0 < number <= 1 else None


def _takes_any_length(service: Service) -> bool:
    """Whether max-model-len may exceed what config.json says: by permission, or by another rope."""
    allowed = str(service.env.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", 0)).lower() in {"1", "true"}
    return allowed or any(argument(service, name) is not None for name in ("rope-scaling", "hf-overrides"))


def _has_narrow_cache(service: Service) -> bool:
    kind = str(argument(service, "kv-cache-dtype") or "auto")
    return kind.startswith(("fp8", "int8"))


def _usual_overhead(service: Service) -> int:
    shape = service.topology
    if shape.chips == 1:
        return _ACTIVATION_BYTES
    spread = shape.data_parallel > 1 or shape.expert_parallel
    buffer_mb = _positive(service.env.get("HCCL_BUFFSIZE")) or _HCCL_BUFFER_MB
    groups = _GROUPS_SPREAD if spread else _GROUPS_DENSE
    return _ACTIVATION_BYTES + 2 * groups * buffer_mb * 10**6
