"""Specs that nobody thought of: read or refused, written and read again, hashed."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from npuctl.facts.model import ClusterFacts, ContainerFacts, FileFacts, NodeFacts, Unreachable
from npuctl.plan.model import File, config_hash
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import KEY, SpecError, parse_cluster
from npuctl.spec.schema import cluster_schema
from tests.making import cluster_text, node, service_data

SCHEMA = jsonschema.Draft202012Validator(cluster_schema())
WORDS = st.text(
    alphabet=st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="{}%#\x85\ufeff\ufffe\uffff"),
    min_size=1,
    max_size=12,
)
NUMBERS = st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False, width=32)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
PATHS = st.from_regex(r"/[a-z0-9._-]{1,8}(/[a-z0-9_-]{1,8})?", fullmatch=True).filter(
    lambda path: ".." not in path.split("/")
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def written(draw: st.DrawFn) -> str:
    """A cluster.yml without a mistake."""
    size = draw(st.sampled_from([1, 2, 4]))
    options: dict[str, st.SearchStrategy[Any]] = {
        "replicas": st.integers(1, 4),
        "port": st.integers(1, 65535),
        "image": WORDS,
        "chips": st.permutations(range(16)).map(lambda order: order[: size * 2]),
        "env": st.dictionaries(
            st.from_regex(r"[A-Z_]{1,6}", fullmatch=True), WORDS | NUMBERS | st.booleans(), max_size=3
        ),
        "args": st.dictionaries(
            st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True),
            WORDS
            | NUMBERS
            | st.booleans()
            | st.none()
            | st.lists(NUMBERS | WORDS, max_size=3)
            | st.dictionaries(WORDS, JSON, max_size=3),
            max_size=3,
        ),
        "mounts": st.lists(
            st.tuples(PATHS, PATHS, st.sampled_from(["", ":ro", ":rw"])).map(
                lambda m: f"{m[0]}:{m[1]}{m[2]}"
            ),
            max_size=2,
        ),
        "cache": PATHS,
        "shm_gib": st.integers(1, 2048),
        "api_key": st.just({"secret": "key"}),
        "model": st.builds(
            lambda name, source: {"id": name, "source": source},
            WORDS,
            st.sampled_from(["modelscope", "huggingface"]),
        ),
        "hosts": NAMES | st.lists(WORDS, min_size=1, max_size=3),
    }
    own = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        chosen = draw(st.sets(st.sampled_from(sorted(options))))
        changes = {key: draw(options[key]) for key in sorted(chosen)}
        own.append(service_data(name, topology={"tensor_parallel": size}, **changes))
    return cluster_text(*own, name=draw(NAMES))


@given(written())
@settings(max_examples=60)
def test_a_spec_that_is_written_and_read_again_is_the_same(text: str) -> None:
    spec = parse_cluster(text, file="f")
    again = yaml.safe_dump({KEY: spec.model_dump(mode="json", by_alias=True)}, allow_unicode=True)
    assert parse_cluster(again, file="f") == spec
    short = yaml.safe_dump({KEY: spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)})
    assert parse_cluster(short, file="f") == spec


@given(written())
def test_what_the_parser_takes_the_schema_takes(text: str) -> None:
    SCHEMA.validate(yaml.safe_load(text))


@given(st.text(max_size=200))
@settings(max_examples=200)
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


def read_or_refuse(text: str) -> ClusterSpec | None:
    try:
        return parse_cluster(text, file="f")
    except SpecError as error:
        refusal = error
    assert refusal.problems
    assert all(problem.where.startswith("f") and problem.message for problem in refusal.problems)
    json.dumps(refusal.as_data())
    return None


@given(written(), st.data())
@settings(max_examples=120)
def test_a_damaged_spec_is_read_or_refused(text: str, data: st.DataObject) -> None:
    lines = text.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    marks = st.sampled_from(
        [
            "- ",
            "  ",
            "\t",
            ":",
            "{",
            "}",
            "[",
            "]",
            "&a ",
            "*a ",
            "!!int ",
            "!!set ",
            "? ",
            "|",
            "'",
            "2024-99-99",
            "0x_",
            "!!bool ",
        ]
    )
    match data.draw(st.sampled_from(["delete", "double", "mark", "swap"])):
        case "delete":
            del lines[at]
        case "double":
            lines.insert(at, lines[at])
        case "mark":
            column = data.draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:column] + data.draw(marks) + lines[at][column:]
        case _:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    read_or_refuse("\n".join(lines))


ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=6) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "services", "model", "env", "args", "hosts", "x", "topology"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(ANYTHING)
@settings(max_examples=150)
def test_any_yaml_below_our_key_is_read_or_refused(value: object) -> None:
    read_or_refuse(yaml.safe_dump({KEY: value}, allow_unicode=True))


@given(st.dictionaries(st.sampled_from(sorted(service_data())), ANYTHING, min_size=1, max_size=3))
@settings(max_examples=150)
def test_a_service_with_any_value_is_read_or_refused(changes: dict[str, Any]) -> None:
    read_or_refuse(yaml.safe_dump({KEY: {"name": "prod", "services": [service_data() | changes]}}))


KEYS = st.sampled_from("abcdef")
CONTAINERS = st.dictionaries(
    KEYS,
    st.recursive(
        NUMBERS | WORDS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=5,
    ),
    min_size=1,
    max_size=4,
)


def turned(value: Any) -> Any:
    """The same with every mapping's keys in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(inner) for key, inner in reversed(value.items())}
    return [turned(inner) for inner in value] if isinstance(value, list) else value


@given(CONTAINERS)
def test_the_hash_does_not_know_the_order_of_keys(container: dict[str, Any]) -> None:
    assert config_hash(container, ()) == config_hash(turned(container), ())


@given(CONTAINERS, CONTAINERS)
def test_the_hash_changes_when_anything_changes(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (config_hash(one, ()) == config_hash(other, ())) is same


FILES = st.builds(
    File,
    path=PATHS,
    mode=st.sampled_from(["0600", "0640"]),
    owner=st.sampled_from(["root:root", "a:b"]),
    sha256=st.sampled_from(["", "x", "y"]),
)


@given(FILES, FILES)
def test_the_hash_knows_every_file(one: File, other: File) -> None:
    same = (one.path, one.mode, one.owner, one.sha256) == (other.path, other.mode, other.owner, other.sha256)
    assert (config_hash({}, (one,)) == config_hash({}, (other,))) is same
    assert config_hash({}, (one,)) != config_hash({}, ())


@given(
    st.builds(
        ContainerFacts,
        name=WORDS,
        id=WORDS,
        image=WORDS,
        state=WORDS,
        spec=st.text(max_size=20),
        port=st.integers(0, 65535),
    ),
    st.dictionaries(
        WORDS,
        st.builds(FileFacts, kind=st.sampled_from(["file", "directory"]), mode=WORDS, owner=WORDS),
        max_size=3,
    ),
    WORDS,
)
def test_facts_survive_their_file(
    container: ContainerFacts, files: dict[str, FileFacts], reason: str
) -> None:
    own: NodeFacts = node("a3", containers=[container], files=files)
    facts = ClusterFacts(nodes={"a": own}, unreachable={"b": Unreachable(reason=reason)})
    assert ClusterFacts.model_validate_json(facts.model_dump_json(by_alias=True)) == facts
    assert (
        ClusterFacts.model_validate_json(facts.model_dump_json(by_alias=True, exclude_defaults=True)) == facts
    )
