"""What one server was told to do, out of its command line and the model's config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simvllm.flags import Arguments
    from simvllm.surroundings import Surroundings

DEFAULT_HOST = "0.0.0.0"  # noqa: S104 - as vLLM: every address of the node
DEFAULT_PORT = 8000
DEFAULT_CONTEXT = 2048
DEFAULT_BLOCK = 16
KV_BLOCKS = 4096


class StartError(Exception):
    """The server refuses to start; the text is the last part of what the real one prints."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that the stand-in acts on; all other flags are accepted and have no effect."""

    model: str
    names: tuple[str, ...]
    keys: tuple[str, ...]
    max_model_len: int
    max_num_seqs: int
    max_logprobs: int
    block_size: int
    memory_utilization: float
    prefix_caching: bool
    log_stats: bool
    access_log: bool
    ranks: tuple[str, ...]
    serves_http: bool


def settle(arguments: Arguments, around: Surroundings) -> Settings:
    """Work out the settings.

    Raises:
        StartError: model, context length or parallel sizes do not fit, as the real server says.
    """
    config = _model_config(arguments.model)
    share = float(arguments.text("--gpu-memory-utilization", "0.9"))
    if not 0 < share <= 1:
        raise StartError(
            _invalid("CacheConfig", f"GPU memory utilization must be less than 1.0. Got {share}.")
        )
    keys = arguments.values.get("--api-key") or ([around.api_key] if around.api_key else [])
    return Settings(
        model=arguments.model,
        names=tuple(arguments.values.get("--served-model-name") or [arguments.model]),
        keys=tuple(keys),
        max_model_len=_context(arguments, config, allow_long=around.allow_long_context),
        max_num_seqs=max(1, arguments.number("--max-num-seqs", 256)),
        max_logprobs=arguments.number("--max-logprobs", 20),
        block_size=arguments.number("--block-size", DEFAULT_BLOCK),
        memory_utilization=share,
        prefix_caching="--no-enable-prefix-caching" not in arguments.values,
        log_stats="--disable-log-stats" not in arguments.values,
        access_log="--disable-uvicorn-access-log" not in arguments.values,
        ranks=_ranks(arguments, config),
        serves_http="--headless" not in arguments.values and arguments.number("--node-rank", 0) == 0,
    )


def _model_config(model: str) -> dict[str, object]:
    path = Path(model) / "config.json"
    if not path.is_file():
        raise StartError(
            _invalid(
                "ModelConfig",
                f"Invalid repository ID or local directory specified: '{model}'\n"
                "Please verify the following requirements:\n"
                "1. Provide a valid Hugging Face repository ID.\n"
                "2. Specify a local directory that contains a recognized configuration file.\n"
                "   - For Hugging Face models: ensure the presence of a 'config.json'.",
            )
        )
    try:
        config: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StartError(
            f"OSError: It looks like the config file at '{path}' is not a valid JSON file."
        ) from error
    return config


def _context(arguments: Arguments, config: dict[str, object], *, allow_long: bool) -> int:
    longest = config.get("max_position_embeddings", DEFAULT_CONTEXT)
    assert isinstance(longest, int)  # noqa: S101 - a model whose config says otherwise is no model
    asked = arguments.number("--max-model-len", -1)
    if asked > longest and not allow_long:
        raise StartError(
            _invalid(
                "ModelConfig",
                f"User-specified max_model_len ({asked}) is greater than the derived max_model_len "
                f"(max_position_embeddings={longest} or model_max_length=None in model's config.json). To allow "
                "overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1.",
            )
        )
    return asked if asked > 0 else longest


def _ranks(arguments: Arguments, config: dict[str, object]) -> tuple[str, ...]:
    """The names of the workers that run on this node, one a chip."""
    tensor = arguments.number("--tensor-parallel-size", 1)
    pipeline = arguments.number("--pipeline-parallel-size", 1)
    data = arguments.number("--data-parallel-size-local", arguments.number("--data-parallel-size", 1))
    nodes = max(1, arguments.number("--nnodes", 1))
    heads = config.get("num_attention_heads")
    if tensor < 1 or (isinstance(heads, int) and heads % tensor):
        raise StartError(
            _invalid(
                "VllmConfig",
                f"Total number of attention heads ({heads}) must be divisible by tensor parallel size ({tensor}).",
            )
        )
    names = [
        "Worker"
        + (f"_DP{d}" if data > 1 else "")
        + (f"_PP{p}" if pipeline > 1 else "")
        + (f"_TP{t}" if tensor > 1 else "")
        for d in range(data)
        for p in range(pipeline)
        for t in range(tensor)
    ]
    here = len(names) // nodes
    first = arguments.number("--node-rank", 0) * here
    return tuple(names[first : first + here])


def _invalid(what: str, reason: str) -> str:
    return (
        f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {what}\n"
        f"  Value error, {reason} [type=value_error, input_value=ArgsKwargs((), {{...}}), input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.pydantic.dev/2.12/v/value_error"
    )
