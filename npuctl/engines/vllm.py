"""vLLM with the vllm-ascend plugin.

Version knowledge is data: npuctl/data/vllm/releases.json (vllm-ascend release → vLLM release) and
npuctl/data/vllm/flags.json (which `vllm serve` flags each vLLM release has), and
npuctl/data/vllm/combinations.yaml (what is known to fail together).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from npuctl.engines._combinations import Rule, broken, read_rules
from npuctl.engines._contract import Launch, MemoryWish, Release, Seat, SpecProblem, TokenProbe
from npuctl.engines._vllm_memory import memory
from npuctl.facts.survey import WeightsFacts
from npuctl.spec.models import EnvValue, FlagValue, Service

IMAGE = "quay.io/ascend/vllm-ascend"
_IMAGE_IN_MIRRORS = "ascend/vllm-ascend"
CONTAINER_CACHE = "/root/.cache"

# What npuctl itself writes from other keys of the spec; a second value in `args` would contradict it.
_OWN_FLAGS = {
    "--model": "model.path or model.id",
    "--served-model-name": "model.id",
    "--host": "nothing: the service listens on every address of the node",
    "--port": "port",
    "--tensor-parallel-size": "topology.tensor_parallel",
    "--pipeline-parallel-size": "topology.pipeline_parallel",
    "--data-parallel-size": "topology.data_parallel",
    "--enable-expert-parallel": "topology.expert_parallel",
    "--api-key": "api_key, which names a secret of the vault",
}
# Before v0.14 the vllm-ascend guides set max_split_size_mb by hand; from v0.14 on expandable segments
# are the default of the plugin (its release notes), and naming both ends the process.
_EXPANDABLE_SEGMENTS_SINCE = (0, 14)
# HCCL listens on 16 host ports from HCCL_IF_BASE_PORT on (default 60000); two engines on one node with the
# default collide (vllm-ascend issues 405, 11968). 16 ports a chip keep every engine's range its own.
_HCCL_BASE_PORT = 60000
_HCCL_PORTS = 16

# Releases that find the description of quantised weights by themselves: added, taken back, added again
# (vllm-ascend release notes v0.15.0rc1, v0.16.0rc1, v0.17.0rc1).
_FINDS_QUANTISATION_IN = (0, 15)
_FINDS_QUANTISATION_SINCE = (0, 17)


@dataclass(frozen=True, slots=True)
class FlagAnswer:
    """What the flag table says of one flag at one version.

    `known` is None when the table cannot tell: the two sampled versions around this one disagree.
    """

    known: bool | None
    first: str = ""
    last: str = ""


class Vllm:
    """The engine `vllm`."""

    title = "vLLM (vllm-ascend)"
    package = "vllm_ascend"

    def problems(self, service: Service) -> list[SpecProblem]:
        """Unknown release, flags that the release does not have, flags that npuctl writes itself."""
        found = list(_unsupported_shapes(service))
        versions = vllm_versions(service.version)
        if versions is None:
            near = difflib.get_close_matches(service.version, list(_releases()), n=3)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"known releases: {', '.join(_releases())}"
            )
            return [*found, SpecProblem("version", f"unknown vllm-ascend release {service.version!r}", hint)]
        spelled: dict[str, str] = {}
        for name in service.args:
            found += _flag_problems(name, service.version, versions[-1])
            twin = spelled.setdefault(_spelled(name), name)
            if twin != name:
                message = f"{_spelled(name)} is written twice, as {twin} and as {name}"
                found.append(SpecProblem(f"args.{name}", message, "keep one"))
        return [*found, *broken(_rules(), service, _written_environment(service), refuses=True)]

    def seat_problems(self, service: Service, seat: Seat) -> list[SpecProblem]:
        """What the product of this node refuses: a dtype that it does not compute, flags that fail on it."""
        product = seat.product
        env = _written_environment(service)
        found = broken(_rules(), service, env, product=product.key, refuses=True)
        dtype = _argument(service, "dtype")
        if not product.dtypes or dtype in {None, "auto", *product.dtypes}:
            return found
        allowed = " or ".join(product.dtypes)
        message = f"{product.title} does not compute {dtype}"
        return [SpecProblem("args.dtype", message, f"use {allowed}"), *found]

    def remarks(self, service: Service, seat: Seat) -> list[SpecProblem]:
        """Combinations that start and do not do what is written."""
        env = _written_environment(service)
        about_product = broken(_rules(), service, env, product=seat.product.key, refuses=False)
        return [*broken(_rules(), service, env, refuses=False), *about_product]

    def weights_problems(self, service: Service, weights: WeightsFacts) -> list[SpecProblem]:
        """Whether --quantization says what the folder holds.

        `ascend` needs ModelSlim's description file beside the weights, and ends without it (vllm-ascend
        issue 2290). The other way round, only some releases find that file by themselves.
        """
        asked = _argument(service, "quantization")
        configured = isinstance((weights.config or {}).get("quantization_config"), dict)
        if asked == "ascend" and not weights.quantization and not configured:
            message = f"quantization: ascend, and {weights.path} holds no quant_model_description.json"
            return [SpecProblem("args.quantization", message, "use quantised weights, or take it out")]
        if weights.quantization and asked is None and not _finds_quantisation(service.version):
            message = f"{weights.path} holds weights quantised for Ascend; {service.version} must be told so"
            return [SpecProblem("args.quantization", message, "set args quantization: ascend")]
        return []

    def memory(self, service: Service, seat: Seat) -> MemoryWish:
        """What vllm-ascend makes of the memory of each chip."""
        return memory(service, seat)

    def launch(self, service: Service, seat: Seat) -> Launch:
        """`vllm serve` with its environment, for this service on this seat."""
        source = service.model.path or service.model.id
        mounts = [f"{service.model.path}:{service.model.path}:ro"] if service.model.path else []
        secret_env = {name: ref.secret for name, ref in service.secret_env.items()}
        if service.api_key is not None:
            secret_env["VLLM_API_KEY"] = service.api_key.secret
        return Launch(
            image=service.image or f"{IMAGE}:{service.version}{seat.product.image_suffix}",
            argv=("vllm", "serve", source, *_own_arguments(service, seat), *_user_arguments(service)),
            env=_environment(service, seat),
            mounts=(*mounts, f"{service.cache}:{CONTAINER_CACHE}", *service.mounts),
            secret_env=secret_env,
        )

    def token_probe(self, service: Service) -> TokenProbe:
        """One token of /v1/completions; /health says only that the API server and its engine core live."""
        body: dict[str, object] = {
            "model": service.model.id,
            "prompt": "1",
            "max_tokens": 1,
            "temperature": 0,
        }
        return TokenProbe(alive_path="/health", token_path="/v1/completions", body=body)  # noqa: S106

    def release(self, service: Service) -> Release | None:
        """What vllm-ascend's release compatibility matrix says."""
        row = _release_table().get(service.version)
        if row is None:
            return None
        return Release(
            image=_IMAGE_IN_MIRRORS,
            tag=service.version,
            cann=row["cann"],
            torch=row["torch"],
            torch_npu=row["torch_npu"],
            engine=row["vllm"][-1],
        )


