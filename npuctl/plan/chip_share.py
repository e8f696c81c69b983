"""What one chip holds of a model: its part of the weights, and the KV cache of a token and of a sequence. Pure."""

from __future__ import annotations

import math

from npuctl.engines._contract import MemoryWish
from npuctl.facts.survey import WeightsFacts
from npuctl.plan.model_shape import Cache, Parts, Shape
from npuctl.spec.models import Topology

# vllm-ascend, worker/block_table.py and its docs: the cache is handed out in blocks of 128 tokens.
BLOCK_TOKENS = 128
_FLOAT_BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
# Shards that hold less than this share of what the configuration makes at its dtype are quantised.
_QUANTISED_BELOW = 0.95
# Beside this share of unexplained weights (vision towers, draft layers) the split is an estimate.
_EXPLAINED = 0.02


def loaded_bytes(weights: WeightsFacts, shape: Shape, wish: MemoryWish) -> tuple[int, str]:
    """All weights as an engine loads them, and why that is a guess."""
    named = set(weights.index_shards or _own_shards(weights))
    shards = [shard for name, shard in weights.shards.items() if name in named]
    element = wish.element_bytes
    quantised = bool(shape.quantised or weights.quantization)
    total = 0.0
    for shard in shards:
        size = shard.tensor_bytes if shard.tensor_bytes is not None else shard.size_bytes
        total += size
        if not quantised:
            total += sum(
                count * (element / _FLOAT_BYTES[kind] - 1)
                for kind, count in shard.dtypes.items()
                if kind in _FLOAT_BYTES
            )
    if len(shards) < len(named):
        return max(int(total), weights.index_bytes or 0), "shards are missing"
    if total:
        return int(total), ""
    binaries = [size for name, size in weights.other_files.items() if _is_binary_shard(name)]
    if binaries:
        return sum(binaries), ""
    return (shape.parts.total * element, "no weights on the node") if shape.parts else (0, "")


def _own_shards(weights: WeightsFacts) -> set[str]:
    """Shards of a folder without an index, without the second copy that Mistral's models come with."""
    own = {name for name in weights.shards if not name.startswith("consolidated")}
    return own or set(weights.shards)


def _is_binary_shard(name: str) -> bool:
    return name.startswith("pytorch_model") and name.endswith(".bin")


def share_of_weights(
    total: int, weights: WeightsFacts, shape: Shape, topology: Topology, *, element: int
) -> tuple[int, str]:
    """One chip's part of the weights, and why it is an estimate."""
    stages = topology.tensor_parallel * topology.pipeline_parallel
    whole = stages * (topology.data_parallel if shape.experts else 1)
    if shape.parts is None:
        return total // whole, "config.json does not tell the layers"
    expected = shape.parts.total * element
    own = _elements_of_a_chip(shape.parts, shape, topology)
    if shape.quantised or weights.quantization or total < expected * _QUANTISED_BELOW:
        return int(own * total / shape.parts.total), "quantised weights are spread evenly"
    rest = total - expected
    reason = "" if abs(rest) <= _EXPLAINED * total else "parts of the model are not in its configuration"
    return int(own * element + rest / whole), reason


def _elements_of_a_chip(parts: Parts, shape: Shape, topology: Topology) -> float:
    """Parameters on one chip of the fullest pipeline stage.

    Data parallel ranks repeat everything but the routed experts, which are spread over tensor times data
    parallel with and without expert parallelism (vLLM, docs/serving/data_parallel_deployment.md).
    """
    tensor, stages = topology.tensor_parallel, topology.pipeline_parallel
    layers = shape.layers or 1
    in_layers = (
        parts.split / tensor
        + parts.keys / min(tensor, parts.key_pieces)
        + parts.whole
        + parts.routed / (tensor * topology.data_parallel)
    )
    tables = parts.embedding if stages == 1 else parts.embedding / parts.tables
    return in_layers * _stage(layers, stages) + tables / tensor


def token_bytes(cache: Cache, topology: Topology, wish: MemoryWish, *, element: int) -> float:
    """What one layer keeps for one token on one chip.

    Chips repeat KV heads when there are fewer heads than chips; a latent vector (MLA) is on every chip.
    """
    heads = max(1, math.ceil(cache.kv_heads / topology.tensor_parallel))
    layers = cache.layers + cache.windowed_layers
    return heads * cache.width * element * _stage(layers, topology.pipeline_parallel) / wish.context_parallel


def sequence_bytes(cache: Cache, tokens: int, topology: Topology, wish: MemoryWish, *, element: int) -> int:
    """KV cache of one sequence on one chip."""
    whole = math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
    kept = cache.layers * whole + cache.windowed_layers * min(cache.window, whole)
    state = cache.state * element / topology.tensor_parallel / topology.pipeline_parallel
    return int(kept * token_bytes(cache, topology, wish, element=element) + state)


def _stage(layers: int, stages: int) -> float:
    """Share of the layers in the fullest pipeline stage."""
    return math.ceil(layers / stages) / layers if layers else 1.0
