"""vLLM with the vllm-ascend plugin.

Version knowledge is data: _vllm_tables.py reads releases and flags; npuctl/data/vllm/combinations.yaml has what
is known to fail together.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from npuctl.engines._arguments import argument, spelled
from npuctl.engines._combinations import Rule, broken, read_rules
from npuctl.engines._contract import Launch, MemoryWish, Release, Seat, SpecProblem, TokenProbe
from npuctl.engines._release_numbers import release_numbers
from npuctl.engines._vllm_memory import memory
from npuctl.engines._vllm_tables import (
    flag_answer,
    flags_of_all,
    name_in_table,
    release_table,
    releases,
    vllm_versions,
)
from npuctl.facts.survey import WeightsFacts
from npuctl.hardware.catalog import HCCL_BASE_PORT, HCCL_PORTS
from npuctl.spec.models import Service
from npuctl.spec.parts import EnvValue, FlagValue

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

# Releases that find the description of quantised weights by themselves: added, taken back, added again
# (vllm-ascend release notes v0.15.0rc1, v0.16.0rc1, v0.17.0rc1).
_FINDS_QUANTISATION_IN = (0, 15)
_FINDS_QUANTISATION_SINCE = (0, 17)


class Vllm:
    """The engine `vllm`."""

    title = "vLLM (vllm-ascend)"
    package = "vllm_ascend"

    def problems(self, service: Service) -> list[SpecProblem]:
        """Unknown release, flags that the release does not have, flags that npuctl writes itself."""
        found = list(_unsupported_shapes(service))
        versions = vllm_versions(service.version)
        if versions is None:
            near = difflib.get_close_matches(service.version, list(releases()), n=3)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"known releases: {', '.join(releases())}"
            )
            return [*found, SpecProblem("version", f"unknown vllm-ascend release {service.version!r}", hint)]
        written: dict[str, str] = {}
        for name in service.args:
            found += _flag_problems(name, service.version, versions[-1])
            twin = written.setdefault(spelled(name), name)
            if twin != name:
                message = f"{spelled(name)} is written twice, as {twin} and as {name}"
                found.append(SpecProblem(f"args.{name}", message, "keep one"))
        return [*found, *broken(_rules(), service, _written_environment(service), refuses=True)]

    def seat_problems(self, service: Service, seat: Seat) -> list[SpecProblem]:
        """What the product of this node refuses: a dtype that it does not compute, flags that fail on it."""
        product = seat.product
        env = _written_environment(service)
        found = broken(_rules(), service, env, product=product.key, refuses=True)
        dtype = argument(service, "dtype")
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
        asked = argument(service, "quantization")
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
        row = release_table().get(service.version)
        if row is None:
            return None
        return Release(
            image=_IMAGE_IN_MIRRORS,
            tag=service.version,
            cann=row["cann"],
            torch_npu=row["torch_npu"],
        )


ENGINE = Vllm()


def _unsupported_shapes(service: Service) -> Iterator[SpecProblem]:
    if service.topology.nodes_per_replica != 1:
        yield SpecProblem(
            "topology.nodes_per_replica",
            f"a replica over {service.topology.nodes_per_replica} nodes cannot be deployed yet",
            "use 1",
        )


def _flag_problems(name: str, release: str, version: str) -> list[SpecProblem]:
    key, flag = f"args.{name}", spelled(name)
    base = name_in_table(flag)
    if base in _OWN_FLAGS:
        return [SpecProblem(key, f"npuctl writes {base} itself", f"set {_OWN_FLAGS[base]}")]
    answer = flag_answer(base, version)
    if answer.known is not False:
        return []
    where = f"`vllm serve` of {release} (vLLM {version}) has no {base}"
    if not answer.first:
        near = difflib.get_close_matches(base, flags_of_all(), n=1)
        return [SpecProblem(key, where, f"did you mean {near[0]}?" if near else "no sampled release has it")]
    if release_numbers(answer.first) > release_numbers(version):
        return [SpecProblem(key, where, f"it came with vLLM {answer.first}")]
    return [SpecProblem(key, where, f"it was last seen in vLLM {answer.last}; take it out")]


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
    if seat.product.dtypes and argument(service, "dtype") in {None, "auto"}:
        arguments += ["--dtype", seat.product.dtypes[0]]
    return arguments


def _user_arguments(service: Service) -> list[str]:
    arguments: list[str] = []
    for name, value in service.args.items():
        flag = spelled(name)
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
        # Two engines on one node with the default collide (vllm-ascend issues 405, 11968); a range a chip keeps
        # every engine's its own.
        env["HCCL_IF_BASE_PORT"] = str(HCCL_BASE_PORT + HCCL_PORTS * seat.chips[0])
    if service.model.path is None:
        env["VLLM_USE_MODELSCOPE"] = str(service.model.source == "modelscope")
    env.update({name: _env_text(value) for name, value in service.env.items()})
    return env


def _env_text(value: EnvValue) -> str:
    return value if isinstance(value, str) else str(value)


def _allocator(service: Service) -> str:
    expandable = release_numbers(service.version)[:2] >= _EXPANDABLE_SEGMENTS_SINCE
    return "expandable_segments:True" if expandable else "max_split_size_mb:256"


@cache
def _rules() -> tuple[Rule, ...]:
    return read_rules(files("npuctl").joinpath("data/vllm/combinations.yaml").read_text(encoding="utf-8"))


def _written_environment(service: Service) -> dict[str, str]:
    """The environment as far as the spec decides it, whatever the seat."""
    own = {"PYTORCH_NPU_ALLOC_CONF": _allocator(service)}
    return own | {name: _env_text(value) for name, value in service.env.items()}


def _finds_quantisation(release: str) -> bool:
    number = release_numbers(release)[:2]
    return number == _FINDS_QUANTISATION_IN or number >= _FINDS_QUANTISATION_SINCE
