"""The bodies of answers: completions and chat, whole and in chunks, as vLLM lays them out."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simvllm.generation import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from simvllm.generation import Scored, Step, Writer
    from simvllm.protocol import Body, Call
    from simvllm.tokenizer import Tokenizer


@dataclass(slots=True)
class Usage:
    """Tokens read and written by one request."""

    prompt_tokens: int
    completion_tokens: int = 0

    def body(self) -> Body:
        """As the API tells it."""
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": total,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": None,
        }


@dataclass(slots=True)
class _Answer:
    """What both kinds of answer share."""

    call: Call
    writer: Writer
    gone: Callable[[], bool]
    request_id: str
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer in use."""
        return self.writer.language.tokenizer

    @property
    def alternatives(self) -> int:
        """How many other tokens are scored beside each."""
        return self.call.logprobs or 0

    def usage(self) -> Usage:
        """The usage before anything is written."""
        return Usage(sum(len(prompt) for prompt in self.call.prompts))

    def sequences(self) -> Iterator[tuple[int, Sequence[int], Iterator[Step]]]:
        """Each choice's number, prompt and steps."""
        count = self.call.sampling.count
        for number, prompt in enumerate(self.call.prompts):
            for index in range(count):
                steps = self.writer.write(
                    prompt, self.call.sampling, self.alternatives, index=index, gone=self.gone
                )
                yield number * count + index, prompt, steps

    def frame(self, kind: str, choices: list[Body]) -> Body:
        """The fields around the choices."""
        return {
            "id": self.request_id,
            "object": kind,
            "created": self.created,
            "model": self.call.model,
            "choices": choices,
        }


