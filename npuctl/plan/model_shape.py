"""A model's config.json → what its memory depends on. Pure.

The keys are those of the Transformers configurations that vLLM reads; what a model calls differently, or
keeps to itself, is None here and makes the fit an estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

# Multimodal models keep the language model's keys one level down.
_NESTED = ("text_config", "llm_config", "language_config")
_EXPERT_KEYS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts")
# vLLM, transformers_utils/model_arch_config_convertor.py: the keys that may say how long a sequence can be.
_LENGTH_KEYS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_sequence_length", "max_seq_length", "seq_len"),
)
# vLLM, config/model.py: these stretch a model without multiplying its length.
_NO_FACTOR = frozenset({"su", "longrope", "llama3"})
_YARN = frozenset({"yarn", "deepseek_yarn", "deepseek_llama_scaling"})
_MOST = 2**40  # more than any key of any model
_MATRICES_OF_AN_MLP = 3  # gate, up, down
# Architectures whose cache is compressed or whose layers hold other states: no formula here.
_UNKNOWN_CACHE = ("compress_ratios", "layers_block_type", "hybrid_override_pattern", "attn_type_list")


@dataclass(frozen=True, slots=True)
class Parts:
    """Parameters of the whole model, by how an engine spreads them.

    Attributes:
        embedding: token embeddings, and the output head where it has one of its own.
        tables: 1 where both are the same matrix, else 2.
        split: matrices that tensor parallelism cuts.
        keys: key and value projections: cut into at most `key_pieces`, the number of KV heads.
        whole: what every chip of a stage keeps whole: norms, routers, MLA's down projections.
        routed: routed experts, spread over tensor times data parallel.
    """

    embedding: int
    tables: int
    split: int
    keys: int
    key_pieces: int
    whole: int
    routed: int

    @property
    def total(self) -> int:
        """All parameters."""
        return self.embedding + self.split + self.keys + self.whole + self.routed


@dataclass(frozen=True, slots=True)
class Cache:
    """What one layer keeps for a token.

    Attributes:
        layers: layers that keep every token.
        windowed_layers: layers that keep the last `window` tokens.
        kv_heads: 0 where the cache is one latent vector that tensor parallelism does not cut (MLA).
        width: elements for one token: of keys and values of one head, or of the latent vector.
        state: elements that all layers of linear attention keep for a sequence, however long.
    """

    layers: int
    windowed_layers: int
    window: int
    kv_heads: int
    width: int
    state: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What a config.json says about memory; None where it does not say."""

    layers: int | None
    heads: int | None
    experts: int
    quantised: bool
    longest: int | None
    parts: Parts | None
    cache: Cache | None


def read_shape(config: Mapping[str, Any]) -> Shape:
    """The shape of the language model that a config.json describes."""
    text = dict(config)
    for key in _NESTED:
        inner = config.get(key)
        if isinstance(inner, Mapping):
            text |= inner
    return Shape(
        layers=_count(text, "num_hidden_layers"),
        heads=_count(text, "num_attention_heads"),
        experts=_experts(text),
        quantised=isinstance(config.get("quantization_config"), Mapping),
        longest=_longest(text),
        parts=_parts(text),
        cache=_cache(text),
    )


