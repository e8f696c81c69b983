"""The engine vllm: flags by release, environment by release, dtype by product."""

from __future__ import annotations

import json
from typing import Any

import pytest

from npuctl.engines import vllm
from npuctl.engines._contract import Seat, SpecProblem
from npuctl.engines._vllm_tables import FlagAnswer, flag_answer, vllm_versions
from npuctl.engines.vllm import ENGINE
from npuctl.hardware.catalog import A2, A3, ATLAS_310P, Product
from tests.making import service


def problems(**changes: Any) -> list[SpecProblem]:
    return ENGINE.problems(service(**changes))


def seat(product: Product = A2, *chips: int, port: int = 8000) -> Seat:
    return Seat("node-1", product, chips or (0,), port)


def argv(product: Product = A2, **changes: Any) -> list[str]:
    return list(ENGINE.launch(service(**changes), seat(product)).argv)


def env(*chips: int, **changes: Any) -> dict[str, str]:
    return ENGINE.launch(service(**changes), seat(A2, *chips)).env


def test_the_plain_command_line() -> None:
    assert argv() == [
        *("vllm", "serve", "/data/models/Qwen3-0.6B"),
        *("--served-model-name", "Qwen/Qwen3-0.6B", "--host", "0.0.0.0", "--port", "8000"),  # noqa: S104
        *("--tensor-parallel-size", "1"),
    ]


def test_the_shape_is_written_where_it_is_not_one() -> None:
    shape = {"tensor_parallel": 2, "pipeline_parallel": 3, "data_parallel": 4, "expert_parallel": True}
    assert argv(topology=shape)[9:] == [
        *("--tensor-parallel-size", "2", "--pipeline-parallel-size", "3", "--data-parallel-size", "4"),
        "--enable-expert-parallel",
    ]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max-model-len": 4096}, ["--max-model-len", "4096"]),
        ({"max_model_len": 4096}, ["--max-model-len", "4096"]),
        ({"--max-model-len": 4096}, ["--max-model-len", "4096"]),
        ({"gpu-memory-utilization": 0.9}, ["--gpu-memory-utilization", "0.9"]),
        ({"enforce-eager": True}, ["--enforce-eager"]),
        ({"enforce-eager": None}, ["--enforce-eager"]),
        ({"enable-prefix-caching": False}, ["--no-enable-prefix-caching"]),
        ({"no-enable-prefix-caching": True}, ["--no-enable-prefix-caching"]),
        ({"additional-config": {"a": {"b": "ü"}}}, ["--additional-config", '{"a": {"b": "ü"}}']),
        ({"compilation-config.level": 3}, ["--compilation-config.level", "3"]),
        ({"allowed-origins": ["a", 1]}, ["--allowed-origins", "a", "1"]),
        ({"chat-template": "a b;$(c)"}, ["--chat-template", "a b;$(c)"]),
    ],
)
def test_an_argument_is_written_as_vllm_spells_it(args: dict[str, Any], words: list[str]) -> None:
    assert problems(args=args) == []
    assert argv(args=args)[9 + 2 :] == words


@pytest.mark.parametrize("flag", sorted(vllm._OWN_FLAGS))
@pytest.mark.parametrize(
    "spelling", [lambda f: f, lambda f: f[2:], lambda f: f[2:].replace("-", "_")], ids=["--a-b", "a-b", "a_b"]
)
def test_what_npuctl_writes_itself_is_refused(flag: str, spelling: Any) -> None:
    (problem,) = problems(args={spelling(flag): 1})
    assert problem.key == f"args.{spelling(flag)}"
    assert problem.message == f"npuctl writes {flag} itself"
    assert problem.hint.startswith("set ")


def test_the_negation_of_an_own_flag_is_refused_too() -> None:
    (problem,) = problems(args={"no-enable-expert-parallel": True})
    assert "npuctl writes --enable-expert-parallel itself" in problem.message


def test_every_flag_that_npuctl_writes_is_refused_in_args() -> None:
    shape = {"tensor_parallel": 2, "pipeline_parallel": 2, "data_parallel": 2, "expert_parallel": True}
    written = {word for word in argv(topology=shape) if word.startswith("--")}
    assert written <= set(vllm._OWN_FLAGS)


def test_one_flag_in_two_spellings_is_refused() -> None:
    """Both would be written, and the engine would take one of them in silence."""
    assert problems(args={"max-model-len": 1, "max_model_len": 2})


