"""Writing text: one sequence from its prompt to its end, token by token, in the engine's time."""

from __future__ import annotations

import codecs
import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simvllm.ngram import most_likely
from simvllm.sampling import choose
from simvllm.tokenizer import END, TURN_END

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simvllm.faults import Faults
    from simvllm.language import Language
    from simvllm.protocol import Sampling
    from simvllm.scheduler import Scheduler, Ticket

HANG_POLL_SECONDS = 0.1


class AbandonedError(Exception):
    """The client is gone, or the engine is: nobody waits for this text."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A token with its log-probability and those of the most likely ones."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Step:
    """What one token adds: text that is certain by now, and how the sequence ended if it did."""

    text: str
    scored: Scored
    finish_reason: str | None = None
    stop_reason: str | None = None


@dataclass(slots=True)
class Written:
    """A finished sequence."""

    text: str = ""
    tokens: list[Scored] = field(default_factory=list)
    finish_reason: str = "length"
    stop_reason: str | None = None

    def add(self, step: Step) -> None:
        """Take in the next step."""
        self.text += step.text
        self.tokens.append(step.scored)
        self.finish_reason = step.finish_reason or self.finish_reason
        self.stop_reason = step.stop_reason


class Writer:
    """Writes sequences with one language, under one scheduler."""

    def __init__(
        self, language: Language, scheduler: Scheduler, faults: Faults, seconds_per_token: float
    ) -> None:
        self.language = language
        self._scheduler = scheduler
        self._faults = faults
        self._seconds_per_token = seconds_per_token

    def score(self, tokens: Sequence[int], alternatives: int) -> list[Scored | None]:
        """The log-probability of each token after the ones before it; the first has none."""
        found: list[Scored | None] = [None]
        found += [
            self._scored(tokens[:place], tokens[place], alternatives) for place in range(1, len(tokens))
        ]
        return found

    def write(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        alternatives: int,
        *,
        index: int,
        gone: Callable[[], bool],
    ) -> Iterator[Step]:
        """Write one sequence.

        Args:
            prompt: its tokens.
            sampling: how to choose.
            alternatives: how many other tokens to score.
            index: which of several answers this is; each has its own chance.
            gone: whether the client has left.

        Raises:
            AbandonedError: nobody waits for the text any more.
        """
        with self._scheduler.admit(prompt, sampling.max_tokens) as ticket:
            self._hang(gone)
            yield from self._steps(prompt, sampling, alternatives, index, ticket, gone)

    def _steps(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        alternatives: int,
        index: int,
        ticket: Ticket,
        gone: Callable[[], bool],
    ) -> Iterator[Step]:
        chance = random.Random() if sampling.seed is None else random.Random(sampling.seed + index)  # noqa: S311
        text = TextSoFar(sampling.stop)
        tokens = list(prompt)
        # With echo and max_tokens 0, vLLM too computes one token that nobody sees.
        last = max(1, sampling.max_tokens)
        for number in range(1, last + 1):
            self._pause(gone)
            probabilities = self.language.model.after(tokens)
            ends = {END, TURN_END}
            barred = number <= sampling.min_tokens
            token = choose(probabilities, sampling, chance, forbidden=TURN_END if barred else None)
            scored = self._scored(tokens, token, alternatives)
            tokens.append(token)
            ticket.token()
            ended = token in ends and not sampling.ignore_eos and not barred
            new, stopped_by = text.add(self.language.tokenizer.raw(token), last=ended or number == last)
            step = Step(new, scored)
            if stopped_by is not None or ended:
                step.finish_reason, step.stop_reason = "stop", stopped_by
            elif number == last:
                step.finish_reason = "length"
            if step.finish_reason:
                ticket.finish(step.finish_reason)
            yield step
            if step.finish_reason:
                return

    def _scored(self, before: Sequence[int], token: int, alternatives: int) -> Scored:
        probabilities = self.language.model.after(before)
        top = most_likely(probabilities, alternatives) if alternatives else []
        return Scored(
            token,
            math.log(probabilities[token]),
            tuple((other, math.log(probabilities[other])) for other in top),
        )

    def _pause(self, gone: Callable[[], bool]) -> None:
        slow = self._faults.get("slow")
        seconds = self._seconds_per_token if slow is None else float(slow.get("seconds_per_token", 1.0))
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, HANG_POLL_SECONDS))
            if left > HANG_POLL_SECONDS and gone():
                raise AbandonedError
        if gone():
            raise AbandonedError

    def _hang(self, gone: Callable[[], bool]) -> None:
        while self._faults.get("hang") is not None:
            if gone():
                raise AbandonedError
            time.sleep(HANG_POLL_SECONDS)


class TextSoFar:
    """Text that grows by bytes: whole characters only, and nothing that may still turn out a stop word."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._hold = max((len(stop) for stop in stops), default=1) - 1
        self._text = ""
        self._sent = 0

    def add(self, raw: bytes, *, last: bool) -> tuple[str, str | None]:
        """The text that is certain after these bytes, and the stop word that ended it, if one did."""
        searched = max(0, len(self._text) - self._hold)
        self._text += self._decoder.decode(raw, final=last)
        found = [(place, stop) for stop in self._stops if (place := self._text.find(stop, searched)) >= 0]
        if found:
            place, stop = min(found)
            self._text = self._text[:place]
            return self._send(place), stop
        return self._send(len(self._text) if last else len(self._text) - self._hold), None

    def _send(self, until: int) -> str:
        new = self._text[self._sent : max(until, self._sent)]
        self._sent += len(new)
        return new
