"""Requests as they come in over HTTP: what is in the body, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simvllm.language import Language
    from simvllm.settings import Settings

Body = dict[str, Any]
MAX_CHAT_LOGPROBS = 20


class RefusedError(Exception):
    """A request is refused; carries the status and the body's words."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param

    def body(self) -> Body:
        """The body of the answer, in vLLM's shape."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.status}}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to write: the parameters that change which tokens come."""

    max_tokens: int
    min_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int | None
    stop: tuple[str, ...]
    ignore_eos: bool
    count: int


@dataclass(frozen=True, slots=True)
class Call:
    """A request for text, checked.

    Attributes:
        logprobs: how many alternatives to each token; None for no logprobs at all.
        usage_in_stream: a last chunk tells the usage.
    """

    model: str
    prompts: tuple[tuple[int, ...], ...]
    sampling: Sampling
    logprobs: int | None
    echo: bool
    stream: bool
    usage_in_stream: bool


def bad_request(message: str, param: str | None = None) -> RefusedError:
    """The 400 that vLLM itself answers with."""
    return RefusedError(400, "BadRequestError", message, param)


def invalid(kind: str, where: tuple[str, ...], message: str, value: Any = None) -> RefusedError:
    """The 400 of a body that does not fit the schema, as FastAPI words it."""
    errors = [{"type": kind, "loc": ("body", *where), "msg": message, "input": value}]
    return RefusedError(400, "Bad Request", str(errors))