ENGINE = Vllm()


def vllm_versions(release: str) -> list[str] | None:
    """VLLM versions that a vllm-ascend release stands for; None when the release is unknown."""
    return _releases().get(release)


def flag_answer(flag: str, version: str) -> FlagAnswer:
    """Whether `vllm serve` of that vLLM version has the flag, from the versions that were sampled."""
    table = _table()
    sampled = table.versions
    spans = table.spans.get(flag)
    if spans is None:
        return FlagAnswer(known=False)
    first, last = spans[0][0], spans[-1][1]
    wanted = _key(version)
    below = max((v for v in sampled if _key(v) <= wanted), key=_key, default=sampled[0])
    above = min((v for v in sampled if _key(v) >= wanted), key=_key, default=sampled[-1])
    has = {_within(below, spans), _within(above, spans)}
    return FlagAnswer(known=has.pop() if len(has) == 1 else None, first=first, last=last)


def _within(version: str, spans: list[tuple[str, str]]) -> bool:
    return any(_key(first) <= _key(version) <= _key(last) for first, last in spans)


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _releases() -> dict[str, list[str]]:
    """vllm-ascend release → the vLLM versions that it stands for."""
    return {release: row["vllm"] for release, row in _release_table().items()}


@cache
def _release_table() -> dict[str, dict[str, Any]]:
    text = files("npuctl").joinpath("data/vllm/releases.json").read_text(encoding="utf-8")
    return {entry["release"]: entry for entry in json.loads(text)["releases"]}


@dataclass(frozen=True, slots=True)
class _FlagTable:
    """`spans`: flag → ranges of sampled versions, first and last included, in which it is there."""

    versions: list[str]
    spans: dict[str, list[tuple[str, str]]]


@cache
def _table() -> _FlagTable:
    text = files("npuctl").joinpath("data/vllm/flags.json").read_text(encoding="utf-8")
    table = json.loads(text)
    spans = {flag: [(first, last) for first, last in ranges] for flag, ranges in table["flags"].items()}
    return _FlagTable(table["versions"], spans)


