"""Where weights come from: a folder here, a hub, another machine, a conversion; each read once."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.setup import Setup, StoredFile, StoreFacts
from npuctl.operate.weights_origin import Fetcher, Origin, OriginError, list_here, seen_models
from npuctl.plan.provision._contract import Node, Wish
from npuctl.plan.provision.weights import stores
from npuctl.plan.provision.weights_manifest import Manifest
from npuctl.remote.transfer import LocalFolder
from npuctl.sandbox.tiny_model import tiny_model
from npuctl.spec.parse import SpecError, parse_cluster
from tests.hub import Fake, serving
from tests.making import FILE, cluster_text, inventory_of, node, service_data

PATH = "/data/models/M"
FILES = {name: file.content for name, file in tiny_model().items()}
SUMS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
CONVERT = """
import pathlib, sys
source, target = map(pathlib.Path, sys.argv[1:])
print("reading", source)
assert (source / "model.ckpt").is_file()
(target / "config.json").write_text("{}")
(target / "m.safetensors").write_bytes(b"\\x02\\0\\0\\0\\0\\0\\0\\0{}")
"""

Make = Callable[..., Fetcher]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "weights").mkdir()
    for name, data in FILES.items():
        (tmp_path / "weights" / name).write_bytes(data)

    def fetcher(model: dict[str, Any], nodes: Sequence[Node] = (), **more: Any) -> Fetcher:
        own = {"model_store": {"staging": str(tmp_path / "staging")}} | more
        full = {"id": "o/m", "path": PATH, **model}
        spec = parse_cluster(cluster_text(service_data(model=full), **own), file=FILE)
        inventory = inventory_of(tmp_path, spec, secrets={"hub": "canary-token"})
        wish = Wish(spec=spec, hosts={"chat": ["node-1"]}, nodes=["node-1"])
        return Fetcher(inventory, wish, nodes, TOLD.append)

    TOLD.clear()
    return fetcher


TOLD: list[str] = []
HERE = {"source": "path", "from": "weights"}


def origin(fetcher: Fetcher) -> Origin:
    (store,) = stores(fetcher.wish)
    return fetcher.origin(store)


def refused(fetcher: Fetcher) -> Any:
    with pytest.raises(OriginError) as caught:
        origin(fetcher)
    return caught.value.finding


def sums(manifest: Manifest) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in manifest.files.items()}


def node_with(manifest: Manifest) -> Node:
    files = {name: StoredFile(size=entry.size, sha256=entry.sha256) for name, entry in manifest.files.items()}
    facts = StoreFacts(path=PATH, files=files, manifest=manifest.to_json() | {"placed": sorted(files)})
    return Node("node-1", node(), Setup(stores={PATH: facts}))


def test_a_folder_here_is_read_once(make: Make, tmp_path: Path) -> None:
    found = origin(make(HERE))
    assert sums(found.manifest) == SUMS
    assert found.source == LocalFolder(tmp_path / "weights")
    assert any("reading 7 files" in line for line in TOLD)
    TOLD.clear()
    assert origin(make(HERE)).manifest == found.manifest
    assert origin(make(HERE, [node_with(found.manifest)])).manifest == found.manifest
    assert TOLD == []


def test_a_changed_file_is_noticed(make: Make, tmp_path: Path) -> None:
    first = origin(make(HERE)).manifest
    config = tmp_path / "weights" / "config.json"
    config.write_bytes(config.read_bytes().replace(b"2", b"3"))
    os.utime(config, (1, 1))
    second = origin(make(HERE)).manifest
    assert {name for name in SUMS if first.files[name] != second.files[name]} == {"config.json"}


def test_a_shard_that_is_cut_off_here_is_refused(make: Make, tmp_path: Path) -> None:
    shard = tmp_path / "weights" / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-10])
    finding = refused(make(HERE))
    assert finding.id == "provision.weights_source"
    assert "as its header says" in finding.seen


def test_links_as_hub_caches_have_them_are_followed_and_hidden_files_are_not_seen(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_bytes(b"{}")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").symlink_to("../blobs/abc")
    (tmp_path / "m" / "gone.json").symlink_to("../blobs/none")
    (tmp_path / "m" / ".cache").mkdir()
    (tmp_path / "m" / ".cache" / "x").write_bytes(b"x")
    assert {name: size for name, (size, _) in list_here(tmp_path / "m").items()} == {"config.json": 2}


def test_folders_that_are_not_here_are_all_said_before_a_node_is_asked(make: Make, tmp_path: Path) -> None:
    fetcher = make(HERE | {"from": "nowhere"})
    with pytest.raises(SpecError, match="nowhere is not a folder here"):
        seen_models(fetcher.inventory)
    assert set(seen_models(make(HERE).inventory)[PATH]) == set(FILES)


def test_a_hub_is_asked_once_and_kept_here(make: Make, tmp_path: Path) -> None:
    files = FILES | {"pytorch_model.bin": b"the same again"}
    model = {"source": "huggingface", "id": "o/m"}
    with serving(Fake(files=files, token="canary-token")) as hub:
        more = {"mirrors": {"huggingface": hub.address}, "hub_tokens": {"huggingface": {"secret": "hub"}}}
        found = origin(make(model, **more))
        assert sums(found.manifest) == SUMS
        assert found.manifest.revision == "c" * 40
        asked = len(hub.log)
        again = origin(make(model, **more))
        assert again == found
        whole = origin(
            make(model, [node_with(found.manifest)], model_store={"staging": str(tmp_path / "none")}, **more)
        )
        assert (whole.manifest, whole.source) == (found.manifest, None)
        assert len(hub.log) == asked
    assert isinstance(found.source, LocalFolder)
    assert {path.name for path in found.source.path.iterdir()} == set(FILES)
    assert not any("canary" in line for line in TOLD)
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and b"canary-token" in path.read_bytes()
    ]


def test_a_hub_that_refuses_is_a_finding_with_what_to_do(make: Make) -> None:
    with serving(Fake(token="other")) as hub:
        finding = refused(make({"source": "modelscope"}, mirrors={"modelscope": hub.address}))
    assert finding.id == "provision.weights_source"
    assert "hub_tokens.modelscope" in finding.remedy


def test_a_secret_that_the_vault_has_not_is_said(make: Make) -> None:
    finding = refused(make({"source": "modelscope"}, hub_tokens={"modelscope": {"secret": "absent"}}))
    assert "the vault has no secret 'absent'" in finding.seen


def test_a_checkpoint_on_a_hub_is_refused_before_it_is_fetched(make: Make) -> None:
    with serving(Fake(files={"m.ckpt": b"1" * 1000, "config.json": b"{}"})) as hub:
        finding = refused(make({"source": "modelscope"}, mirrors={"modelscope": hub.address}))
        assert not any("FilePath" in path for path, _range, _token in hub.log)
    assert finding.id == "provision.weights_format"
    assert "convert" in finding.remedy


def checkpoint(tmp_path: Path, program: str = CONVERT) -> dict[str, Any]:
    folder = tmp_path / "ckpt"
    folder.mkdir(exist_ok=True)
    (folder / "model.ckpt").write_bytes(b"1" * 100)
    (tmp_path / "convert.py").write_text(program)
    command = [sys.executable, str(tmp_path / "convert.py"), "{source}", "{target}"]
    return {"source": "path", "from": "ckpt", "convert": command}


def test_a_checkpoint_is_converted_once(make: Make, tmp_path: Path) -> None:
    model = checkpoint(tmp_path)
    found = origin(make(model))
    assert set(found.manifest.files) == {"config.json", "m.safetensors"}
    assert found.manifest.describes(stores(make(model).wish)[0].model)
    (tmp_path / "convert.py").write_text("raise SystemExit(1)")
    assert origin(make(model)) == found
    (tmp_path / "ckpt" / "model.ckpt").write_bytes(b"2" * 101)
    assert refused(make(model)).id == "provision.weights_convert"


def test_a_converted_model_that_the_nodes_have_is_not_converted_again(make: Make, tmp_path: Path) -> None:
    model = checkpoint(tmp_path)
    found = origin(make(model)).manifest
    elsewhere = {"staging": str(tmp_path / "empty")}
    again = origin(make(model, [node_with(found)], model_store=elsewhere))
    assert again == Origin(found)
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; print('no such layer'); sys.exit(3)", "ended with 3: no such layer"),
        ("pass", "there is no .safetensors file"),
    ],
)
def test_a_conversion_that_fails_shows_what_it_said(
    make: Make, tmp_path: Path, program: str, words: str
) -> None:
    finding = refused(make(checkpoint(tmp_path, program)))
    assert finding.id == "provision.weights_convert"
    assert words in finding.seen


def test_a_command_is_no_shell(make: Make, tmp_path: Path) -> None:
    model = checkpoint(tmp_path) | {"convert": ["/bin/false; touch x", "{source}"]}
    assert "cannot be run" in refused(make(model)).seen
    assert not Path("x").exists()


def test_a_hubs_checkpoint_is_fetched_whole_and_converted(make: Make, tmp_path: Path) -> None:
    with serving(Fake(files={"model.ckpt": b"1" * 1000})) as hub:
        model = checkpoint(tmp_path) | {"source": "modelscope", "from": "o/m"}
        found = origin(make(model, mirrors={"modelscope": hub.address}))
    assert set(found.manifest.files) == {"config.json", "m.safetensors"}


@pytest.mark.parametrize("place", ["host", "host:relative", "-oProxyCommand=x:/y", "user@:/x", "a b:/x"])
def test_a_machine_that_is_not_written_as_one_is_refused(make: Make, place: str) -> None:
    assert "USER@HOST:/FOLDER" in refused(make({"source": "ssh", "from": place})).remedy


def test_another_machine_is_read_over_ssh_without_a_copy_here(make: Make, tmp_path: Path) -> None:
    fetcher = make({"source": "ssh", "from": f"node-1:{tmp_path / 'weights'}"})
    own = replace(fetcher.inventory.hosts["node-1"], connection="local", python=sys.executable)
    fetcher.inventory.hosts["node-1"] = own
    found = origin(fetcher)
    assert sums(found.manifest) == SUMS
    assert found.source is not None
    assert b"".join(found.source.blocks("config.json", 5)) == FILES["config.json"][5:]
    TOLD.clear()
    assert origin(fetcher).manifest == found.manifest
    assert TOLD == []
    assert not list((tmp_path / "staging").rglob("*.safetensors"))


def test_rsync_is_started_without_a_shell_and_its_failure_is_said(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "rsync"
    program.parent.mkdir()
    copies = 'for last; do :; done; cp "$SOURCE"/* "$last"'
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n{copies}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SOURCE", str(tmp_path / "weights"))
    found = origin(make({"source": "rsync", "from": "u@h:/w; touch x"}))
    assert sums(found.manifest) == SUMS
    asked = (tmp_path / "asked").read_text().splitlines()
    assert "u@h:/w; touch x/" in asked
    assert "StrictHostKeyChecking=yes" in asked[asked.index("-e") + 1]
    program.write_text("#!/bin/sh\necho 'no such module' >&2\nexit 5\n")
    assert "rsync ended with 5: no such module" in refused(make({"source": "rsync", "from": "h::m"})).seen


def test_without_rsync_the_other_way_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "source: ssh" in refused(make({"source": "rsync", "from": "h::m"})).remedy
