"""The memory calculator: what vendors publish as running fits, what cannot run does not."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.engines._contract import Seat
from npuctl.engines.vllm import ENGINE
from npuctl.facts.survey import ShardFacts, WeightsFacts
from npuctl.hardware.catalog import PRODUCTS
from npuctl.plan.fit import Fit, fit_line, fit_of
from npuctl.plan.model_shape import read_shape
from tests.making import service
from tests.unit.plan.model_configs import CONFIGS, PARAMETERS

# What npu-smi shows as a chip's memory, in MB.
CARDS = {
    "910B 64 GB": ("a2", 65536),
    "910B4 32 GB": ("a2", 32768),
    "A3 die": ("a3", 65536),
    "310P": ("310p", 43693),
    "950": ("950", 86016),
}
BF16, W8A8 = 2.0, 1.03
GIB = 2**30


def weights(model: str, *, bytes_a_parameter: float = BF16, **changes: Any) -> WeightsFacts:
    size = int(PARAMETERS[model] * 1e9 * bytes_a_parameter)
    kind = "" if bytes_a_parameter == BF16 else "W8A8"
    shard = ShardFacts(size_bytes=size + 1000, data_bytes=size + 1000, tensor_bytes=size)
    own: dict[str, Any] = {
        "path": "/data/models/m",
        "config": CONFIGS[model],
        "quantization": kind,
        "shards": {"m.safetensors": shard},
    }
    return WeightsFacts(**(own | changes))


def fit(
    model: str,
    card: str,
    *,
    shape: str = "1",
    bytes_a_parameter: float = BF16,
    facts: WeightsFacts | None = None,
    version: str = "v0.18.0",
    env: dict[str, Any] | None = None,
    **args: Any,
) -> Fit:
    """`shape` is TENSOR or TENSORxDATA or TENSORxDATAxPIPELINE."""
    tensor, data, pipeline = [*map(int, shape.split("x")), 1, 1][:3]
    topology = {
        "tensor_parallel": tensor,
        "data_parallel": data,
        "pipeline_parallel": pipeline,
        "expert_parallel": bool(read_shape(CONFIGS[model]).experts),
    }
    written = {name.replace("_", "-"): value for name, value in args.items()}
    asked = service(version=version, topology=topology, args=written, env=env or {})
    key, memory = CARDS[card]
    product = next(entry for entry in PRODUCTS if entry.key == key)
    wish = ENGINE.memory(asked, Seat("node-1", product, tuple(range(asked.topology.chips)), 8000))
    found = fit_of(
        asked,
        wish,
        facts or weights(model, bytes_a_parameter=bytes_a_parameter),
        (memory - product.reserved_memory_mb) * 2**20,
        node="node-1",
    )
    assert found is not None
    return found


@pytest.mark.parametrize("model", CONFIGS)
def test_the_parameters_counted_from_a_configuration_are_those_of_the_models_card(model: str) -> None:
    parts = read_shape(CONFIGS[model]).parts
    assert parts is not None
    assert parts.total / 1e9 == pytest.approx(PARAMETERS[model], rel=0.002)


# Published as running: guides and nightly tests of vllm-ascend (model, card, TPxDPxPP, weights, arguments).
PUBLISHED = [
    ("Qwen3-8B", "910B 64 GB", "1", BF16, {"max_model_len": 26240}),
    ("QwQ-32B", "910B 64 GB", "4", BF16, {"max_model_len": 4096}),
    ("QwQ-32B", "A3 die", "4", BF16, {"max_model_len": 35840, "gpu_memory_utilization": 0.9}),
    ("Qwen3-32B", "910B 64 GB", "4", W8A8, {"max_model_len": 40960, "max_num_batched_tokens": 40960}),
    ("Qwen3-32B", "A3 die", "2", W8A8, {"max_model_len": 8192}),
    ("Qwen3-32B", "A3 die", "4", BF16, {"max_model_len": 36864}),
    ("Qwen2.5-72B", "910B 64 GB", "4", BF16, {"max_model_len": 25600, "gpu_memory_utilization": 0.9}),
    ("Qwen3-30B-A3B", "910B 64 GB", "2", BF16, {}),
    ("Qwen3-30B-A3B", "910B4 32 GB", "4", BF16, {}),
    ("Qwen3-30B-A3B", "A3 die", "1", W8A8, {"max_model_len": 5600}),
    ("Qwen3-235B-A22B", "A3 die", "4x4", W8A8, {"max_model_len": 40960, "max_num_seqs": 12}),
    ("Qwen3-235B-A22B", "A3 die", "8x2", W8A8, {"max_model_len": 135000, "gpu_memory_utilization": 0.85}),
    ("Qwen3-235B-A22B", "910B 64 GB", "8", W8A8, {"max_model_len": 131072, "gpu_memory_utilization": 0.95}),
    ("Qwen3-235B-A22B", "910B 64 GB", "8x1x2", BF16, {"max_model_len": 8192}),
    ("Qwen3-235B-A22B", "A3 die", "8x4", BF16, {"max_model_len": 8192}),
    ("Qwen3-235B-A22B", "950", "2x4", W8A8, {"max_model_len": 40960, "max_num_seqs": 40}),
    ("Qwen3-Next-80B-A3B", "910B 64 GB", "4", BF16, {"max_model_len": 32768, "gpu_memory_utilization": 0.7}),
    ("DeepSeek-R1", "A3 die", "8x2", W8A8, {"max_model_len": 36864, "max_num_seqs": 16}),
    ("DeepSeek-R1", "A3 die", "4x4", W8A8, {"max_model_len": 16384, "gpu_memory_utilization": 0.92}),
    ("DeepSeek-V3.2", "A3 die", "8x2", W8A8, {"max_model_len": 67000, "gpu_memory_utilization": 0.95}),
    ("DeepSeek-V3.2", "A3 die", "16x2", BF16, {"max_model_len": 17450}),
    ("DeepSeek-R1", "A3 die", "8x4", BF16, {"max_model_len": 8192, "gpu_memory_utilization": 0.95}),
    ("Qwen3-0.6B", "310P", "1", BF16, {"dtype": "float16"}),
    ("Qwen2.5-7B", "310P", "2", BF16, {"dtype": "float16"}),
    ("Qwen3-8B", "310P", "1", W8A8, {"max_model_len": 20480, "gpu_memory_utilization": 0.8}),
    ("Qwen3-14B", "310P", "1", W8A8, {"max_model_len": 20480, "gpu_memory_utilization": 0.8}),
    ("Qwen3-32B", "310P", "4", W8A8, {"max_model_len": 20480, "gpu_memory_utilization": 0.8}),
]


@pytest.mark.parametrize(("model", "card", "shape", "width", "args"), PUBLISHED)
def test_what_the_vendor_published_as_running_fits(
    model: str, card: str, shape: str, width: float, args: dict[str, Any]
) -> None:
    found = fit(model, card, shape=shape, bytes_a_parameter=width, **args)
    assert found.shortage == ""
    assert found.margin_bytes > 0
    assert found.sequences is not None
    assert found.sequences >= 1


IMPOSSIBLE = [
    ("Qwen3-32B", "910B4 32 GB", "1", BF16, {}, "weights"),
    ("Qwen3-32B", "910B4 32 GB", "2", BF16, {}, "weights"),
    ("Qwen3-32B", "910B 64 GB", "1", BF16, {"max_model_len": 1024}, "weights"),
    # vllm-ascend issue 9372: 27.54 GB of weights, "Available KV cache memory: -0.87 GiB".
    ("Qwen3-14B", "910B4 32 GB", "1", BF16, {"max_model_len": 4096}, "weights"),
    ("Qwen2.5-72B", "910B 64 GB", "2", BF16, {}, "weights"),
    ("DeepSeek-R1", "910B 64 GB", "8", W8A8, {"max_model_len": 4096}, "weights"),
    ("Qwen3-235B-A22B", "910B 64 GB", "8", BF16, {"max_model_len": 131072}, "cache"),
    ("Qwen3-8B", "310P", "1", BF16, {"max_model_len": 131072, "gpu_memory_utilization": 0.8}, "cache"),
]


@pytest.mark.parametrize(("model", "card", "shape", "width", "args", "shortage"), IMPOSSIBLE)
def test_what_cannot_run_does_not_fit_and_that_is_certain(
    model: str, card: str, shape: str, width: float, args: dict[str, Any], shortage: str
) -> None:
    found = fit(model, card, shape=shape, bytes_a_parameter=width, **args)
    assert (found.shortage, found.certain) == (shortage, True)
    assert found.margin_bytes < 0


def test_a_measured_weight_is_met() -> None:
    assert fit("Qwen3-14B", "910B4 32 GB").weights_bytes / GIB == pytest.approx(27.54, abs=0.05)


def test_fewer_kv_heads_than_chips_are_repeated() -> None:
    by_four = fit("Qwen3-30B-A3B", "A3 die", shape="4", max_model_len=1280)
    by_eight = fit("Qwen3-30B-A3B", "A3 die", shape="8", max_model_len=1280)
    assert by_four.sequence_bytes == 1280 * 48 * 2 * 1 * 128 * 2
    assert by_eight.sequence_bytes == by_four.sequence_bytes


def test_a_latent_cache_is_whole_on_every_chip_unless_context_parallelism_cuts_it() -> None:
    by_eight = fit("DeepSeek-R1", "A3 die", shape="8x2", max_model_len=1280)
    by_sixteen = fit("DeepSeek-R1", "A3 die", shape="16", max_model_len=1280)
    cut = fit("DeepSeek-R1", "A3 die", shape="16", max_model_len=1280, decode_context_parallel_size=16)
    assert by_eight.sequence_bytes == by_sixteen.sequence_bytes == 1280 * 61 * (512 + 64) * 2
    assert by_sixteen.sequence_bytes // 16 == cut.sequence_bytes


def test_data_parallel_ranks_spread_the_experts_and_repeat_the_rest() -> None:
    one = fit("DeepSeek-R1", "A3 die", shape="8", max_model_len=4096)
    two = fit("DeepSeek-R1", "A3 die", shape="8x2", max_model_len=4096)
    assert one.weights_bytes / 2 < two.weights_bytes < one.weights_bytes * 0.55
    assert (one.ranks, two.ranks) == (1, 2)


def test_linear_attention_keeps_no_tokens() -> None:
    found = fit("Qwen3-Next-80B-A3B", "A3 die", shape="4", max_model_len=1280)
    state = 36 * 32 * 128 * 128 * 2 / 4
    assert found.sequence_bytes == 1280 * 12 * 1 * 512 * 2 + state
    assert found.estimated


def test_layers_of_a_sliding_window_keep_the_window_only() -> None:
    config = CONFIGS["Qwen3-8B"] | {
        "layer_types": ["full_attention"] * 6 + ["sliding_attention"] * 30,
        "sliding_window": 128,
    }
    found = fit("Qwen3-8B", "A3 die", facts=weights("Qwen3-8B", config=config), max_model_len=1280)
    assert found.sequence_bytes == (6 * 1280 + 30 * 128) * 8 * 256 * 2


def test_the_share_of_a_chip_that_vllm_takes_grew_with_a_release() -> None:
    old, new = fit("Qwen3-8B", "A3 die"), fit("Qwen3-8B", "A3 die", version="v0.20.2rc1")
    assert old.budget_bytes == pytest.approx(old.chip_bytes * 0.9, abs=1)
    assert new.budget_bytes == pytest.approx(new.chip_bytes * 0.92, abs=1)


def test_half_of_a_310p_is_kept_for_workspaces_by_newer_releases() -> None:
    old, new = fit("Qwen3-8B", "310P", version="v0.17.0rc1"), fit("Qwen3-8B", "310P", version="v0.18.0")
    assert new.cache_bytes == pytest.approx(old.cache_bytes / 2, abs=1)


def test_no_weights_on_the_node_are_reckoned_from_the_configuration() -> None:
    found = fit("Qwen3-32B", "910B 64 GB", facts=weights("Qwen3-32B", shards={}))
    assert found.weights_bytes / 1e9 == pytest.approx(65.5, rel=0.01)
    assert found.estimated == "no weights on the node"
    assert found.shortage == "weights"


def test_a_missing_shard_does_not_make_the_model_small() -> None:
    facts = weights("Qwen3-32B", shards={}, index_shards=["a", "b"], index_bytes=65 * 10**9)
    assert fit("Qwen3-32B", "910B 64 GB", facts=facts).shortage == "weights"


def test_single_precision_weights_are_loaded_in_half() -> None:
    shard = ShardFacts(size_bytes=33 * 10**9, tensor_bytes=32_760_000_000, dtypes={"F32": 32_760_000_000})
    found = fit("Qwen3-8B", "A3 die", facts=weights("Qwen3-8B", shards={"m.safetensors": shard}))
    assert found.weights_bytes / 1e9 == pytest.approx(16.4, rel=0.01)


def test_a_second_copy_of_the_weights_is_not_counted() -> None:
    shard = weights("Qwen3-8B").shards["m.safetensors"]
    facts = weights("Qwen3-8B", shards={"consolidated.safetensors": shard, "model.safetensors": shard})
    assert fit("Qwen3-8B", "A3 die", facts=facts).weights_bytes == fit("Qwen3-8B", "A3 die").weights_bytes


def test_an_unknown_configuration_leaves_the_cache_open() -> None:
    found = fit("Qwen3-32B", "A3 die", shape="2", facts=weights("Qwen3-32B", config={}))
    assert found.sequence_bytes is None
    assert found.weights_bytes / GIB == pytest.approx(30.5, abs=0.1)
    assert "how much a token needs is not known" in fit_line(found)


def test_nothing_to_reckon_with_is_no_answer() -> None:
    asked = service()
    wish = ENGINE.memory(asked, Seat("n", PRODUCTS[0], (0,), 8000))
    assert fit_of(asked, wish, WeightsFacts(path="/m", config={}), 2**36) is None


def test_only_the_rule_of_thumb_says_no() -> None:
    # 27.5 GiB of weights, 1 GiB by the rule of thumb, 0.35 GiB measured; 0.625 GiB for the sequence.
    found = fit("Qwen3-14B", "910B4 32 GB", max_model_len=4096, gpu_memory_utilization=0.98)
    assert (found.shortage, found.certain) == ("cache", False)
    assert "may not fit" in fit_line(found)


def test_a_cache_of_a_written_size_is_taken_as_it_is() -> None:
    found = fit("Qwen3-8B", "A3 die", kv_cache_memory_bytes=8 * GIB, max_model_len=4096)
    assert found.cache_bytes == 8 * GIB
    assert not found.shortage


def test_an_engine_that_adapts_the_length_is_not_refused_for_it() -> None:
    assert not fit("Qwen3-30B-A3B", "910B 64 GB", shape="2", max_model_len=-1).shortage


def test_weights_left_in_the_hosts_memory_take_no_room() -> None:
    assert not fit("Qwen3-14B", "910B4 32 GB", max_model_len=4096, cpu_offload_gb=8).shortage


def test_the_line_names_the_margin_and_what_binds() -> None:
    fits = fit("Qwen3-8B", "910B 64 GB", max_model_len=26240)
    assert fit_line(fits) == (
        "chat: fits; 35.3 GiB a chip left (58 %); binding: KV cache, 10.8 sequences of 26240 tokens at once"
    )
    few = fit("Qwen3-8B", "910B 64 GB", max_model_len=26240, max_num_seqs=4)
    assert fit_line(few).endswith("binding: max-num-seqs, 4 sequences; the KV cache holds 10.8")
    short = fit("Qwen3-32B", "910B4 32 GB")
    assert fit_line(short) == (
        "chat: does not fit; weights: 61.0 GiB a chip, the engine may take 26.3 GiB of 29.2 GiB"
    )


def test_the_data_hold_what_the_line_says() -> None:
    data = fit("Qwen3-235B-A22B", "910B 64 GB", shape="8", max_model_len=131072).to_json()
    assert (data["fits"], data["certain"], data["sequence_tokens"]) == (False, True, 131072)
    assert data["binding"].startswith("KV cache: one sequence of 131072 tokens needs 5.9 GiB a chip, ")
    assert data["per_chip"]["margin_bytes"] < 0


@pytest.mark.parametrize(
    ("scaling", "longest"),
    [
        (None, 32768),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131072),
        ({"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}, 163840),
        ({"rope_type": "linear", "factor": 2}, 65536),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 32768),
        ({"rope_type": "default"}, 32768),
        ({"rope_type": "dynamic", "factor": None}, 32768),
    ],
)
def test_the_longest_sequence_of_a_model(scaling: dict[str, Any] | None, longest: int) -> None:
    config = {"max_position_embeddings": 32768, "rope_scaling": scaling}
    assert read_shape(config).longest == longest


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_hidden_layers": "many", "hidden_size": None, "layer_types": [], "rope_scaling": "yes"},
        {"num_hidden_layers": 0, "num_attention_heads": 0, "hidden_size": 0, "vocab_size": 0},
        {"text_config": [], "num_experts": ["a", 4], "num_hidden_layers": True},
        {"num_hidden_layers": 2, "compress_ratios": [4, 128], "kv_lora_rank": 512},
    ],
)
def test_a_strange_configuration_is_no_error(config: dict[str, Any]) -> None:
    shape = read_shape(config)
    assert shape.cache is None
    assert shape.parts is None


def test_a_multimodal_model_is_read_one_level_down() -> None:
    nested = read_shape({"text_config": CONFIGS["Qwen3-8B"], "vision_config": {"num_hidden_layers": 99}})
    assert nested == read_shape(CONFIGS["Qwen3-8B"])


def test_a_setting_beyond_all_measure_counts_as_not_written() -> None:
    plain, beyond = (
        fit("Qwen3-14B", "910B4 32 GB", max_model_len=4096, cpu_offload_gb=size) for size in (0, 1e299)
    )
    assert beyond == plain