def _unsupported_shapes(service: Service) -> Iterator[SpecProblem]:
    if service.topology.nodes_per_replica != 1:
        yield SpecProblem(
            "topology.nodes_per_replica",
            f"a replica over {service.topology.nodes_per_replica} nodes cannot be deployed yet",
            "use 1",
        )


def _spelled(name: str) -> str:
    return "--" + name.removeprefix("--").replace("_", "-")


def _table_name(flag: str) -> str:
    """The flag as the table has it: dotted JSON keys cut off, --no- taken from boolean pairs."""
    base = flag.split(".", 1)[0]
    positive = "--" + base.removeprefix("--no-")
    return positive if base.startswith("--no-") and positive in _table().spans else base


def _flag_problems(name: str, release: str, version: str) -> list[SpecProblem]:
    key, flag = f"args.{name}", _spelled(name)
    base = _table_name(flag)
    if base in _OWN_FLAGS:
        return [SpecProblem(key, f"npuctl writes {base} itself", f"set {_OWN_FLAGS[base]}")]
    answer = flag_answer(base, version)
    if answer.known is not False:
        return []
    where = f"`vllm serve` of {release} (vLLM {version}) has no {base}"
    if not answer.first:
        near = difflib.get_close_matches(base, list(_table().spans), n=1)
        return [SpecProblem(key, where, f"did you mean {near[0]}?" if near else "no sampled release has it")]
    if _key(answer.first) > _key(version):
        return [SpecProblem(key, where, f"it came with vLLM {answer.first}")]
    return [SpecProblem(key, where, f"it was last seen in vLLM {answer.last}; take it out")]


def _argument(service: Service, name: str) -> FlagValue:
    for key, value in service.args.items():
        if _spelled(key) == f"--{name}":
            return value
    return None


def _own_arguments(service: Service, seat: Seat) -> list[str]:
    shape = service.topology
    arguments = ["--served-model-name", service.model.id, "--host", "0.0.0.0", "--port", str(seat.port)]  # noqa: S104
    arguments += ["--tensor-parallel-size", str(shape.tensor_parallel)]
    if shape.pipeline_parallel > 1:
        arguments += ["--pipeline-parallel-size", str(shape.pipeline_parallel)]
    if shape.data_parallel > 1:
        arguments += ["--data-parallel-size", str(shape.data_parallel)]
    if shape.expert_parallel:
        arguments.append("--enable-expert-parallel")
    if seat.product.dtypes and _argument(service, "dtype") in {None, "auto"}:
        arguments += ["--dtype", seat.product.dtypes[0]]
    return arguments


def _user_arguments(service: Service) -> list[str]:
    arguments: list[str] = []
    for name, value in service.args.items():
        flag = _spelled(name)
        if flag == "--dtype" and value == "auto":
            continue
        if value is True or value is None:
            arguments.append(flag)
        elif value is False:
            arguments.append("--no-" + flag.removeprefix("--"))
        elif isinstance(value, list):
            arguments += [flag, *(_text(item) for item in value)]
        else:
            arguments += [flag, _text(value)]
    return arguments


def _text(value: FlagValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environment(service: Service, seat: Seat) -> dict[str, str]:
    env = {
        "ASCEND_VISIBLE_DEVICES": ",".join(str(chip) for chip in seat.chips),
        "PYTORCH_NPU_ALLOC_CONF": _allocator(service),
    }
    if len(seat.chips) > 1:
        env["HCCL_IF_BASE_PORT"] = str(_HCCL_BASE_PORT + _HCCL_PORTS * seat.chips[0])
    if service.model.path is None:
        env["VLLM_USE_MODELSCOPE"] = str(service.model.source == "modelscope")
    env.update({name: _env_text(value) for name, value in service.env.items()})
    return env


def _env_text(value: EnvValue) -> str:
    return value if isinstance(value, str) else str(value)


def _allocator(service: Service) -> str:
    expandable = _key(service.version)[:2] >= _EXPANDABLE_SEGMENTS_SINCE
    return "expandable_segments:True" if expandable else "max_split_size_mb:256"


@cache
def _rules() -> tuple[Rule, ...]:
    return read_rules(files("npuctl").joinpath("data/vllm/combinations.yaml").read_text(encoding="utf-8"))


def _written_environment(service: Service) -> dict[str, str]:
    """The environment as far as the spec decides it, whatever the seat."""
    own = {"PYTORCH_NPU_ALLOC_CONF": _allocator(service)}
    return own | {name: _env_text(value) for name, value in service.env.items()}


def _finds_quantisation(release: str) -> bool:
    number = _key(release)[:2]
    return number == _FINDS_QUANTISATION_IN or number >= _FINDS_QUANTISATION_SINCE
