"""A model's folder on a node: published whole or not at all, and nothing of others touched."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Files = dict[str, bytes]
OWNER = (os.getuid(), os.getgid())
NEW: Files = {"config.json": b"{}", "sub/x.txt": b"deep", "data.bin": b"0" * 1000}


@pytest.fixture
def store(library_module: Callable[[str], ModuleType]) -> ModuleType:
    return library_module("npuctl_store")


def manifest(files: Files) -> dict[str, Any]:
    entries = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    }
    return {"schema": 1, "source": "path", "name": "x", "files": entries}


def put(root: Path, files: Files) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def tree(root: Path) -> Files:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def publish(store: ModuleType, path: Path, files: Files, *, check: bool = False) -> list[str]:
    done: list[str] = store.Folder(str(path), manifest(files)).publish(OWNER, check)
    return done


def test_what_arrived_gets_its_name_at_once_and_a_second_run_does_nothing(
    store: ModuleType, tmp_path: Path
) -> None:
    path, partial = tmp_path / "M", tmp_path / ".M.npuctl-partial"
    partial.mkdir(mode=0o700)
    put(partial, NEW | {"left-over.bin": b"of an earlier manifest"})
    assert publish(store, path, NEW, check=True) == [f"put 3 of 3 files in {path}"]
    assert not path.exists()
    assert publish(store, path, NEW) == [f"put 3 of 3 files in {path}"]
    assert tree(path) == NEW
    assert path.stat().st_mode & 0o777 == 0o755
    assert (path / "data.bin").stat().st_mode & 0o777 == 0o644
    assert not partial.exists()
    assert json.loads((tmp_path / ".M.npuctl-manifest.json").read_text())["placed"] == sorted(NEW)
    assert publish(store, path, NEW) == []


def test_a_second_run_reads_no_file(
    store: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / ".M.npuctl-partial", NEW)
    publish(store, tmp_path / "M", NEW)
    monkeypatch.setattr(store, "hash_file", lambda *_given: pytest.fail("a file was read again"))
    assert publish(store, tmp_path / "M", NEW) == []


@pytest.mark.parametrize("broken", [{"data.bin": b"1" * 1000}, {"data.bin": b"short"}, {}])
def test_what_arrived_wrong_is_not_published(store: ModuleType, tmp_path: Path, broken: Files) -> None:
    arrived = {name: data for name, data in NEW.items() if name != "data.bin"} | broken
    put(tmp_path / ".M.npuctl-partial", arrived)
    with pytest.raises(store.StoreError, match=r"data\.bin"):
        publish(store, tmp_path / "M", NEW)
    assert not (tmp_path / "M").exists()


def test_an_equal_folder_of_others_is_taken_as_it_is(store: ModuleType, tmp_path: Path) -> None:
    put(tmp_path / "M", NEW)
    assert publish(store, tmp_path / "M", NEW) == [f"noted the manifest of {tmp_path / 'M'}"]
    assert json.loads((tmp_path / ".M.npuctl-manifest.json").read_text())["placed"] == []
    assert publish(store, tmp_path / "M", NEW) == []


def test_a_different_folder_of_others_is_not_touched(store: ModuleType, tmp_path: Path) -> None:
    theirs = NEW | {"data.bin": b"1" * 1000}
    put(tmp_path / "M", theirs)
    put(tmp_path / ".M.npuctl-partial", NEW)
    with pytest.raises(store.StoreError, match="nothing was overwritten"):
        publish(store, tmp_path / "M", NEW)
    assert tree(tmp_path / "M") == theirs


def test_a_damaged_file_of_ours_is_replaced_alone(store: ModuleType, tmp_path: Path) -> None:
    put(tmp_path / ".M.npuctl-partial", NEW)
    publish(store, tmp_path / "M", NEW)
    before = (tmp_path / "M/config.json").stat().st_ino
    (tmp_path / "M/data.bin").write_bytes(b"2" * 1000)
    put(tmp_path / ".M.npuctl-partial", {"data.bin": NEW["data.bin"]})
    assert publish(store, tmp_path / "M", NEW) == [f"put 1 of 3 files in {tmp_path / 'M'}"]
    assert tree(tmp_path / "M") == NEW
    assert (tmp_path / "M/config.json").stat().st_ino == before


def test_a_new_version_replaces_what_is_ours_and_removes_what_it_has_no_more(
    store: ModuleType, tmp_path: Path
) -> None:
    put(tmp_path / ".M.npuctl-partial", NEW)
    publish(store, tmp_path / "M", NEW)
    put(tmp_path / "M", {"notes.txt": b"mine"})
    newer = {"config.json": b'{"a": 1}', "data.bin": NEW["data.bin"]}
    put(tmp_path / ".M.npuctl-partial", {"config.json": newer["config.json"]})
    done = publish(store, tmp_path / "M", newer)
    assert "removed sub/x.txt, which the model has no more" in done
    assert tree(tmp_path / "M") == newer | {"notes.txt": b"mine"}


def test_removing_takes_what_is_ours_and_leaves_the_rest(store: ModuleType, tmp_path: Path) -> None:
    put(tmp_path / ".M.npuctl-partial", NEW)
    publish(store, tmp_path / "M", NEW)
    put(tmp_path / "M", {"notes.txt": b"mine"})
    assert store.remove(str(tmp_path / "M"), True)
    assert set(tree(tmp_path / "M")) == {*NEW, "notes.txt"}
    assert store.remove(str(tmp_path / "M"), False)
    assert tree(tmp_path) == {"M/notes.txt": b"mine"}
    assert store.remove(str(tmp_path / "M"), False) == []


def test_a_folder_that_was_only_taken_over_stays_when_it_is_removed(
    store: ModuleType, tmp_path: Path
) -> None:
    put(tmp_path / "M", NEW)
    publish(store, tmp_path / "M", NEW)
    store.remove(str(tmp_path / "M"), False)
    assert tree(tmp_path / "M") == NEW
    assert sorted(path.name for path in tmp_path.iterdir()) == ["M"]


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", ".x", "a/.b", "", "a//b", "a\nb", "x" * 2000])
def test_a_name_that_leads_out_of_the_folder_is_refused(store: ModuleType, tmp_path: Path, name: str) -> None:
    with pytest.raises(store.StoreError, match="no name of a file"):
        publish(store, tmp_path / "M", {name: b""})


def test_a_shard_that_is_not_what_its_header_says_is_wrong(store: ModuleType, tmp_path: Path) -> None:
    files = {"m.safetensors": b"\x02\0\0\0\0\0\0\0{}and more"}
    put(tmp_path / ".M.npuctl-partial", files)
    with pytest.raises(store.StoreError, match="as its header says"):
        publish(store, tmp_path / "M", files)


def test_facts_have_what_is_there_and_what_is_on_its_way(store: ModuleType, tmp_path: Path) -> None:
    put(tmp_path / ".M.npuctl-partial", NEW)
    publish(store, tmp_path / "M", NEW)
    put(tmp_path / ".M.npuctl-partial", {"more.bin": b"123"})
    (tmp_path / "M/data.bin").write_bytes(b"changed")
    found = store.read(str(tmp_path / "M"))
    assert found["files"]["config.json"]["sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert found["files"]["data.bin"] == {"size": 7, "sha256": ""}
    assert found["partial"] == {"more.bin": 3}
    assert found["free_bytes"] > 0
    assert found["manifest"]["placed"] == sorted(NEW)
    assert store.read(str(tmp_path / "none"))["files"] == {}


def test_a_file_in_place_of_the_folder_is_said(store: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "M").write_text("x")
    assert store.read(str(tmp_path / "M"))["error"] == "it is there and is no folder"


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:50 / /data rw - nfs4 fs.example:/export/data rw
31 30 0:51 /sub /data/two\\040words rw - nfs fs.example:/other rw
32 22 8:2 / /data/local rw - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/data/models/M", "nfs4:fs.example:/export/data/models/M"),
        ("/data/two words/M", "nfs:fs.example:/other/sub/M"),
        ("/data/local/M", ""),
        ("/opt/M", ""),
        ("/database/M", ""),
    ],
)
def test_a_file_system_that_nodes_share_has_a_name(
    store: ModuleType, tmp_path: Path, path: str, found: str
) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert store.shared_filesystem(path, str(tmp_path / "mountinfo")) == found


def noted_cluster(tmp_path: Path) -> str:
    found: str = json.loads((tmp_path / ".M.npuctl-manifest.json").read_text()).get("cluster", "")
    return found


def test_a_folder_is_his_who_filled_it_first(store: ModuleType, tmp_path: Path) -> None:
    path = str(tmp_path / "M")
    put(tmp_path / ".M.npuctl-partial", NEW)
    store.Folder(path, manifest(NEW), "prod").publish(OWNER, False)
    assert store.Folder(path, manifest(NEW), "prod").publish(OWNER, False) == []
    assert store.Folder(path, manifest(NEW), "other").publish(OWNER, False) == []
    assert noted_cluster(tmp_path) == "prod"
    assert store.remove(path, False, "other") == []
    assert tree(tmp_path / "M") == NEW
    assert store.remove(path, False, "prod")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_noted_for_nobody_is_whoevers_asks(store: ModuleType, tmp_path: Path) -> None:
    put(tmp_path / ".M.npuctl-partial", NEW)
    publish(store, tmp_path / "M", NEW)
    assert noted_cluster(tmp_path) == ""
    assert store.remove(str(tmp_path / "M"), False, "other")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_went_and_came_again_is_the_later_ones(store: ModuleType, tmp_path: Path) -> None:
    for cluster in ("prod", "other"):
        put(tmp_path / ".M.npuctl-partial", NEW)
        store.Folder(str(tmp_path / "M"), manifest(NEW), cluster).publish(OWNER, False)
        (tmp_path / "M").rename(tmp_path / f"moved-{cluster}")
    assert noted_cluster(tmp_path) == "other"