def _count(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if _is_count(value) else None


def _is_count(value: object) -> TypeGuard[int]:
    """A number that a model can have; a configuration may hold anything."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _or_zero(config: Mapping[str, Any], key: str) -> int:
    return _count(config, key) or 0


def _experts(config: Mapping[str, Any]) -> int:
    """Routed experts of a layer; the largest number where layers differ."""
    found = 0
    for key in _EXPERT_KEYS:
        value = config.get(key)
        numbers = value if isinstance(value, list) else [value]
        found = max([found, *(number for number in numbers if _is_count(number))])
    return found


def _head_width(config: Mapping[str, Any]) -> int | None:
    explicit = _count(config, "head_dim")
    hidden, heads = _count(config, "hidden_size"), _count(config, "num_attention_heads")
    if explicit:
        return explicit
    return hidden // heads if hidden and heads else None


def _full_and_other(config: Mapping[str, Any], layers: int) -> tuple[int, int, int]:
    """Layers of full attention, of a sliding window, of linear attention."""
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and kinds:
        full = kinds.count("full_attention")
        windowed = kinds.count("sliding_attention")
        return full, windowed, len(kinds) - full - windowed
    interval = _count(config, "full_attention_interval")
    if interval:
        return layers // interval, 0, layers - layers // interval
    if _count(config, "sliding_window") and config.get("use_sliding_window", True):
        return 0, layers, 0
    return layers, 0, 0


def _cache(config: Mapping[str, Any]) -> Cache | None:
    layers = _count(config, "num_hidden_layers")
    if not layers or any(config.get(key) for key in _UNKNOWN_CACHE):
        return None
    latent = _count(config, "kv_lora_rank")
    if latent:
        # The indexer of sparse attention keeps a key of its own for every token (DeepSeek V3.2, GLM-5).
        vector = latent + _or_zero(config, "qk_rope_head_dim") + _or_zero(config, "index_head_dim")
        return Cache(layers, 0, 0, kv_heads=0, width=vector, state=0)
    heads, width = _count(config, "num_attention_heads"), _head_width(config)
    if not heads or not width:
        return None
    full, windowed, linear = _full_and_other(config, layers)
    return Cache(
        layers=full,
        windowed_layers=windowed,
        window=_or_zero(config, "sliding_window"),
        kv_heads=_count(config, "num_key_value_heads") or heads,
        width=width + (_count(config, "v_head_dim") or width),
        state=linear * _linear_state(config),
    )


def _linear_state(config: Mapping[str, Any]) -> int:
    """Elements that one layer of gated delta attention keeps for a sequence (Qwen3-Next)."""
    keys, values = _or_zero(config, "linear_key_head_dim"), _or_zero(config, "linear_value_head_dim")
    return _or_zero(config, "linear_num_value_heads") * keys * values


def _parts(config: Mapping[str, Any]) -> Parts | None:
    layers, hidden = _count(config, "num_hidden_layers"), _count(config, "hidden_size")
    heads, vocabulary = _count(config, "num_attention_heads"), _count(config, "vocab_size")
    width = _head_width(config)
    if not (layers and hidden and heads and vocabulary and width):
        return None
    sparse = _sparse_layers(config, layers)
    dense_width = _or_zero(config, "intermediate_size")
    expert_width = _count(config, "moe_intermediate_size") or dense_width
    mlp = _MATRICES_OF_AN_MLP * hidden
    shared = _shared_width(config, expert_width)
    split, keys, whole = _attention(config, layers, hidden, heads, width)
    tables = 1 if config.get("tie_word_embeddings") else 2
    return Parts(
        embedding=vocabulary * hidden * tables,
        tables=tables,
        split=split + (layers - sparse) * mlp * dense_width + sparse * mlp * shared,
        keys=keys,
        key_pieces=_count(config, "num_key_value_heads") or heads,
        whole=whole + layers * 2 * hidden + sparse * hidden * _experts(config),
        routed=sparse * mlp * expert_width * _experts(config),
    )


def _attention(
    config: Mapping[str, Any], layers: int, hidden: int, heads: int, width: int
) -> tuple[int, int, int]:
    """Parameters of attention in all layers: cut by heads, by KV heads, not cut."""
    latent = _count(config, "kv_lora_rank")
    if latent:
        rope, plain = _or_zero(config, "qk_rope_head_dim"), _or_zero(config, "qk_nope_head_dim")
        values = _count(config, "v_head_dim") or plain
        query = _count(config, "q_lora_rank")
        cut = (query or hidden) * heads * (rope + plain) + latent * heads * (plain + values)
        cut += heads * values * hidden
        index = _or_zero(config, "index_n_heads") * _or_zero(config, "index_head_dim") * (query or 0)
        kept = hidden * (latent + rope + (query or 0)) + index
        return layers * cut, 0, layers * kept
    full, windowed, linear = _full_and_other(config, layers)
    kv_heads = _count(config, "num_key_value_heads") or heads
    gate = 3 if config.get("attn_output_gate") or linear else 2  # Qwen3-Next gates its attention's output
    cut = (full + windowed) * gate * hidden * heads * width
    key_width = _or_zero(config, "linear_num_key_heads") * _or_zero(config, "linear_key_head_dim")
    value_width = _or_zero(config, "linear_num_value_heads") * _or_zero(config, "linear_value_head_dim")
    cut += linear * hidden * (2 * key_width + 3 * value_width)
    return cut, (full + windowed) * 2 * hidden * kv_heads * width, 0


def _sparse_layers(config: Mapping[str, Any], layers: int) -> int:
    """How many layers have routed experts."""
    if not _experts(config):
        return 0
    dense = config.get("mlp_only_layers")
    sparse = layers - _or_zero(config, "first_k_dense_replace")
    sparse -= len(dense) if isinstance(dense, list) else 0
    step = _count(config, "decoder_sparse_step") or _count(config, "moe_layer_freq") or 1
    return max(sparse, 0) // step


def _shared_width(config: Mapping[str, Any], expert_width: int) -> int:
    """Width of the MLP that every token passes beside its routed experts."""
    explicit = _count(config, "shared_expert_intermediate_size")
    return explicit if explicit is not None else _or_zero(config, "n_shared_experts") * expert_width


def _longest(config: Mapping[str, Any]) -> int | None:
    """The longest sequence that vLLM accepts as max-model-len, by the kindest of its releases' rules."""
    said = [value for key in _LENGTH_KEYS if (value := _count(config, key))]
    if not said:
        return None
    longest = float(min(said))
    for scaling in _rope_scalings(config):
        kind = str(scaling.get("rope_type") or scaling.get("type") or "")
        factor = scaling.get("factor")
        if not isinstance(factor, int | float) or not 0 < factor < _MOST or kind in _NO_FACTOR:
            continue
        original = _count(scaling, "original_max_position_embeddings")
        stretched = (original if kind in _YARN and original else min(said)) * factor
        longest = max(longest, stretched)
    return max(int(longest), _or_zero(config, "model_max_length"))


def _rope_scalings(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found = [config.get("rope_scaling"), config.get("rope_parameters")]
    inner = [value for entry in found if isinstance(entry, Mapping) for value in entry.values()]
    return [entry for entry in (*found, *inner) if isinstance(entry, Mapping)]
