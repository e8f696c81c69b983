"""Does a service fit on its chips, with what margin, and what binds. Pure.

What an engine does with a chip: it takes a share of the memory (`utilisation`), loads its part of the weights,
runs once to see what activations and communication need, and makes KV cache of the rest. It refuses to start
when no cache is left, or less than one sequence of max-model-len needs (vLLM, v1/core/kv_cache_utils.py).
Weights and cache are computed from the model's own files; what lies between them is a rule of thumb, and
named so. An answer "does not fit" is given as certain only where the kindest figures say so too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from npuctl.engines._contract import MemoryWish
from npuctl.facts.survey import WeightsFacts
from npuctl.plan.chip_share import BLOCK_TOKENS, loaded_bytes, sequence_bytes, share_of_weights, token_bytes
from npuctl.plan.model_shape import Shape, read_shape
from npuctl.plan.wording import size_on_chip
from npuctl.spec.models import Service, Topology

# An estimate of a chip's weights may be this much too high: quantised layers are spread as if all had the
# same width, and layers that only speculation loads are counted.
_ESTIMATE_ERROR = 0.1

Shortage = Literal["", "weights", "cache"]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a service sits in the memory of one of its chips; all sizes are of one chip.

    Attributes:
        chip_bytes: memory that the engine sees on the smallest of the chips.
        budget_bytes: what it takes of it.
        weights_bytes: its part of the weights.
        overhead_bytes: activations, communication and workspaces: a rule of thumb.
        cache_bytes: what is left for the KV cache; negative when the rest is too much already.
        most_cache_bytes: the same by the kindest figures.
        sequence_tokens: the longest sequence; None when nobody says.
        sequence_bytes: KV cache of one such sequence; None when the configuration does not tell.
        tokens: how many tokens the cache holds, over all data parallel ranks; None as before.
        wanted_sequences: max-num-seqs, where a person wrote it.
        ranks: data parallel ranks, each with a cache of its own.
        estimated: why the figures are an estimate; "" when they are computed.
    """

    service: str
    node: str
    chips: int
    chip_bytes: int
    budget_bytes: int
    weights_bytes: int
    overhead_bytes: int
    cache_bytes: int
    most_cache_bytes: int
    sequence_tokens: int | None
    sequence_bytes: int | None
    tokens: int | None
    wanted_sequences: int | None
    ranks: int
    estimated: str

    @property
    def shortage(self) -> Shortage:
        """What does not fit; "" when all does."""
        if self.weights_bytes > self.budget_bytes:
            return "weights"
        if self.cache_bytes <= 0 or (self.sequence_bytes or 0) > self.cache_bytes:
            return "cache"
        return ""

    @property
    def certain(self) -> bool:
        """Whether the shortage is there by the kindest figures too."""
        return self.most_cache_bytes <= 0 or (self.sequence_bytes or 0) > self.most_cache_bytes

    @property
    def margin_bytes(self) -> int:
        """What is left beside weights, overhead and one sequence; negative: what is missing."""
        return self.cache_bytes - (self.sequence_bytes or 0)

    @property
    def margin_percent(self) -> int:
        """The margin as a share of the chip's memory."""
        return round(100 * self.margin_bytes / self.chip_bytes)

    @property
    def sequences(self) -> float | None:
        """Sequences of the greatest length that the replica's cache holds at once."""
        if not self.sequence_bytes:
            return None
        return max(self.cache_bytes, 0) / self.sequence_bytes * self.ranks

    @property
    def binding(self) -> str:
        """The constraint that binds, in words."""
        if self.shortage == "weights":
            return (
                f"weights: {size_on_chip(self.weights_bytes)} a chip, the engine may take"
                f" {size_on_chip(self.budget_bytes)} of {size_on_chip(self.chip_bytes)}"
            )
        if self.sequence_bytes is None or self.sequences is None:
            return f"KV cache, {size_on_chip(self.cache_bytes)} a chip; how much a token needs is not known"
        if self.shortage == "cache":
            return (
                f"KV cache: one sequence of {self.sequence_tokens} tokens needs"
                f" {size_on_chip(self.sequence_bytes)} a chip, {size_on_chip(max(self.cache_bytes, 0))} are left"
            )
        if self.wanted_sequences is not None and self.sequences >= self.wanted_sequences:
            return f"max-num-seqs, {self.wanted_sequences} sequences; the KV cache holds {self.sequences:.1f}"
        return f"KV cache, {self.sequences:.1f} sequences of {self.sequence_tokens} tokens at once"

    def to_json(self) -> dict[str, Any]:
        """The fit as data."""
        sequences = self.sequences
        return {
            "service": self.service,
            "node": self.node,
            "chips": self.chips,
            "fits": not self.shortage,
            "certain": self.certain if self.shortage else not self.estimated,
            "binding": self.binding,
            "estimated": self.estimated,
            "per_chip": {
                "memory_bytes": self.chip_bytes,
                "budget_bytes": self.budget_bytes,
                "weights_bytes": self.weights_bytes,
                "overhead_bytes": self.overhead_bytes,
                "cache_bytes": self.cache_bytes,
                "sequence_bytes": self.sequence_bytes,
                "margin_bytes": self.margin_bytes,
            },
            "margin_percent": self.margin_percent,
            "sequence_tokens": self.sequence_tokens,
            "sequences": None if sequences is None else round(sequences, 1),
            "cache_tokens": self.tokens,
        }


