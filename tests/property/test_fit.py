"""Statements about the memory calculator over generated configurations and arguments."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from npuctl.engines._contract import Seat
from npuctl.engines.vllm import ENGINE
from npuctl.facts.survey import ShardFacts, WeightsFacts
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.fit import Fit, fit_line, fit_of
from npuctl.plan.model_shape import read_shape
from tests.making import service
from tests.unit.plan.model_configs import CONFIGS

KEYS = sorted(
    {key for config in CONFIGS.values() for key in config} | {"layer_types", "text_config", "sliding_window"}
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.integers(-2, 2**20)
        | st.floats(allow_nan=False)
        | st.sampled_from(["auto", "8k", "1.5K", "x"])
        for name in (
            *("max-model-len", "max-num-seqs", "gpu-memory-utilization", "decode-context-parallel-size"),
            *("kv-cache-memory-bytes", "cpu-offload-gb", "kv-cache-dtype"),
        )
    },
)


def fit(
    config: dict[str, Any], args: dict[str, Any], *, size: int, tensor: int = 1, data: int = 1
) -> Fit | None:
    asked = service(args=args, topology={"tensor_parallel": tensor, "data_parallel": data})
    wish = ENGINE.memory(asked, Seat("n", PRODUCTS[0], tuple(range(tensor * data)), 8000))
    shards = {"m.safetensors": ShardFacts(size_bytes=size, tensor_bytes=size)}
    return fit_of(asked, wish, WeightsFacts(path="/m", config=config, shards=shards), 61 * 2**30)


@given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=12), ARGUMENTS, st.integers(0, 2**42))
def test_no_configuration_and_no_argument_is_an_error(
    config: dict[str, Any], args: dict[str, Any], size: int
) -> None:
    read_shape(config)
    found = fit(config, args, size=size)
    if found is not None:
        assert found.to_json()["fits"] == (found.shortage == "")
        assert fit_line(found).startswith("chat: ")


@given(st.sampled_from(sorted(CONFIGS)), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]))
def test_more_chips_never_carry_more_each(model: str, tensor: int, data: int) -> None:
    one = fit(CONFIGS[model], {}, size=10**11, tensor=tensor, data=data)
    two = fit(CONFIGS[model], {}, size=10**11, tensor=2 * tensor, data=data)
    assert one is not None
    assert two is not None
    assert two.weights_bytes <= one.weights_bytes
    assert (two.sequence_bytes or 0) <= (one.sequence_bytes or 0)


@given(st.sampled_from(sorted(CONFIGS)), st.integers(1, 2**17), st.integers(1, 2**17))
def test_a_longer_sequence_never_needs_less(model: str, first: int, second: int) -> None:
    shorter, longer = sorted((first, second))
    needs = [
        found.sequence_bytes
        for length in (shorter, longer)
        if (found := fit(CONFIGS[model], {"max-model-len": length}, size=10**10)) is not None
    ]
    assert needs[0] is not None
    assert needs[1] is not None
    assert needs[0] <= needs[1]
