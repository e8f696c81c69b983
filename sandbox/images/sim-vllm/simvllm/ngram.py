"""The language model: counts of token runs, interpolated after Witten and Bell.

The probability of a token after a context is a mix of how often it followed that context and its probability
after the context without its first token:

    P(w | h) = (count(h w) + kinds(h) * P(w | shorter h)) / (count(h) + kinds(h))

down to the uniform distribution over the vocabulary. So every token has a probability above zero, and the
probabilities after any context sum to 1.
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Context = tuple[int, ...]
CACHED_DISTRIBUTIONS = 256


class NGram:
    """A model of a fixed order over a closed vocabulary."""

    def __init__(self, order: int, vocabulary: int) -> None:
        self.order = order
        self.vocabulary = vocabulary
        self.counts: dict[Context, dict[int, int]] = {}
        self.distribution = lru_cache(CACHED_DISTRIBUTIONS)(self._distribution)

    def learn(self, tokens: Sequence[int]) -> None:
        """Count the runs of one text."""
        for place, token in enumerate(tokens):
            for length in range(min(self.order, place + 1)):
                follows = self.counts.setdefault(tuple(tokens[place - length : place]), {})
                follows[token] = follows.get(token, 0) + 1

    def after(self, tokens: Sequence[int]) -> array[float]:
        """The probability of each token of the vocabulary after these tokens."""
        return self.distribution(tuple(tokens[max(0, len(tokens) - self.order + 1) :]))

    def _distribution(self, context: Context) -> array[float]:
        shorter = [1.0 / self.vocabulary] * self.vocabulary
        for start in range(len(context), -1, -1):
            follows = self.counts.get(context[start:])
            if follows is None:
                break
            total = sum(follows.values()) + len(follows)
            weight = len(follows) / total
            shorter = [weight * value for value in shorter]
            for token, count in follows.items():
                shorter[token] += count / total
        return array("d", shorter)


def most_likely(probabilities: Sequence[float], count: int) -> list[int]:
    """The tokens of the highest probability, the lower id first among equals."""
    return sorted(range(len(probabilities)), key=lambda token: (-probabilities[token], token))[:count]


def dump(model: NGram) -> list[list[list[int]]]:
    """The counts as lists for JSON: context, then tokens and counts in turn."""
    return [
        [list(context), [number for pair in follows.items() for number in pair]]
        for context, follows in model.counts.items()
    ]


def load(order: int, vocabulary: int, dumped: Iterable[list[list[int]]]) -> NGram:
    """The model whose counts were dumped."""
    model = NGram(order, vocabulary)
    for context, pairs in dumped:
        model.counts[tuple(context)] = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return model
