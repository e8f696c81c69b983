from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simvllm.flags import ArgumentsError, load_flags, parse_arguments, readable_integer
from simvllm.generation import TextSoFar
from simvllm.language import Language, corpus, load_language, save_language, train
from simvllm.ngram import most_likely
from simvllm.protocol import Sampling
from simvllm.sampling import choose

REPOSITORY = Path(__file__).resolve().parents[3]
FLAGS = REPOSITORY / "npuctl/data/vllm/flags.json"
LANGUAGE = train(corpus(REPOSITORY / "sandbox/images/sim-vllm/corpus.txt"))
TOKENS = st.integers(0, len(LANGUAGE.tokenizer) - 1)
TEXT = st.text(st.characters(codec="utf-8"))


def chance() -> random.Random:
    return random.Random(1)  # noqa: S311 - the same draws each time


def sampling(**changes: float) -> Sampling:
    values: dict[str, float] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0} | changes
    return Sampling(
        max_tokens=1, min_tokens=0, seed=None, stop=(), ignore_eos=False, count=1,
        temperature=values["temperature"], top_p=values["top_p"], top_k=int(values["top_k"]),
    )  # fmt: skip


@given(TEXT)
def test_any_text_survives_encode_and_decode(text: str) -> None:
    assert LANGUAGE.tokenizer.decode(LANGUAGE.tokenizer.encode(text)) == text


@given(st.lists(TOKENS, max_size=6))
def test_probabilities_after_any_tokens_sum_to_one_and_none_is_zero(tokens: list[int]) -> None:
    probabilities = LANGUAGE.model.after(tokens)
    assert len(probabilities) == len(LANGUAGE.tokenizer)
    assert sum(probabilities) == pytest.approx(1, abs=1e-9)
    assert min(probabilities) > 0


def test_every_token_has_a_label_of_its_own() -> None:
    labels = [LANGUAGE.tokenizer.label(token) for token in range(len(LANGUAGE.tokenizer))]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("2 + 2 =", " 4"), ("7 * 8 =", " 56"), ("The capital of France is", " Paris"), ("中国的首都是北", "京")],
)
def test_the_model_knows_what_it_was_taught(prompt: str, answer: str) -> None:
    probabilities = LANGUAGE.model.after(LANGUAGE.tokenizer.encode(prompt))
    assert LANGUAGE.tokenizer.decode(most_likely(probabilities, 1)) == answer


def test_a_saved_language_is_the_same_when_loaded(tmp_path: Path) -> None:
    save_language(LANGUAGE, tmp_path / "model.json")
    loaded: Language = load_language(tmp_path / "model.json")
    tokens = LANGUAGE.tokenizer.encode("A node is")
    assert loaded.tokenizer.pieces == LANGUAGE.tokenizer.pieces
    assert loaded.model.after(tokens) == LANGUAGE.model.after(tokens)


def test_greedy_takes_the_most_likely_token() -> None:
    assert choose([0.2, 0.5, 0.3], sampling(temperature=0), chance(), forbidden=None) == 1
    assert choose([0.2, 0.5, 0.3], sampling(temperature=0), chance(), forbidden=1) == 2


@pytest.mark.parametrize("changes", [{"top_k": 1}, {"top_p": 0.4}, {"temperature": 1e-9}])
def test_a_narrow_choice_leaves_only_the_most_likely_token(changes: dict[str, float]) -> None:
    draws = chance()
    assert {choose([0.2, 0.5, 0.3], sampling(**changes), draws, forbidden=None) for _ in range(30)} == {1}


@given(
    st.text(st.sampled_from("abc好"), max_size=30),
    st.lists(st.text(st.sampled_from("abc"), min_size=1, max_size=3), max_size=2),
)
def test_text_in_steps_is_the_text_before_the_first_stop_word(text: str, stops: list[str]) -> None:
    sofar, given_out = TextSoFar(tuple(stops)), ""
    stopped = None
    raw = text.encode()
    for place, value in enumerate(raw):
        new, stopped = sofar.add(bytes([value]), last=place == len(raw) - 1)
        given_out += new
        if stopped:
            break
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if ends:
        assert stopped
        assert text[: min(ends)].startswith(given_out)
        assert text[len(given_out) :].startswith(stopped)
    else:
        assert (given_out, stopped) == (text, None)


def test_flags_of_the_release_are_known_with_hyphens_underscores_and_equals() -> None:
    known = load_flags(FLAGS, "0.18.0")
    found = parse_arguments(
        ["/m", "--tensor_parallel_size=2", "-dp", "2", "--max-model-len", "8k", "--enforce-eager",
         "--served-model-name", "a", "b", "--no-enable-prefix-caching", "--additional-config", '{"x": 1}',
         "--additional-config.y.z", "2"],
        known,
    )  # fmt: skip
    assert found.model == "/m"
    assert found.number("--tensor-parallel-size", 1) == 2
    assert found.number("--data-parallel-size", 1) == 2
    assert found.number("--max-model-len", 0) == 8000
    assert found.values["--served-model-name"] == ["a", "b"]
    assert found.values["--enforce-eager"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--swap-space", "4"], "unrecognized arguments: --swap-space"),
        (["--foo=1", "/other"], "unrecognized arguments: --foo=1 /other"),
        (["--port", "x"], "argument --port: invalid int value: 'x'"),
        (["--port"], "argument --port: expected one argument"),
        (["--max-model-len", "8q"], "invalid human_readable_int"),
        (["--additional-config", "{"], "Value { cannot be converted"),
        (["--enforce-eager=1"], "ignored explicit argument '1'"),
    ],
)
def test_a_wrong_flag_is_refused_in_the_words_of_argparse(words: list[str], message: str) -> None:
    with pytest.raises(ArgumentsError, match=message.replace("{", r"\{")):
        parse_arguments(["/m", *words], load_flags(FLAGS, "0.18.0"))


def test_a_flag_that_went_is_known_to_the_releases_that_had_it() -> None:
    assert "--swap-space" in load_flags(FLAGS, "0.17.0")
    with pytest.raises(LookupError, match=r"9\.9"):
        load_flags(FLAGS, "9.9")


@pytest.mark.parametrize(
    ("text", "number"), [("8192", 8192), ("8k", 8000), ("8K", 8192), ("1.5k", 1500), ("auto", -1), ("-1", -1)]
)
def test_numbers_for_people_are_read(text: str, number: int) -> None:
    assert readable_integer(text) == number