class Completion(_Answer):
    """The answer to POST /v1/completions."""

    def whole(self) -> Body:
        """The answer in one body."""
        usage = self.usage()
        choices: list[Body] = []
        for number, prompt, steps in self.sequences():
            written = Written()
            for step in steps:
                written.add(step)
            usage.completion_tokens += len(written.tokens)
            choices.append(self._choice(number, prompt, written))
        rest = {
            "service_tier": None,
            "system_fingerprint": None,
            "usage": usage.body(),
            "kv_transfer_params": None,
        }
        return self.frame("text_completion", choices) | rest

    def chunks(self) -> Iterator[Body]:
        """The answer as a stream of chunks."""
        usage = self.usage()
        for number, prompt, steps in self.sequences():
            offset = 0
            if self.call.echo:
                text = self.tokenizer.decode(prompt)
                yield self._chunk(number, text, self._prompt_scores(prompt), 0)
                offset = len(text)
            for step in steps:
                usage.completion_tokens += 1
                if self.call.sampling.max_tokens == 0:
                    step.text = ""
                scores = [] if self.call.sampling.max_tokens == 0 else [step.scored]
                yield self._chunk(number, step.text, scores, offset, step)
                offset += len(step.text)
        if self.call.usage_in_stream:
            yield self.frame("text_completion", []) | {"usage": usage.body()}

    def _choice(self, number: int, prompt: Sequence[int], written: Written) -> Body:
        scores: list[Scored | None] = [] if self.call.sampling.max_tokens == 0 else list(written.tokens)
        text = "" if self.call.sampling.max_tokens == 0 else written.text
        labels = [scored.token for scored in written.tokens][: len(scores)]
        if self.call.echo:
            text = self.tokenizer.decode(prompt) + text
            scores = [*self._prompt_scores(prompt), *scores]
            labels = [*prompt, *labels]
        return {
            "index": number,
            "text": text,
            "logprobs": self._logprobs(labels, scores, 0),
            "finish_reason": written.finish_reason,
            "stop_reason": written.stop_reason,
            "token_ids": None,
            "prompt_logprobs": None,
            "prompt_token_ids": None,
        }

    def _chunk(
        self, number: int, text: str, scores: Sequence[Scored | None], offset: int, step: Step | None = None
    ) -> Body:
        prompt = self.call.prompts[number // self.call.sampling.count]
        labels = [step.scored.token] if step else list(prompt)
        choice = {
            "index": number,
            "text": text,
            "logprobs": self._logprobs(labels[: len(scores)], scores, offset),
            "finish_reason": step.finish_reason if step else None,
            "stop_reason": step.stop_reason if step else None,
            "token_ids": None,
        }
        return self.frame("text_completion", [choice])

    def _prompt_scores(self, prompt: Sequence[int]) -> list[Scored | None]:
        if self.call.logprobs is None:
            return [None] * len(prompt)
        return self.writer.score(prompt, self.alternatives)

    def _logprobs(self, tokens: Sequence[int], scores: Sequence[Scored | None], offset: int) -> Body | None:
        if self.call.logprobs is None:
            return None
        tops: list[dict[str, float] | None] = []
        for scored in scores:
            if scored is None:
                tops.append(None)
                continue
            pairs = [*scored.top, (scored.token, scored.logprob)]
            tops.append({self.tokenizer.label(token): logprob for token, logprob in pairs})
        return {
            "text_offset": _offsets(self.tokenizer, tokens, offset),
            "token_logprobs": [scored.logprob if scored else None for scored in scores],
            "tokens": [self.tokenizer.label(token) for token in tokens],
            "top_logprobs": tops,
        }


class Chat(_Answer):
    """The answer to POST /v1/chat/completions."""

    def whole(self) -> Body:
        """The answer in one body."""
        usage = self.usage()
        choices: list[Body] = []
        for number, _, steps in self.sequences():
            written = Written()
            for step in steps:
                written.add(step)
            usage.completion_tokens += len(written.tokens)
            message: Body = {
                "role": "assistant",
                "content": written.text,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "tool_calls": [],
                "reasoning": None,
            }
            choices.append(
                {
                    "index": number,
                    "message": message,
                    "logprobs": self._logprobs(written.tokens),
                    "finish_reason": written.finish_reason,
                    "stop_reason": written.stop_reason,
                    "token_ids": None,
                }
            )
        rest = {
            "service_tier": None,
            "system_fingerprint": None,
            "usage": usage.body(),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
        }
        return self.frame("chat.completion", choices) | rest

    def chunks(self) -> Iterator[Body]:
        """The answer as a stream of chunks: the role, then the text, then how it ended."""
        usage = self.usage()
        for number, _, steps in self.sequences():
            yield self._chunk(number, {"role": "assistant", "content": ""})
            for step in steps:
                usage.completion_tokens += 1
                yield self._chunk(number, {"content": step.text}, step)
        if self.call.usage_in_stream:
            yield self.frame("chat.completion.chunk", []) | {"usage": usage.body()}

    def _chunk(self, number: int, delta: Body, step: Step | None = None) -> Body:
        choice: Body = {
            "index": number,
            "delta": delta,
            "logprobs": self._logprobs([step.scored]) if step else None,
            "finish_reason": step.finish_reason if step else None,
            "token_ids": None,
        }
        if step and step.finish_reason:
            choice["stop_reason"] = step.stop_reason
        return self.frame("chat.completion.chunk", [choice])

    def _logprobs(self, scores: Sequence[Scored]) -> Body | None:
        if self.call.logprobs is None:
            return None
        content = [
            self._entry(scored.token, scored.logprob)
            | {"top_logprobs": [self._entry(token, logprob) for token, logprob in scored.top]}
            for scored in scores
        ]
        return {"content": content}

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        label = self.tokenizer.label(token)
        return {
            "token": label,
            "logprob": logprob,
            "bytes": list(self.tokenizer.raw(token) or label.encode()),
        }


def new_id(kind: str) -> str:
    """An id such as cmpl-… or chatcmpl-…."""
    return f"{kind}-{secrets.token_hex(16)}"


def _offsets(tokenizer: Tokenizer, tokens: Sequence[int], offset: int) -> list[int]:
    """Where in the text each token begins, in characters; the bytes of one character begin together."""
    found: list[int] = []
    for token in tokens:
        found.append(offset)
        raw = tokenizer.raw(token)
        # A character ends where no continuation byte can follow; count it at its first byte's token.
        offset += sum(1 for value in raw if value & 0xC0 != 0x80)  # noqa: PLR2004 - UTF-8 continuation
    return found
