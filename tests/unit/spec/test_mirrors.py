"""Presets of mirrors: what a spec writes goes before them, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.spec.machines import Mirrors
from npuctl.spec.mirrors import effective_mirrors, presets
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, cluster_text


def effective(mirrors: dict[str, Any] | None) -> Mirrors:
    more: dict[str, Any] = {} if mirrors is None else {"mirrors": mirrors}
    return effective_mirrors(parse_cluster(cluster_text(**more), file=FILE))


@pytest.mark.parametrize("name", ["china", "none"])
def test_a_preset_is_what_a_spec_could_write(name: str) -> None:
    written = presets()[name]
    assert effective(written) == effective({"preset": name})
    assert set(presets()) == set(Mirrors.model_json_schema()["properties"]["preset"]["enum"])


@pytest.mark.parametrize("mirrors", [None, {}, {"preset": "none"}])
def test_without_a_preset_nothing_is_set(mirrors: dict[str, Any] | None) -> None:
    assert effective(mirrors) == Mirrors()


def test_a_key_that_is_given_takes_the_place_of_the_presets() -> None:
    found = effective(
        {"preset": "china", "huggingface": "https://hf.example", "git": {"https://a/": "https://b/"}}
    )
    assert found.huggingface == "https://hf.example"
    assert found.git == {"https://a/": "https://b/"}
    assert found.modelscope == "https://www.modelscope.cn"


def test_null_turns_a_key_off() -> None:
    found = effective({"preset": "china", "git": None, "pip": {"extra_index": []}, "docker": None})
    assert found.git is None
    assert found.docker is None
    assert found.pip
    assert found.pip.extra_index == []
    assert found.pip.index == "https://mirrors.tuna.tsinghua.edu.cn/pypi/web/simple"


def test_keys_of_pip_and_docker_are_given_one_by_one() -> None:
    found = effective(
        {"preset": "china", "pip": {"index": None}, "docker": {"images": {"quay.io": "q.example/x"}}}
    )
    assert found.pip
    assert found.pip.index is None
    assert found.pip.extra_index == ["https://mirrors.huaweicloud.com/ascend/repos/pypi"]
    assert found.docker
    assert found.docker.images == {"quay.io": "q.example/x"}
    assert found.docker.registry_mirrors == ["https://docker.m.daocloud.io"]