@pytest.mark.parametrize(
    ("version", "flag", "message", "hint"),
    [
        ("v0.18.0", "max-model-lenn", "has no --max-model-lenn", "did you mean --max-model-len?"),
        ("v0.18.0", "zzzzzzzzzzz", "has no --zzzzzzzzzzz", "no sampled release has it"),
        ("v0.18.0", "device", "has no --device", "it was last seen in vLLM 0.9.1; take it out"),
        ("v0.9.1", "all2all-backend", "has no --all2all-backend", "it came with vLLM 0.12.0"),
        ("v0.18.0", "no-max-model-lenn", "has no --no-max-model-lenn", ""),
        ("v0.18.0", "additional-confg.a.b", "has no --additional-confg", "did you mean --additional-config?"),
    ],
)
def test_a_flag_that_the_release_does_not_have(version: str, flag: str, message: str, hint: str) -> None:
    (problem,) = problems(version=version, args={flag: 1})
    assert problem.key == f"args.{flag}"
    assert message in problem.message
    assert hint in problem.hint
    assert version in problem.message


def test_a_flag_that_the_samples_disagree_about_is_let_through() -> None:
    """v0.16.0 lies between 0.13.0 and 0.17.0: --disable-log-requests is in one and not in the other."""
    assert flag_answer("--disable-log-requests", "0.16.0").known is None
    assert problems(version="v0.16.0rc1", args={"disable-log-requests": True}) == []


@pytest.mark.parametrize(
    ("flag", "version", "known"),
    [
        ("--device", "0.7.3", True),
        ("--device", "0.9.1", True),
        ("--device", "0.9.2", None),
        ("--device", "0.10.2", False),
        ("--all2all-backend", "0.11.0", False),
        ("--all2all-backend", "0.12.0", True),
        ("--all2all-backend", "0.11.5", None),
        ("--max-model-len", "0.1.0", True),
        ("--max-model-len", "99.0", True),
        ("--device", "99.0", False),
        ("--nothing", "0.18.0", False),
    ],
)
def test_the_table_says_yes_no_or_unknown(flag: str, version: str, known: bool | None) -> None:  # noqa: FBT001
    assert flag_answer(flag, version).known is known


def test_an_unknown_flag_has_no_first_and_last() -> None:
    assert flag_answer("--nothing", "0.18.0") == FlagAnswer(known=False)
    assert flag_answer("--device", "0.18.0") == FlagAnswer(known=False, first="0.7.3", last="0.9.1")


def test_versions_are_compared_as_numbers() -> None:
    assert flag_answer("--cuda-graph-sizes", "0.10.2").known is True
    assert flag_answer("--cuda-graph-sizes", "0.13.0").known is False


@pytest.mark.parametrize(
    ("release", "versions"),
    [
        ("v0.18.0", ["0.18.0"]),
        ("v0.11.0rc0", ["0.11.0rc3"]),
        ("v0.10.1rc1", ["0.10.1", "0.10.1.1"]),
        ("v9", None),
    ],
)
def test_a_release_stands_for_versions_of_vllm(release: str, versions: list[str] | None) -> None:
    assert vllm_versions(release) == versions


def test_an_unknown_release_gets_the_nearest() -> None:
    (problem,) = problems(version="v0.18.1")
    assert problem.key == "version"
    assert "v0.18.0" in problem.hint


def test_a_replica_over_nodes_is_refused_for_now() -> None:
    (problem,) = problems(topology={"nodes_per_replica": 2})
    assert problem.key == "topology.nodes_per_replica"


@pytest.mark.parametrize(
    ("version", "value"),
    [
        ("v0.7.3", "max_split_size_mb:256"),
        ("v0.11.0rc0", "max_split_size_mb:256"),
        ("v0.13.0rc3", "max_split_size_mb:256"),
        ("v0.14.0rc1", "expandable_segments:True"),
        ("v0.18.0", "expandable_segments:True"),
        ("v0.23.0", "expandable_segments:True"),
    ],
)
def test_the_allocator_by_release(version: str, value: str) -> None:
    assert env(version=version)["PYTORCH_NPU_ALLOC_CONF"] == value


def test_the_ports_of_hccl_do_not_meet() -> None:
    assert "HCCL_IF_BASE_PORT" not in env(0)
    first, second = (int(env(*chips)["HCCL_IF_BASE_PORT"]) for chips in ((0, 1), (2, 3)))
    assert second - first >= 16
    assert int(env(14, 15)["HCCL_IF_BASE_PORT"]) + 16 * 2 < 65536


def test_the_hub_is_named_only_without_a_path() -> None:
    assert "VLLM_USE_MODELSCOPE" not in env(0)
    assert env(0, model={"id": "m", "source": "modelscope"})["VLLM_USE_MODELSCOPE"] == "True"
    assert env(0, model={"id": "m", "source": "huggingface"})["VLLM_USE_MODELSCOPE"] == "False"


def test_the_users_environment_comes_last_and_as_text() -> None:
    made = env(0, env={"A": 1, "B": True, "C": 0.5, "PYTORCH_NPU_ALLOC_CONF": "x"})
    assert (made["A"], made["B"], made["C"], made["PYTORCH_NPU_ALLOC_CONF"]) == ("1", "True", "0.5", "x")


