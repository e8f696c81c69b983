from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Sim, Starter

PROMPT = "A node is"


def test_the_served_names_and_the_context_are_told(sim: Sim) -> None:
    models = sim.get("/v1/models")["data"]
    assert [(model["id"], model["max_model_len"]) for model in models] == [("tiny", 256), ("little", 256)]
    assert sim.get("/version") == {"version": "0.18.0"}
    assert sim.ask("GET", "/health") == (200, b"")
    assert sim.ask("GET", "/ping") == (200, b"")


def test_echoed_logprobs_are_of_every_token_and_add_up(sim: Sim) -> None:
    text = "The server 启动 naïvely."
    answer = sim.post("/v1/completions", {"prompt": text, "max_tokens": 0, "echo": True, "logprobs": 1})
    logprobs = answer["choices"][0]["logprobs"]
    assert answer["choices"][0]["text"] == text
    assert len(logprobs["tokens"]) == len(logprobs["token_logprobs"]) == answer["usage"]["prompt_tokens"]
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    tokens = sim.post("/tokenize", {"prompt": text})["tokens"]
    steps = [
        sim.post(
            "/v1/completions", {"prompt": [tokens[: place + 1]], "max_tokens": 0, "echo": True, "logprobs": 0}
        )
        for place in range(1, len(tokens))
    ]
    single = [step["choices"][0]["logprobs"]["token_logprobs"][-1] for step in steps]
    assert sum(logprobs["token_logprobs"][1:]) == pytest.approx(sum(single))
    assert all(value < 0 for value in logprobs["token_logprobs"][1:])
    starts = [text[start:] for start in logprobs["text_offset"]]
    whole = [label for label in logprobs["tokens"] if not label.startswith("<0x")]
    assert all(any(start.startswith(label) for start in starts) for label in whole)


def test_greedy_logprobs_are_the_highest_ones(sim: Sim) -> None:
    body = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "logprobs": 5}
    logprobs = sim.post("/v1/completions", body)["choices"][0]["logprobs"]
    for token, value, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert len(top) == 5
        assert top[token] == value == max(top.values())
        assert sum(map(math.exp, top.values())) <= 1 + 1e-9


@pytest.mark.parametrize(
    "extra", [{}, {"echo": True, "logprobs": 2}, {"stop": ["e", " the"]}, {"n": 2, "ignore_eos": True}]
)
def test_a_stream_gives_what_the_whole_answer_gives(sim: Sim, extra: dict[str, Any]) -> None:
    body = {"model": "tiny", "prompt": [PROMPT, "集群"], "max_tokens": 12, "seed": 7, **extra}
    whole = sim.post("/v1/completions", body)
    chunks = sim.stream("/v1/completions", body | {"stream_options": {"include_usage": True}})
    assert chunks.pop()["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [part for chunk in chunks for part in chunk["choices"] if part["index"] == choice["index"]]
        assert "".join(part["text"] for part in own) == choice["text"]
        assert own[-1]["finish_reason"] == choice["finish_reason"]
        if "logprobs" in extra:
            streamed = [value for part in own for value in part["logprobs"]["token_logprobs"]]
            assert streamed == choice["logprobs"]["token_logprobs"]


def test_a_chat_streams_what_it_answers(sim: Sim) -> None:
    body = {
        "model": "little",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 20,
        "seed": 3,
    }
    whole = sim.post("/v1/chat/completions", body | {"logprobs": True, "top_logprobs": 2})
    choice = whole["choices"][0]
    chunks = sim.stream("/v1/chat/completions", body)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert (whole["object"], chunks[0]["object"]) == ("chat.completion", "chat.completion.chunk")
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta["content"] for delta in deltas) == choice["message"]["content"]
    assert len(choice["logprobs"]["content"]) == whole["usage"]["completion_tokens"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in choice["logprobs"]["content"])


