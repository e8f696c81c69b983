"""library/module_utils/npuctl_docker.py: the small client of the Docker Engine API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.library.conftest import Engine, container

Module = Callable[[str], Any]


def frame(stream: int, text: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", b""),
        (frame(1, b"out\n") + frame(2, b"err\n"), b"out\nerr\n"),
        (frame(1, b"") + frame(1, b"x"), b"x"),
        (b"plain text of a terminal", b"plain text of a terminal"),
        (b"short", b"short"),
        (frame(1, b"whole\n") + frame(1, b"cut")[:9], b"whole\nc"),
        (frame(1, b"whole\n") + b"\x01\0\0", b"whole\n"),
    ],
)
def test_frames_are_taken_out_of_a_log(module: Module, raw: bytes, text: bytes) -> None:
    assert module("npuctl_docker").demultiplex(raw) == text


def test_an_engine_that_is_not_there(module: Module, library_module: Module) -> None:
    docker = library_module("npuctl_docker")
    with pytest.raises(docker.DockerError, match="does not answer on /nowhere"):
        docker.call("GET", "/version", socket_path="/nowhere")


def test_an_error_has_the_engines_words_and_its_status(engine: Engine, module: Module) -> None:
    docker = module("npuctl_docker")
    engine.broken = "no space left"
    with pytest.raises(docker.DockerError, match="no space left") as caught:
        docker.call("GET", "/version")
    assert caught.value.status == 500


def test_a_container_is_described_or_none(engine: Engine, module: Module) -> None:
    docker = module("npuctl_docker")
    engine.containers["a"] = container("a")
    assert docker.inspect("a")["Name"] == "/a"
    assert docker.inspect("b") is None


def test_another_error_of_a_look_is_an_error(engine: Engine, module: Module) -> None:
    docker = module("npuctl_docker")
    engine.broken = "oops"
    with pytest.raises(docker.DockerError, match="oops"):
        docker.inspect("a")


def test_the_last_lines_of_a_log(engine: Engine, module: Module) -> None:
    engine.logs = frame(1, b"one\n") + frame(2, "zwei ü\n".encode())
    assert module("npuctl_docker").log_tail("a", 15) == ["one", "zwei ü"]
    assert engine.calls[-1][2] == {"stdout": "1", "stderr": "1", "tail": "15"}


def test_the_engine_of_the_tests_is_strict(engine: Engine, module: Module) -> None:
    docker = module("npuctl_docker")
    with pytest.raises(docker.DockerError, match="does not know"):
        docker.call("GET", "/swarm")