@pytest.mark.parametrize("dtype", [None, "auto"])
def test_a_310p_gets_float16(dtype: str | None) -> None:
    changes: dict[str, Any] = {"args": {"dtype": dtype}} if dtype else {}
    words = argv(ATLAS_310P, **changes)
    assert words.count("--dtype") == 1
    assert words[words.index("--dtype") + 1] == "float16"


@pytest.mark.parametrize(
    ("product", "dtype", "refused"),
    [
        (ATLAS_310P, "bfloat16", True),
        (ATLAS_310P, "float16", False),
        (ATLAS_310P, "auto", False),
        (A2, "bfloat16", False),
        (A3, "float32", False),
    ],
    ids=str,
)
def test_a_dtype_that_a_product_does_not_compute_is_refused(
    product: Product,
    dtype: str,
    refused: bool,  # noqa: FBT001
) -> None:
    own = service(args={"dtype": dtype})
    found = ENGINE.seat_problems(own, seat(product))
    assert bool(found) is refused
    assert ENGINE.seat_problems(service(), seat(product)) == []


def test_a_dtype_of_the_user_is_written_once() -> None:
    words = argv(ATLAS_310P, args={"dtype": "float16"})
    assert words.count("--dtype") == 1


def test_the_weights_and_the_cache_are_mounted() -> None:
    launch = ENGINE.launch(service(cache="/c", mounts=["/a:/b"]), seat())
    assert launch.mounts == ("/data/models/Qwen3-0.6B:/data/models/Qwen3-0.6B:ro", "/c:/root/.cache", "/a:/b")
    hub = ENGINE.launch(service(model={"id": "org/m", "source": "huggingface"}), seat())
    assert hub.mounts == ("/root/.cache:/root/.cache",)
    assert hub.argv[2] == "org/m"


def test_the_api_key_travels_as_a_secret() -> None:
    launch = ENGINE.launch(service(api_key={"secret": "k"}, secret_env={"HF_TOKEN": {"secret": "t"}}), seat())
    assert launch.secret_env == {"HF_TOKEN": "t", "VLLM_API_KEY": "k"}
    assert "--api-key" not in launch.argv


def test_one_token_is_asked_for() -> None:
    probe = ENGINE.token_probe(service())
    assert (probe.alive_path, probe.token_path, probe.failing_status) == ("/health", "/v1/completions", 503)
    assert probe.body["max_tokens"] == 1
    assert probe.body["model"] == "Qwen/Qwen3-0.6B"
    json.dumps(probe.body)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("not both", {"env": {"PYTORCH_NPU_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:256"}}),
    ("not both", {"env": {"PYTORCH_NPU_ALLOC_CONF": "garbage_collection_threshold:0.8,expandable_segments:True"}}),
    ("memory pool", {"args": {"enable-sleep-mode": True}}),
    ("chunked prefill", {"args": {"no-enable-chunked-prefill": None, "max-num-batched-tokens": 2048, "max-model-len": "4k"}}),
    ("chunked prefill", {"args": {"enable_chunked_prefill": False, "max_num_batched_tokens": "2048", "max-model-len": 4096}}),
    ("below max-num-seqs", {"args": {"max-num-batched-tokens": 64, "max-num-seqs": 128}}),
    ("starts no API server", {"args": {"headless": True, "api-server-count": 2}}),
    ("pipeline parallelism only", {"args": {"additional-config": {"profiling_chunk_config": {"enabled": True}}}}),
    ("pipeline parallelism only", {"args": {"additional-config": '{"profiling_chunk_config": {"enabled": true}}'}}),
    ("pipeline parallelism only", {"args": {"additional-config.profiling_chunk_config.enabled": True}}),
    ("does not work with pipeline", {"args": {"additional-config": {"xlite_graph_config": {"enabled": True}}}, "topology": {"pipeline_parallel": 2}}),
    ("exclude each other", {"args": {"additional-config": {"enable_mc2_hierarchy_comm": True}}, "env": {"VLLM_ASCEND_ENABLE_FUSED_MC2": 1}}),
    ("dump_config", {"args": {"additional-config": {"dump_config": {}, "dump_config_path": "/x"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "changes"), REFUSED)
def test_a_combination_that_is_known_to_fail_is_refused(words: str, changes: dict[str, Any]) -> None:
    [problem] = problems(**changes)
    assert words in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"PYTORCH_NPU_ALLOC_CONF": "max_split_size_mb:256"}, "args": {"enable-sleep-mode": True}},
        {"version": "v0.13.0", "args": {"enable-sleep-mode": True}},
        {"args": {"enable-sleep-mode": False}},
        {"args": {"enable-chunked-prefill": True, "max-num-batched-tokens": 2048, "max-model-len": 4096}},
        {"args": {"no-enable-chunked-prefill": None, "max-num-batched-tokens": 4096, "max-model-len": 4096}},
        {"args": {"max-num-batched-tokens": 64}},
        {"args": {"headless": True}},
        {"args": {"additional-config": {"profiling_chunk_config": {"enabled": False}}}},
        {"args": {"additional-config": "not JSON"}},
    ],
)
def test_a_combination_that_works_is_not_refused(changes: dict[str, Any]) -> None:
    assert problems(**changes) == []


