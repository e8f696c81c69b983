"""Choosing the next token from the model's probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simvllm.ngram import most_likely

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from simvllm.protocol import Sampling


def choose(
    probabilities: Sequence[float], sampling: Sampling, chance: random.Random, *, forbidden: int | None
) -> int:
    """The next token: the most likely one at temperature 0, else drawn by chance.

    Args:
        probabilities: of each token.
        sampling: temperature, top_p and top_k.
        chance: where chance comes from; its seed decides the text.
        forbidden: a token that must not come, for min_tokens.
    """
    allowed: Sequence[float] = probabilities
    if forbidden is not None:
        allowed = [0.0 if token == forbidden else value for token, value in enumerate(probabilities)]
    if sampling.temperature == 0:
        return max(range(len(allowed)), key=allowed.__getitem__)
    if sampling.temperature == 1 and sampling.top_p == 1 and sampling.top_k <= 0:
        return chance.choices(range(len(allowed)), weights=allowed)[0]
    # Relative to the largest, so that a small temperature cannot bring every weight to zero.
    largest = max(allowed)
    order = most_likely(allowed, sampling.top_k if sampling.top_k > 0 else len(allowed))
    weights = [(allowed[token] / largest) ** (1 / sampling.temperature) for token in order]
    kept = _nucleus(weights, sampling.top_p)
    return chance.choices(order[:kept], weights=weights[:kept])[0]


def _nucleus(weights: list[float], top_p: float) -> int:
    """How many of the weights, largest first, make up this share of them all."""
    wanted = top_p * sum(weights)
    reached = 0.0
    for place, weight in enumerate(weights):
        reached += weight
        if reached >= wanted:
            return place + 1
    return len(weights)