def fit_line(fit: Fit) -> str:
    """The fit in one line, for people."""
    estimate = "; estimated" if fit.estimated else ""
    if fit.shortage:
        word = "does not fit" if fit.certain else "may not fit"
        return f"{fit.service}: {word}; {fit.binding}{estimate}"
    left = f"{size_on_chip(fit.margin_bytes)} a chip left ({fit.margin_percent} %)"
    return f"{fit.service}: fits; {left}; binding: {fit.binding}{estimate}"


def fit_of(
    service: Service, wish: MemoryWish, weights: WeightsFacts, chip_bytes: int, *, node: str = ""
) -> Fit | None:
    """How the service sits on chips of that size.

    Args:
        service: what is served, with its topology.
        wish: what the engine makes of the memory.
        weights: the model's folder as it is on the node.
        chip_bytes: memory that an engine sees on the smallest of the chips.
        node: where, for messages.

    Returns:
        None when the folder tells neither the size of the weights nor a configuration to compute it from.
    """
    shape = read_shape(weights.config or {})
    total, guessed = loaded_bytes(weights, shape, wish)
    if not total:
        return None
    topology = service.topology
    own, spread = share_of_weights(total, weights, shape, topology, element=wish.element_bytes)
    own = max(own - wish.offload_bytes, 0)
    estimated = guessed or spread
    taken = chip_bytes if wish.cache_bytes is not None else int(chip_bytes * wish.utilisation)
    budget = taken - (wish.cache_bytes or 0)
    kindest = int(own * (1 - _ESTIMATE_ERROR)) if estimated else own
    longest, sequence, token = _cache_demand(shape, topology, wish)
    partly = shape.cache is not None and (shape.cache.windowed_layers or shape.cache.state)
    if sequence is not None and partly:
        estimated = estimated or "layers without full attention keep less than a whole sequence"
    cache = _left(wish, budget - own - wish.overhead_bytes)
    return Fit(
        service=service.name,
        node=node,
        chips=topology.chips,
        chip_bytes=chip_bytes,
        budget_bytes=budget,
        weights_bytes=own,
        overhead_bytes=wish.overhead_bytes,
        cache_bytes=cache,
        most_cache_bytes=_left(wish, budget - kindest - wish.least_overhead_bytes),
        sequence_tokens=longest,
        sequence_bytes=sequence,
        tokens=int(max(cache, 0) / token) * topology.data_parallel if token else None,
        wanted_sequences=wish.sequences,
        ranks=topology.data_parallel,
        estimated=estimated,
    )


def _cache_demand(shape: Shape, topology: Topology, wish: MemoryWish) -> tuple[int | None, int | None, float]:
    """The longest sequence in tokens, its KV cache on a chip and that of one token, in bytes.

    None, None and 0.0 where it is not known; an engine that adapts the length needs one block at least.
    """
    longest = wish.longest or shape.longest
    if shape.cache is None or longest is None:
        return longest, None, 0.0
    element = wish.cache_element_bytes or wish.element_bytes
    tokens = BLOCK_TOKENS if wish.length_adapts else longest
    token = token_bytes(shape.cache, topology, wish, element=element) * shape.cache.layers
    return tokens, sequence_bytes(shape.cache, tokens, topology, wish, element=element), token


def _left(wish: MemoryWish, rest: int) -> int:
    """What becomes KV cache when `rest` is left."""
    if wish.cache_bytes is not None:
        return wish.cache_bytes if rest >= 0 else rest
    return int(rest * wish.cache_share) if rest > 0 else rest