REMARKED: list[tuple[str, Product, dict[str, Any]]] = [
    ("no effect", A2, {"args": {"enforce-eager": True, "compilation-config": {"cudagraph_mode": "FULL"}}}),
    ("no effect", A2, {"args": {"enforce-eager": True, "compilation-config": '{"cudagraph_capture_sizes": [1]}'}}),
    ("removed in v0.12.0", A2, {"args": {"additional-config": {"ascend_scheduler_config": {"enabled": True}}}}),
    ("does not read VLLM_RPC_TIMEOUT", A2, {"version": "v0.23.0", "env": {"VLLM_RPC_TIMEOUT": 3600000}}),
    ("a second time", A2, {"env": {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}}),
    ("npugraph_ex", ATLAS_310P, {"args": {"additional-config.ascend_compilation_config.enable_npugraph_ex": True}}),
    ("at random", A2, {"args": {"kv-transfer-config": {"kv_connector": "MooncakeConnectorV1", "kv_port": "20001"}}}),
    ("at random", A3, {"args": {"kv-transfer-config": {"kv_connector": "MooncakeConnectorV1", "kv_port": 30000}}}),
]  # fmt: skip


@pytest.mark.parametrize(("words", "product", "changes"), REMARKED)
def test_what_starts_but_does_not_act_is_remarked(
    words: str, product: Product, changes: dict[str, Any]
) -> None:
    assert problems(**changes) == []
    [remark] = ENGINE.remarks(service(**changes), seat(product))
    assert words in remark.message


@pytest.mark.parametrize(
    ("product", "changes"),
    [
        (A2, {"args": {"enforce-eager": True, "compilation-config": {"cudagraph_mode": "NONE"}}}),
        (A2, {"args": {"enforce-eager": False, "compilation-config": {"cudagraph_mode": "FULL"}}}),
        (A2, {"version": "v0.11.0", "args": {"additional-config": {"ascend_scheduler_config": {}}}}),
        (A2, {"version": "v0.20.2rc1", "env": {"VLLM_RPC_TIMEOUT": 3600000}}),
        (A2, {"args": {"kv-transfer-config": {"kv_connector": "MooncakeConnectorV1", "kv_port": 30000}}}),
        (A3, {"args": {"kv-transfer-config": {"kv_connector": "LMCache", "kv_port": 30000}}}),
        (A2, {"args": {"additional-config.ascend_compilation_config.enable_npugraph_ex": True}}),
    ],
)
def test_what_acts_as_written_is_not_remarked(product: Product, changes: dict[str, Any]) -> None:
    assert ENGINE.remarks(service(**changes), seat(product)) == []


def test_a_flag_that_fails_on_one_product_is_refused_there() -> None:
    asked = service(args={"additional-config": {"enable_mc2_hierarchy_comm": True}})
    assert ENGINE.seat_problems(asked, seat(A3)) == []
    [problem] = ENGINE.seat_problems(asked, seat(ATLAS_310P))
    assert "NotImplementedError" in problem.message


@pytest.mark.parametrize(
    ("written", "tokens"),
    [(4096, 4096), ("4096", 4096), ("4k", 4000), ("4K", 4096), ("1.5k", 1500), ("auto", None), (True, None)],
)
def test_a_length_is_read_as_vllm_reads_it(written: object, tokens: int | None) -> None:
    wish = ENGINE.memory(service(args={"max-model-len": written}), seat())
    assert wish.longest == tokens


@pytest.mark.parametrize(
    ("args", "share"),
    [
        ({}, 0.9),
        ({"gpu-memory-utilization": 0.95}, 0.95),
        ({"gpu_memory_utilization": "0.8"}, 0.8),
        ({"gpu-memory-utilization": 7}, 0.9),
        ({"gpu-memory-utilization": "much"}, 0.9),
    ],
)
def test_the_share_of_the_memory(args: dict[str, Any], share: float) -> None:
    assert ENGINE.memory(service(args=args), seat()).utilisation == share


def test_larger_buffers_of_hccl_leave_less() -> None:
    shape = {"tensor_parallel": 8}
    usual = ENGINE.memory(service(topology=shape), seat()).overhead_bytes
    large = ENGINE.memory(service(topology=shape, env={"HCCL_BUFFSIZE": 1024}), seat()).overhead_bytes
    alone = ENGINE.memory(service(), seat()).overhead_bytes
    assert alone < usual < large
