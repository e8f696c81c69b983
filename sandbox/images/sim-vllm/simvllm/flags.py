"""The argument check of `vllm serve`: which flags a release knows, and which words their values may be.

The table says only whether a release has a flag. Which flags are switches, numbers, JSON or lists is known
here for the common ones; any other flag takes the next word as its value unless that starts with `--`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _flags(names: str) -> frozenset[str]:
    return frozenset(f"--{name}" for name in names.split())


SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-q": "--quantization",
    "-h": "--help",
}
INTEGERS = _flags(
    "port api-server-count tensor-parallel-size pipeline-parallel-size data-parallel-size data-parallel-size-local "
    "data-parallel-start-rank data-parallel-rank data-parallel-rpc-port decode-context-parallel-size "
    "prefill-context-parallel-size nnodes node-rank master-port max-num-seqs block-size seed max-logprobs "
    "max-loras max-lora-rank max-cpu-loras shutdown-timeout num-gpu-blocks-override max-log-len "
    "max-parallel-loading-workers max-seq-len-to-capture num-scheduler-steps"
)
READABLE_INTEGERS = _flags("max-model-len max-num-batched-tokens")
FLOATS = _flags("gpu-memory-utilization swap-space cpu-offload-gb kv-offloading-size")
JSONS = _flags(
    "additional-config speculative-config kv-transfer-config kv-events-config ec-transfer-config hf-overrides "
    "override-generation-config override-pooler-config pooler-config eplb-config structured-outputs-config "
    "default-chat-template-kwargs model-loader-extra-config mm-processor-kwargs media-io-kwargs rope-scaling "
    "profiler-config allowed-origins allowed-methods allowed-headers kernel-config attention-config "
    "compilation-config limit-mm-per-prompt"
)
# Of these, other spellings than JSON are valid too (a level, `image=1`): only what opens a brace is checked.
LOOSE_JSONS = _flags("compilation-config limit-mm-per-prompt")
LISTS = _flags(
    "served-model-name api-key lora-modules lora-target-modules prompt-adapters middleware cudagraph-capture-sizes "
    "cuda-graph-sizes logits-processors collect-detailed-traces disable-access-log-for-endpoints device-ids"
)
SWITCHES = re.compile(
    r"--(no|enable|disable)-|--(trust-remote-code|enforce-eager|headless|help|async-scheduling|skip-tokenizer-init|"
    r"calculate-kv-scales|fully-sharded-loras|allow-credentials|return-tokens-as-token-ids|language-model-only|"
    r"skip-mm-profiling|data-parallel-hybrid-lb|data-parallel-external-lb|use-tqdm-on-load|log-error-stack|tokens-only|"
    r"ray-workers-use-nsight|exclude-tools-when-tool-choice-none|aggregate-engine-logging)$"
)
_READABLE = re.compile(r"(-1|auto|\d+(?:\.\d+)?)([kKmMgG])?$")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "K": 2**10, "M": 2**20, "G": 2**30}


class ArgumentsError(Exception):
    """The command line is refused; the text is what argparse says after `error: `."""


@dataclass(slots=True)
class Arguments:
    """A checked command line: the model and the values of each flag, empty for a switch."""

    model: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)

    def text(self, flag: str, default: str) -> str:
        """The last value of a flag."""
        return (self.values.get(flag) or [default])[-1]

    def number(self, flag: str, default: int) -> int:
        """The value of a flag that is a whole number."""
        return readable_integer(self.text(flag, str(default)))


def load_flags(table: Path, release: str) -> frozenset[str]:
    """The flags that a release has.

    Raises:
        LookupError: the table has no such release.
    """
    data = json.loads(table.read_text(encoding="utf-8"))
    versions: list[str] = data["versions"]
    if release not in versions:
        raise LookupError(f"SIM_VLLM_RELEASE={release} is not in the flag table ({', '.join(versions)})")
    place = versions.index(release)
    return frozenset(
        name
        for name, runs in data["flags"].items()
        if any(versions.index(first) <= place <= versions.index(last) for first, last in runs)
    ) | {"--help"}


def readable_integer(text: str) -> int:
    """A number as vLLM reads one: `8192`, `8k` (thousands), `8K` (1024), -1 and auto for the model's own.

    Raises:
        ValueError: not a number.
    """
    match = _READABLE.match(text)
    if match is None:
        raise ValueError(text)
    if match[1] in {"-1", "auto"}:
        return -1
    if "." in match[1] and (match[2] or "").isupper():
        raise ValueError(text)
    return int(float(match[1]) * _FACTORS[match[2] or ""])


def parse_arguments(words: list[str], known: frozenset[str]) -> Arguments:
    """Check the words after `vllm serve` against the flags of a release.

    Raises:
        ArgumentsError: an unknown flag, or a value that its flag does not take.
    """
    found = Arguments()
    unknown: list[str] = []
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not word.startswith("-") or word == "-":
            if found.model:
                unknown.append(word)
            found.model = found.model or word
            continue
        flag, key, value = _split(word, known)
        if flag is None:
            unknown.append(word)
            continue
        taken = [value] if value is not None else _values(flag, words[place:])
        place += 0 if value is not None else len(taken)
        if SWITCHES.match(flag) and value is not None:
            raise ArgumentsError(f"argument {flag}: ignored explicit argument {value!r}")
        if not key:
            _check(flag, taken)
        found.values.setdefault(flag, [])[:] = taken
    if unknown:
        raise ArgumentsError("unrecognized arguments: " + " ".join(unknown))
    found.model = found.model or found.text("--model", "Qwen/Qwen3-0.6B")
    return found


def _split(word: str, known: frozenset[str]) -> tuple[str | None, str, str | None]:
    """A flag's full name (None: unknown), the dotted key behind it and its `=` value."""
    name, equals, value = word.partition("=")
    base, _, key = name.partition(".")
    base = SHORT.get(base, base.replace("_", "-"))
    positive = "--" + base.removeprefix("--no-") if base.startswith("--no-") else base
    if (base not in known and positive not in known) or (key and base not in JSONS):
        return None, key, None
    return base, key, value if equals else None


def _values(flag: str, rest: list[str]) -> list[str]:
    """The words that belong to a flag given without `=`."""
    if SWITCHES.match(flag):
        return []
    count = 0
    while count < len(rest) and not re.match(r"--?[A-Za-z]", rest[count]):
        count += 1
        if flag not in LISTS:
            break
    if count == 0 and (flag in INTEGERS | READABLE_INTEGERS | FLOATS | JSONS | LISTS):
        raise ArgumentsError(f"argument {flag}: expected {'at least ' if flag in LISTS else ''}one argument")
    return rest[:count]


def _check(flag: str, values: list[str]) -> None:
    for value in values:
        if flag in INTEGERS and not _passes(int, value):
            raise ArgumentsError(f"argument {flag}: invalid int value: {value!r}")
        if flag in READABLE_INTEGERS and not _passes(readable_integer, value):
            raise ArgumentsError(f"argument {flag}: invalid human_readable_int value: {value!r}")
        if flag in FLOATS and not _passes(float, value):
            raise ArgumentsError(f"argument {flag}: invalid float value: {value!r}")
        loose = flag in LOOSE_JSONS and not value.startswith(("{", "["))
        if flag in JSONS and not loose and not _passes(json.loads, value):
            raise ArgumentsError(f"argument {flag}: Value {value} cannot be converted to <function loads>.")


def _passes(convert: Callable[[str], Any], value: str) -> bool:
    try:
        convert(value)
    except ValueError:
        return False
    return True
