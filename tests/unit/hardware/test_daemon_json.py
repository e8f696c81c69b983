"""Docker's daemon.json: everything that is in it comes out, and what is broken is refused."""

from __future__ import annotations

import json

import pytest

from npuctl.hardware.daemon_json import DaemonConfig, parse_daemon_json
from npuctl.hardware.unreadable import UnreadableError

WHOLE = {
    "runtimes": {
        "ascend": {"path": "/opt/runtime/ascend-docker-runtime", "runtimeArgs": []},
        "kata": {"runtimeType": "io.containerd.kata.v2"},
    },
    "default-runtime": "ascend",
    "default-shm-size": "16G",
    "data-root": "/data/docker",
    "registry-mirrors": ["https://mirror.example", "https://other.example"],
    "log-driver": "json-file",
    "log-opts": {"max-size": "500m", "max-file": "3"},
    "exec-opts": ["native.cgroupdriver=systemd"],
    "live-restore": True,
}


def test_everything() -> None:
    assert parse_daemon_json(json.dumps(WHOLE)) == DaemonConfig(
        runtimes={"ascend": "/opt/runtime/ascend-docker-runtime", "kata": None},
        default_runtime="ascend",
        default_shm_size="16G",
        data_root="/data/docker",
        registry_mirrors=("https://mirror.example", "https://other.example"),
        log_opts={"max-size": "500m", "max-file": "3"},
        rest={
            "log-driver": "json-file",
            "exec-opts": ["native.cgroupdriver=systemd"],
            "live-restore": True,
        },
    )


def test_an_empty_object_sets_nothing() -> None:
    assert parse_daemon_json(" {} \n") == DaemonConfig({}, None, None, None, (), {}, {})


def test_a_size_may_be_a_number_of_bytes() -> None:
    assert parse_daemon_json('{"default-shm-size": 8589934592}').default_shm_size == "8589934592"


@pytest.mark.parametrize(
    "text",
    [
        *("", " \n", "[]", "null", '"x"', "{", '{"a": 1,}', "{} {}", '{"a": NaN}', "{'a': 1}", "[" * 100000),
        '{"data-root": "/a", "data-root": "/b"}',
        '{"runtimes": {"ascend": {"path": "/a", "path": "/b"}}}',
        '{"runtimes": []}',
        '{"runtimes": {"ascend": "/a"}}',
        '{"runtimes": {"ascend": null}}',
        '{"runtimes": {"ascend": {"path": 1}}}',
        '{"default-runtime": 1}',
        '{"default-shm-size": 8.5}',
        '{"default-shm-size": true}',
        '{"data-root": ["/a"]}',
        '{"registry-mirrors": "https://mirror.example"}',
        '{"registry-mirrors": [1]}',
        '{"registry-mirrors": [null]}',
        '{"log-opts": {"max-file": 3}}',
        '{"log-opts": {"max-file": null}}',
        '{"a": ' + "9" * 5000 + "}",
    ],
    ids=lambda text: text[:40],
)
def test_what_is_broken_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        parse_daemon_json(text)


def test_the_line_of_a_mistake_is_named() -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_daemon_json('{\n  "data-root": "/a"\n  "x": 1\n}')
    assert caught.value.line_number == 3
