"""Weights: what each node lacks, who hands on to whom, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from npuctl.facts.setup import Setup, StoredFile, StoreFacts
from npuctl.plan.provision import weights
from npuctl.plan.provision._contract import Node, Wish, Work
from npuctl.plan.provision.weights_manifest import (
    FileEntry,
    Manifest,
    chosen,
    compare,
    format_of,
    needed,
    placed,
    read_manifest,
)
from npuctl.spec.models import Model
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text, node, service_data

PATH = "/data/models/M"
HUB = {"id": "o/m", "path": PATH, "source": "huggingface"}
SHARD, CONFIG = "model.safetensors", "config.json"
SUMS = {SHARD: "a" * 64, CONFIG: "b" * 64}
SIZES = {SHARD: 10**9, CONFIG: 100}
PLENTY = 10**12


def manifest(**more: Any) -> Manifest:
    files = {name: FileEntry(SIZES[name], SUMS[name]) for name in SUMS}
    return Manifest(**({"source": "huggingface", "name": "o/m", "files": files, "revision": "c" * 40} | more))


def noted(ours: Manifest | None = None, names: Mapping[str, str] = SUMS) -> dict[str, Any]:
    return {**(ours or manifest()).to_json(), "placed": sorted(names)}


def facts(
    sums: Mapping[str, str] | None = None, note: dict[str, Any] | None = None, **more: Any
) -> StoreFacts:
    files = {name: StoredFile(size=SIZES[name], sha256=sha256) for name, sha256 in (sums or {}).items()}
    return StoreFacts(**({"path": PATH, "files": files, "manifest": note, "free_bytes": PLENTY} | more))


WHOLE = facts(SUMS, noted())


def nodes(*stores: StoreFacts) -> list[Node]:
    return [
        Node(f"node-{number}", node(), Setup(stores={PATH: store})) for number, store in enumerate(stores, 1)
    ]


def wish(model: Mapping[str, Any] = HUB, *, count: int = 3, **more: Any) -> Wish:
    names = [f"node-{number}" for number in range(1, count + 1)]
    spec = parse_cluster(cluster_text(service_data(model=dict(model)), **more), file=FILE)
    return Wish(spec=spec, hosts={"chat": names}, nodes=names)


def work(store: StoreFacts, ours: Manifest | None = None, asked: Wish | None = None) -> Work:
    (found,) = weights.work(asked or wish(count=1), nodes(store), {PATH: ours or manifest()})
    return found


def ids(found: Work) -> list[str]:
    return [finding.id for finding in found.findings]


@pytest.mark.parametrize("model", [{"id": "o/m", "path": PATH}, {"id": "o/m", "source": "modelscope"}])
def test_local_weights_and_those_without_a_path_are_nobodys_affair(model: dict[str, Any]) -> None:
    assert weights.questions(wish(model)).stores == frozenset()
    assert weights.work(wish(model), []) == []


def test_the_folders_are_asked_for() -> None:
    assert weights.questions(wish()).stores == {PATH}


def test_a_node_that_has_everything_has_nothing_to_do() -> None:
    assert work(WHOLE).changes == ()
    (found,) = weights.work(wish(count=1), nodes(WHOLE))
    assert found.changes == ()


def test_before_the_source_was_asked_the_change_tells_what_is_wanted() -> None:
    (found,) = weights.work(wish(count=1), nodes(facts()))
    (change,) = found.changes
    assert (change.what, change.was, change.wanted) == (PATH, "absent", "o/m from o/m of Hugging Face")


@pytest.mark.parametrize(
    ("store", "was"),
    [
        (facts(), "absent"),
        (facts(partial={SHARD: 512 * 2**20}), "absent, 512 MiB have arrived"),
        (facts({CONFIG: SUMS[CONFIG]}, noted()), "1 of 2 files missing or different"),
        (facts({SHARD: "0" * 64, CONFIG: SUMS[CONFIG]}, noted()), "1 of 2 files missing or different"),
        (facts({SHARD: "", CONFIG: SUMS[CONFIG]}, noted()), "never verified"),
        (facts(SUMS), "without a manifest of ours, or with another"),
    ],
)
def test_what_a_node_lacks_is_said(store: StoreFacts, was: str) -> None:
    found = work(store)
    assert [change.was for change in found.changes] == [was]
    folder = {"path": PATH, "manifest": manifest().to_json()}
    assert found.variables == {"model_store_folders": [folder], "model_store_cluster": "prod"}
    assert found.findings == ()


def test_files_that_are_not_npuctls_and_differ_are_refused() -> None:
    found = work(facts({SHARD: "0" * 64, CONFIG: SUMS[CONFIG]}))
    assert ids(found) == ["provision.weights_foreign"]
    assert SHARD in found.findings[0].seen
    assert found.changes == ()


def test_of_a_folder_that_was_taken_over_only_npuctls_own_files_are_replaced() -> None:
    taken_over = noted(names={CONFIG: ""})
    assert ids(work(facts({SHARD: "0" * 64, CONFIG: SUMS[CONFIG]}, taken_over))) == [
        "provision.weights_foreign"
    ]
    assert ids(work(facts({SHARD: SUMS[SHARD], CONFIG: "0" * 64}, taken_over))) == []


def test_a_path_that_is_no_folder_is_refused() -> None:
    assert ids(work(facts(error="it is there and is no folder"))) == ["provision.weights_foreign"]


def test_a_disk_that_is_too_small_is_refused_with_its_numbers() -> None:
    found = work(facts(free_bytes=10**9))
    assert ids(found) == ["provision.weights_space"]
    assert "953.7 MiB" in found.findings[0].seen
    assert ids(work(facts(free_bytes=10**9, partial={SHARD: 9 * 10**8}))) == []


def test_another_revision_in_the_spec_asks_the_source_again() -> None:
    other = wish(HUB | {"revision": "v2"}, count=1)
    (found,) = weights.work(other, nodes(WHOLE))
    assert [change.wanted for change in found.changes] == ["o/m from o/m of Hugging Face"]


def test_a_branch_stays_at_the_commit_that_most_nodes_have() -> None:
    older = noted(manifest(revision="d" * 40))
    known = nodes(WHOLE, facts(SUMS, older), WHOLE)
    (store,) = weights.stores(wish())
    found = weights.noted_manifest(store, known)
    assert found is not None
    assert found.revision == "c" * 40


def test_two_models_in_one_folder_are_refused() -> None:
    spec = parse_cluster(
        cluster_text(service_data("a", model=HUB), service_data("b", port=9000, model=HUB | {"id": "o/n"})),
        file=FILE,
    )
    asked = Wish(spec=spec, hosts={"a": ["node-1"], "b": ["node-1"]}, nodes=["node-1"])
    assert [finding.id for finding in weights.conflicts(asked)] == ["provision.weights_conflict"]
    (found,) = weights.work(asked, nodes(facts()))
    assert "provision.weights_conflict" in ids(found)


def test_a_download_on_a_node_that_is_not_there_is_refused() -> None:
    asked = wish(model_store={"download_on": "node-9"})
    assert "node-9" in weights.conflicts(asked)[0].seen


def test_a_folder_here_that_changed_is_brought_again() -> None:
    model = {"id": "o/m", "path": PATH, "source": "path", "from": "m"}
    ours = manifest(source="path", name="m", revision="", seen={SHARD: (10**9, 5), CONFIG: (100, 5)})
    store = facts(SUMS, noted(ours))
    same = replace(wish(model, count=1), seen={PATH: {SHARD: (10**9, 5), CONFIG: (100, 5), "x.gguf": (1, 1)}})
    assert weights.work(same, nodes(store))[0].changes == ()
    newer = replace(same, seen={PATH: {SHARD: (10**9, 5), CONFIG: (100, 6)}})
    assert len(weights.work(newer, nodes(store))[0].changes) == 1


def test_a_folder_of_others_that_differs_in_size_is_refused_before_anything_was_hashed() -> None:
    model = {"id": "o/m", "path": PATH, "source": "path", "from": "m"}
    asked = replace(wish(model, count=1), seen={PATH: {SHARD: (7, 5), CONFIG: (100, 5)}})
    (found,) = weights.work(asked, nodes(facts({SHARD: "", CONFIG: ""})))
    assert ids(found) == ["provision.weights_foreign"]
    (ours,) = weights.work(asked, nodes(facts({SHARD: "", CONFIG: ""}, noted())))
    assert ids(ours) == []


def test_a_folder_here_without_safetensors_is_refused_before_any_node_is_asked() -> None:
    model = {"id": "o/m", "path": PATH, "source": "path", "from": "m"}
    asked = replace(wish(model, count=1), seen={PATH: {"x.ckpt": (1, 1)}})
    assert [finding.id for finding in weights.conflicts(asked)] == ["provision.weights_format"]
    converted = replace(
        wish(model | {"convert": ["mine", "{source}", "{target}"]}, count=1), seen={PATH: {"x.ckpt": (1, 1)}}
    )
    assert weights.conflicts(converted) == ()


def test_nodes_that_share_a_file_system_get_the_weights_once() -> None:
    shared = facts(filesystem="nfs4:fs:/models/M")
    found = weights.work(wish(), nodes(shared, shared, facts()), {PATH: manifest()})
    assert [entry.node for entry in found if entry.changes] == ["node-1", "node-3"]


def test_who_has_most_hands_on_first_and_not_all_that_have_everything_take_part() -> None:
    (store,) = weights.stores(wish(count=6))
    known = nodes(facts(), facts(partial={SHARD: 5 * 10**8}), WHOLE, WHOLE, WHOLE, facts())
    assert weights.chain(store, manifest(), known) == ["node-3", "node-4", "node-2", "node-1", "node-6"]
    assert weights.chain(store, manifest(), known, "node-6")[0] == "node-6"


def test_a_teardown_leaves_weights_unless_they_are_asked_for() -> None:
    kept = replace(wish(count=2), removing=True)
    assert weights.work(kept, nodes(WHOLE, facts())) == []
    (found,) = weights.work(replace(kept, remove=frozenset({"weights"})), nodes(WHOLE, facts()))
    given = {"model_store_paths": [PATH], "model_store_cluster": "prod"}
    assert (found.node, found.entry, found.variables) == ("node-1", "remove", given)


def test_a_teardown_leaves_weights_of_another_cluster() -> None:
    asked = replace(wish(count=2), removing=True, remove=frozenset({"weights"}))
    theirs = facts(SUMS, {**noted(), "cluster": "other"})
    ours = facts(SUMS, {**noted(), "cluster": "prod"})
    first, second = weights.work(asked, nodes(theirs, ours))
    assert (first.changes, first.variables) == ((), {})
    assert first.notes == (f"{PATH} was filled for cluster other: it stays",)
    assert (second.node, second.variables["model_store_paths"]) == ("node-2", [PATH])


def test_weights_that_another_cluster_filled_are_there_for_this_one_too() -> None:
    assert work(facts(SUMS, {**noted(), "cluster": "other"})).changes == ()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a.safetensors", "b.ckpt"], "safetensors"),
        (["b.ckpt", "config.json"], "checkpoint"),
        (["pytorch_model.bin"], "none"),
    ],
)
def test_the_kind_of_weights(names: list[str], kind: str) -> None:
    assert format_of(names) == kind


def test_the_same_weights_in_other_formats_stay_where_they_are() -> None:
    names = [
        "a.safetensors",
        "config.json",
        "tokenizer.model",
        "1_Pooling/config.json",
        "sparse.pt",
        "LICENSE",
    ]
    others = [
        "pytorch_model-1.bin",
        "original/c.00.pth",
        "m.gguf",
        "onnx/m.onnx",
        "tf_model.h5",
        ".gitattributes",
    ]
    assert needed([*names, *others]) == tuple(sorted(names))


def test_a_checkpoint_that_is_converted_is_fetched_whole() -> None:
    names = ["m.ckpt", "config.json", "../evil"]
    model = Model.model_validate(HUB | {"convert": ["mine"]})
    assert chosen(model, names) == ("config.json", "m.ckpt")


def test_a_manifest_comes_back_as_it_was_written() -> None:
    ours = manifest(asked="main", seen={SHARD: (1, 2)})
    assert read_manifest(ours.to_json()) == ours


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"files": []},
        {"files": {"../x": {"size": 1, "sha256": "a" * 64}}},
        {"files": {"x": {"size": 1, "sha256": "short"}}},
        {"files": {"x": {"size": "many", "sha256": "a" * 64}}},
        {"files": {"x": 5}},
        {"seen": {"x": [1]}},
        {"seen": 5},
    ],
)
def test_what_is_no_manifest_is_none(change: dict[str, Any]) -> None:
    assert read_manifest(manifest().to_json() | change) is None


def test_a_note_that_somebody_broke_makes_nothing_ours() -> None:
    assert placed(facts(note={"placed": 5})) == frozenset()
    assert placed(facts(note={"placed": [5, "x"]})) == {"x"}
    assert not compare(manifest(), facts(SUMS, {"schema": 1})).noted
