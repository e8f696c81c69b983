"""library/module_utils/npuctl_images.py on trees of layers made by hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.read_images import read_images
from npuctl.facts.unread import Unread
from tests.unit.library.conftest import Engine

TOOLKIT = "usr/local/Ascend/ascend-toolkit/{0}/aarch64-linux/ascend_toolkit_install.info"
INFO = "package_name=Ascend-cann-toolkit\nversion={0}\narch=aarch64\nos=linux\npath=/usr/local/Ascend/x\n"
PYTHON = "usr/local/python3.11.14/lib/python3.11/site-packages"
CANN_85 = "usr/local/Ascend/cann-8.5.0/aarch64-linux/ascend_toolkit_install.info"


@pytest.fixture
def images(module: Callable[[str], Any]) -> Any:
    return module("npuctl_images")


def layer(folder: Path, *packages: str, cann: str = "", path: str = "", text: str = "") -> str:
    folder.mkdir(exist_ok=True)
    for package in packages:
        (folder / PYTHON / package).mkdir(parents=True)
    if cann or path:
        file = folder / (path or TOOLKIT.format(cann))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text or INFO.format(cann), encoding="utf-8")
    return str(folder)


def graph(*folders: str) -> dict[str, Any]:
    data = {"UpperDir": folders[0]} | ({"LowerDir": ":".join(folders[1:])} if folders[1:] else {})
    return {"Name": "overlay2", "Data": data}


def facts(images: Any, *folders: str) -> Any:
    own = {
        "reference": "a:1",
        "id": "sha256:1",
        "architecture": "arm64",
        "size_bytes": 5,
        "soc_version": "ascend910b1",
        "contents": images.look_into(graph(*folders), ["torch_npu", "vllm_ascend"], {}),
    }
    unread = Unread()
    (found,) = read_images(({"error": "", "images": [own]}, ""), unread)
    assert unread.reasons == {}
    return found


def test_what_is_inside_is_found_across_layers(images: Any, tmp_path: Path) -> None:
    found = facts(
        images,
        layer(tmp_path / "top", "vllm_ascend-0.18.0rc1.dist-info", "vllm-0.18.0+empty.dist-info"),
        layer(tmp_path / "middle", "torch_npu-2.7.1.post1.dist-info"),
        layer(tmp_path / "base", "torch-2.7.1.dist-info", cann="8.5.0"),
    )
    assert (found.cann, found.torch_npu, found.engine_version) == ("8.5.0", "2.7.1.post1", "0.18.0rc1")
    assert (found.soc_version, found.architecture) == ("ascend910b1", "arm64")


@pytest.mark.parametrize(
    ("path", "text", "version"),
    [
        (TOOLKIT.format("8.2.RC1"), INFO.format("8.2.RC1"), "8.2.RC1"),
        (CANN_85, INFO.format("8.5.0"), "8.5.0"),
        ("home/ma-user/Ascend/" + CANN_85[17:], INFO.format("8.5.0"), "8.5.0"),
        ("usr/local/Ascend/cann-9.0.0/opp/version.info", "Version=9.0.0\nversion_dir=9.0.0\n", "9.0.0"),
        (TOOLKIT.format("8.2.RC1"), "garbage", ""),
        (TOOLKIT.format("8.2.RC1"), INFO.format("newest"), ""),
    ],
)
def test_cann_by_the_files_that_its_releases_leave(
    images: Any, tmp_path: Path, path: str, text: str, version: str
) -> None:
    assert facts(images, layer(tmp_path / "base", path=path, text=text)).cann == version


def test_an_image_says_what_it_was_made_for(images: Any) -> None:
    entries = ["PATH=/bin", "SOC_VERSION=ascend910b1", "odd"]
    assert images.environment({"Config": {"Env": entries}})["SOC_VERSION"] == "ascend910b1"
    assert images.environment({"Config": None}) == images.environment({}) == {}


def test_the_newest_of_several_toolkits_counts(images: Any, tmp_path: Path) -> None:
    top, base = layer(tmp_path / "top", cann="8.10.0"), layer(tmp_path / "base", cann="8.2.RC1")
    assert facts(images, top, base).cann == "8.10.0"
    assert facts(images, base, top).cann == "8.10.0"


def test_the_upper_of_two_packages_counts(images: Any, tmp_path: Path) -> None:
    top = layer(tmp_path / "top", "torch_npu-2.7.1.dist-info")
    base = layer(tmp_path / "base", "torch_npu-2.5.1.dist-info")
    assert facts(images, top, base).torch_npu == "2.7.1"


def test_what_an_upper_layer_removed_is_not_there(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = layer(tmp_path / "top", "torch_npu-2.5.1.dist-info")
    base = layer(tmp_path / "base", "torch_npu-2.5.1.dist-info", cann="8.2.RC1")
    removed = f"{top}/{PYTHON}/torch_npu-2.5.1.dist-info"
    monkeypatch.setattr(images, "is_removed", lambda path: path == removed)
    assert facts(images, top, base).torch_npu == ""
    monkeypatch.setattr(images, "is_removed", lambda path: path == f"{top}/usr/local/Ascend")
    assert facts(images, top, base).cann == ""
    monkeypatch.setattr(images, "is_removed", lambda _path: False)
    monkeypatch.setattr(images, "is_opaque", lambda path: path == f"{top}/usr/local")
    assert facts(images, top, base).cann == ""


def test_the_mark_of_a_removed_file(images: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not images.is_removed(str(tmp_path / "file"))
    assert not images.is_removed("/dev/null")
    assert not images.is_opaque(str(tmp_path))
    try:
        os.mknod(tmp_path / "gone", 0o20600, os.makedev(0, 0))
    except PermissionError:
        pytest.skip("not run: device nodes need root")
    assert images.is_removed(str(tmp_path / "gone"))


def test_a_link_does_not_lead_out_of_the_layer(images: Any, tmp_path: Path) -> None:
    """In an image /usr/local/Ascend/cann may be a link to an absolute path: on the node that is the node's own."""
    outside = layer(tmp_path / "node", cann="9.9.9")
    inside = Path(layer(tmp_path / "layer")) / "usr/local/Ascend"
    inside.mkdir(parents=True)
    (inside / "ascend-toolkit").symlink_to(f"{outside}/usr/local/Ascend/ascend-toolkit")
    assert facts(images, str(tmp_path / "layer")).cann == ""


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ({"Name": "overlayfs", "Data": None}, "the storage driver overlayfs shows no folders"),
        ({}, "the storage driver of this engine shows no folders"),
        (graph("/nowhere/diff"), "/nowhere/diff cannot be read"),
    ],
)
def test_layers_that_cannot_be_looked_into(images: Any, driver: dict[str, Any], words: str) -> None:
    contents = images.look_into(driver, ["torch_npu"], {})
    assert contents == {"error": words, "cann": [], "packages": []}
    unread = Unread()
    own = {"reference": "a:1", "id": "", "architecture": "", "size_bytes": 0, "soc_version": ""}
    (found,) = read_images(({"error": "", "images": [own | {"contents": contents}]}, ""), unread)
    assert (found.cann, unread.reasons) == ("", {"image a:1": words})


def test_planned_images_and_those_of_engines_are_described(images: Any, engine: Engine) -> None:
    engine.images = {"quay.io/ascend/vllm-ascend:v0.18.0", "local/own:1", "redis:7", "mindie:2.1"}
    found = images.collect({"images": ["local/own:1", "not/there:1"], "engines": ["mindie"]})
    assert found["error"] == ""
    assert [image["reference"] for image in found["images"]] == [
        "local/own:1",
        "mindie:2.1",
        "quay.io/ascend/vllm-ascend:v0.18.0",
    ]
    assert engine.changes() == []


def test_an_engine_that_is_silent_is_told(images: Any, engine: Engine) -> None:
    engine.broken = "out of order"
    unread = Unread()
    assert read_images((images.collect({}), ""), unread) == []
    assert unread.reasons == {"images": "out of order"}
    assert read_images((None, "no answer within 60 s"), unread) == []
    assert unread.reasons == {"images": "no answer within 60 s"}