def test_a_seed_repeats_a_text_and_another_changes_it(sim: Sim) -> None:
    texts = [
        sim.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 30, "seed": seed, "ignore_eos": True})[
            "choices"
        ][0]["text"]
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_generation_ends_at_stop_words_at_the_end_and_at_the_limit(sim: Sim) -> None:
    body = {"prompt": "The capital of France", "temperature": 0, "max_tokens": 20}
    whole = sim.post("/v1/completions", body)["choices"][0]
    assert (whole["text"], whole["finish_reason"], whole["stop_reason"]) == (" is Paris.", "stop", None)
    stopped = sim.post("/v1/completions", body | {"stop": "Par"})["choices"][0]
    assert (stopped["text"], stopped["finish_reason"], stopped["stop_reason"]) == (" is ", "stop", "Par")
    short = sim.post("/v1/completions", body | {"max_tokens": 1})["choices"][0]
    assert (short["text"], short["finish_reason"]) == (" is", "length")
    long = sim.post("/v1/completions", body | {"ignore_eos": True})
    assert long["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize("text", ["", "plain", " 你好 \n\t\r\0 <|im_end|> 🙂"])
def test_detokenize_undoes_tokenize(sim: Sim, text: str) -> None:
    answer = sim.post("/tokenize", {"prompt": text})
    assert answer["count"] == len(answer["tokens"])
    assert sim.post("/detokenize", {"tokens": answer["tokens"]}) == {"prompt": text}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/completions", {"model": "big", "prompt": "x"}, 404, "The model `big` does not exist."),
        ("/v1/completions", {"prompt": "x", "max_tokens": 256}, 400, "maximum context length is 256 tokens"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 0}, 400, "max_tokens must be at least 1"),
        ("/v1/completions", {"prompt": "x", "max_tokens": "many"}, 400, "valid integer"),
        ("/v1/completions", {"prompt": "x", "temperature": -1}, 400, "temperature must be non-negative"),
        ("/v1/completions", {"prompt": "x", "top_p": 0}, 400, "top_p must be in (0, 1]"),
        ("/v1/completions", {"prompt": "x", "logprobs": 21}, 400, "greater than max allowed: 20"),
        ("/v1/completions", {"prompt": "x", "stream_options": {"include_usage": True}}, 400, "stream=True"),
        ("/v1/completions", {"prompt": [10**6]}, 400, "out of vocabulary"),
        ("/v1/completions", {"prompt": ""}, 400, "cannot be empty"),
        ("/v1/completions", {}, 400, "Field required"),
        ("/v1/completions", "{bad", 400, "JSON decode error"),
        ("/v1/completions", "[1]", 400, "valid dictionary"),
        ("/v1/chat/completions", {"model": "tiny"}, 400, "Field required"),
        ("/v1/chat/completions", {"messages": [{}]}, 400, "Field required"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user"}], "top_logprobs": 1},
            400,
            "must be set to true",
        ),
        ("/detokenize", {}, 400, "Field required"),
    ],
)
def test_a_wrong_request_is_refused_with_a_reason(
    sim: Sim, path: str, body: object, status: int, words: str
) -> None:
    error = sim.post(path, body, status=status)["error"]
    assert words in error["message"]
    assert error["code"] == status
    assert error.keys() == {"message", "type", "param", "code"}


def test_paths_and_methods_that_are_not_there_are_refused(sim: Sim) -> None:
    assert sim.ask("GET", "/v1/nothing")[0] == 404
    assert sim.ask("GET", "/v1/completions")[0] == 405
    assert sim.ask("POST", "/health", {})[0] == 405


def test_metrics_count_what_was_sent(start: Starter) -> None:
    sim = start("--served-model-name", "m")
    tokens = list(range(300, 340))
    for limit in (1, 4, 4):
        sim.post("/v1/completions", {"prompt": tokens, "max_tokens": limit, "ignore_eos": True})
    sim.stream("/v1/completions", {"prompt": [tokens, tokens], "max_tokens": 3, "ignore_eos": True})
    assert sim.metric("prompt_tokens_total", model_name="m", engine="0") == 5 * 40
    assert sim.metric("generation_tokens_total") == 1 + 4 + 4 + 3 + 3
    assert sim.metric("request_success_total", finished_reason="length") == 5
    assert sim.metric("request_success_total", finished_reason="stop") == 0
    assert sim.metric("num_requests_running") == sim.metric("num_requests_waiting") == 0
    assert sim.metric("time_to_first_token_seconds_count") == 5
    assert sim.metric("inter_token_latency_seconds_count") == 15 - 5
    assert sim.metric("request_prompt_tokens_sum") == 200
    assert sim.metric("request_prompt_tokens_bucket", le="50.0") == 5
    assert sim.metric("request_prompt_tokens_bucket", le="20.0") == 0
    assert sim.metric("iteration_tokens_total_sum") == 200 + 15
    assert sim.metric("prefix_cache_queries_total") == 200
    assert sim.metric("prefix_cache_hits_total") == 4 * 32
    assert sim.metric("e2e_request_latency_seconds_bucket", le="+Inf") == 5


def test_the_key_guards_v1_and_nothing_else(start: Starter) -> None:
    sim = start(VLLM_API_KEY="sesame", SIM_VLLM_RELEASE="0.23.0")
    body = {"prompt": "x", "max_tokens": 1}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sesame"}):
        status, data = sim.ask("POST", "/v1/completions", body, **headers)
        assert (status, json.loads(data)) == (401, {"error": "Unauthorized"})
    assert sim.ask("POST", "/v1/completions", body, Authorization="Bearer sesame")[0] == 200
    assert sim.health() == 200
    assert sim.ask("POST", "/tokenize", {"prompt": "x"})[0] == 200


def test_sixty_four_requests_at_once_are_answered(start: Starter) -> None:
    sim = start("--max-num-seqs", "16", "--disable-log-stats", SIM_VLLM_SECONDS_PER_TOKEN="0.002")
    with ThreadPoolExecutor(64) as pool:
        body = {"prompt": PROMPT, "max_tokens": 8, "ignore_eos": True}
        answers = list(pool.map(lambda _: sim.post("/v1/completions", body), range(64)))
    assert [answer["usage"]["completion_tokens"] for answer in answers] == [8] * 64
    assert sim.ask("GET", "/metrics") == (200, b"")