def parse_body(raw: bytes) -> Body:
    """The JSON object of a request.

    Raises:
        RefusedError: it is none.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise invalid("json_invalid", (), f"JSON decode error: {error}", {}) from error
    if not isinstance(body, dict):
        raise invalid(
            "model_attributes_type", (), "Input should be a valid dictionary or object to extract fields from"
        )
    return body


def check_model(body: Body, settings: Settings) -> str:
    """The model of a request, the first served name when it names none.

    Raises:
        RefusedError: it is not served here.
    """
    name = body.get("model") or settings.names[0]
    if name not in settings.names:
        raise RefusedError(404, "NotFoundError", f"The model `{name}` does not exist.", "model")
    return str(name)


def completion_call(body: Body, language: Language, settings: Settings) -> Call:
    """Check the body of POST /v1/completions.

    Raises:
        RefusedError: with the status and words of the answer.
    """
    if body.get("prompt") is None:
        raise invalid("missing", ("prompt",), "Field required", body)
    model = check_model(body, settings)
    prompts = _prompts(body["prompt"], language)
    echo, stream = _boolean(body, "echo"), _boolean(body, "stream")
    logprobs = _integer(body, "logprobs", None)
    if logprobs is not None and not 0 <= logprobs <= settings.max_logprobs:
        raise bad_request(
            f"Requested sample logprobs of {logprobs}, which is greater than max allowed: {settings.max_logprobs}",
            "logprobs",
        )
    asked = _integer(body, "max_tokens", 16)
    least = 0 if echo else 1
    if asked is not None and asked < least:
        raise bad_request(f"max_tokens must be at least {least}, got {asked}.", "max_tokens")
    sampling = _sampling(body, prompts, asked, settings)
    return Call(model, prompts, sampling, logprobs, echo, stream, _usage_in_stream(body))


def chat_call(body: Body, language: Language, settings: Settings) -> Call:
    """Check the body of POST /v1/chat/completions.

    Raises:
        RefusedError: with the status and words of the answer.
    """
    if body.get("messages") is None:
        raise invalid("missing", ("messages",), "Field required", body)
    model = check_model(body, settings)
    turns = messages(body["messages"])
    prompt = tuple(language.turns(turns, ask=body.get("add_generation_prompt") is not False))
    logprobs: int | None = None
    alternatives = _integer(body, "top_logprobs", 0) or 0
    if _boolean(body, "logprobs"):
        logprobs = alternatives
    elif alternatives:
        raise bad_request("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    if not 0 <= alternatives <= MAX_CHAT_LOGPROBS:
        raise bad_request(
            f"Requested sample logprobs of {alternatives}, which is greater than max allowed: {MAX_CHAT_LOGPROBS}",
            "top_logprobs",
        )
    asked = _integer(body, "max_completion_tokens", _integer(body, "max_tokens", None))
    if asked is not None and asked < 1:
        raise bad_request(f"max_tokens must be at least 1, got {asked}.", "max_tokens")
    sampling = _sampling(body, (prompt,), asked, settings)
    return Call(
        model,
        (prompt,),
        sampling,
        logprobs,
        echo=False,
        stream=_boolean(body, "stream"),
        usage_in_stream=_usage_in_stream(body),
    )


def messages(value: Any) -> list[tuple[str, str]]:
    """The roles and texts of a conversation.

    Raises:
        RefusedError: not a list of messages.
    """
    if not isinstance(value, list) or not value:
        raise invalid("list_type", ("messages",), "Input should be a valid list", value)
    found: list[tuple[str, str]] = []
    for place, message in enumerate(value):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise invalid("missing", ("messages", str(place), "role"), "Field required", message)
        content = message.get("content")
        if isinstance(content, list):
            content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        found.append((message["role"], str(content or "")))
    return found


def _prompts(value: Any, language: Language) -> tuple[tuple[int, ...], ...]:
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and all(type(item) is int for item in value):
        value = [value]
    if not isinstance(value, list) or not value:
        raise bad_request("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    found: list[tuple[int, ...]] = []
    for item in value:
        if isinstance(item, str):
            found.append(tuple(language.tokenizer.encode(item)))
        elif isinstance(item, list) and all(type(token) is int for token in item):
            found.append(tuple(check_tokens(item, language)))
        else:
            raise invalid("string_type", ("prompt",), "Input should be a valid string", item)
    if not all(found):
        raise bad_request("The decoder prompt cannot be empty", "prompt")
    return tuple(found)


def check_tokens(tokens: list[int], language: Language) -> list[int]:
    """The tokens, all of them in the vocabulary.

    Raises:
        RefusedError: one is not.
    """
    for token in tokens:
        if not 0 <= token < len(language.tokenizer):
            raise bad_request(f"Token id {token} is out of vocabulary", "prompt")
    return tokens


def _sampling(
    body: Body, prompts: tuple[tuple[int, ...], ...], asked: int | None, settings: Settings
) -> Sampling:
    longest = max(len(prompt) for prompt in prompts)
    limit = settings.max_model_len
    if longest + (asked or 0) > limit or (asked is None and longest >= limit):
        raise bad_request(
            f"This model's maximum context length is {limit} tokens. However, you requested {longest + (asked or 0)} "
            f"tokens ({longest} in the messages, {asked or 0} in the completion). "
            "Please reduce the length of the messages or completion.",
            "input_tokens",
        )
    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(word, str) and word for word in stops):
        raise bad_request("stop cannot contain an empty string.", "stop")
    sampling = Sampling(
        max_tokens=limit - longest if asked is None else asked,
        min_tokens=_integer(body, "min_tokens", 0) or 0,
        temperature=_number(body, "temperature", 1.0),
        top_p=_number(body, "top_p", 1.0),
        top_k=_integer(body, "top_k", 0) or 0,
        seed=_integer(body, "seed", None),
        stop=tuple(stops),
        ignore_eos=_boolean(body, "ignore_eos"),
        count=_integer(body, "n", 1) or 0,
    )
    if sampling.temperature < 0:
        raise bad_request(f"temperature must be non-negative, got {sampling.temperature}.", "temperature")
    if not 0 < sampling.top_p <= 1:
        raise bad_request(f"top_p must be in (0, 1], got {sampling.top_p}.", "top_p")
    if sampling.count < 1:
        raise bad_request(f"n must be at least 1, got {sampling.count}.", "n")
    return sampling


def _usage_in_stream(body: Body) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise invalid("model_type", ("stream_options",), "Input should be a valid dictionary", options)
    if not body.get("stream"):
        raise invalid(
            "value_error", (), "Value error, Stream options can only be defined when `stream=True`.", body
        )
    return bool(options.get("include_usage"))


def _boolean(body: Body, name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid("bool_type", (name,), "Input should be a valid boolean", value)
    return bool(value)


def _integer(body: Body, name: str, default: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise invalid("int_type", (name,), "Input should be a valid integer", value)
    return int(value)


def _number(body: Body, name: str, default: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid("float_type", (name,), "Input should be a valid number", value)
    return float(value)
