from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import wait_for

if TYPE_CHECKING:
    from .conftest import Starter

BODY = {"prompt": "A node is", "max_tokens": 4}
HANGING_REQUEST = b'POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{"prompt": "x"}'


def ended(start: Starter, *flags: str, **settings: object) -> tuple[int, str]:
    """Exit code and output of a server that does not come up."""
    sim = start(*flags, ready=False, **settings)  # type: ignore[arg-type]
    return sim.process.wait(15), sim.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_stop_ends_with_0_and_leaves_nothing(start: Starter, number: signal.Signals) -> None:
    sim = start("--tensor-parallel-size", "2", devices=2)
    assert sorted(sim.descendants().values()) == ["VLLM::EngineCore", "VLLM::Worker_TP0", "VLLM::Worker_TP1"]
    assert len(sim.shared_memory()) == 1
    sim.process.send_signal(number)
    assert sim.process.wait(15) == 0
    assert sim.descendants() == {}
    assert sim.shared_memory() == []


def test_a_polite_stop_does_not_wait_for_open_requests(start: Starter) -> None:
    sim = start(faults=("hang",))
    with closing(socket.create_connection(("127.0.0.1", sim.port))) as client:
        client.sendall(HANGING_REQUEST)
        wait_for(lambda: sim.metric("num_requests_running") == 1, what="the hanging request")
        sim.process.terminate()
        assert sim.process.wait(15) == 0
    assert sim.descendants() == {}


def test_each_worker_holds_the_device_of_its_rank(start: Starter) -> None:
    sim = start("-tp", "2", devices=4, ASCEND_RT_VISIBLE_DEVICES="1,3")
    held = {}
    for pid, name in sim.descendants().items():
        links = [path.readlink().name for path in Path(f"/proc/{pid}/fd").iterdir()]
        held[name] = [link for link in links if link.startswith("davinci")]
    assert held == {
        "VLLM::EngineCore": [],
        "VLLM::Worker_TP0": ["davinci1"],
        "VLLM::Worker_TP1": ["davinci3"],
    }


def test_a_killed_server_leaves_its_engine_with_devices_and_memory_but_not_its_port(start: Starter) -> None:
    sim = start()
    sim.process.kill()
    assert sim.process.wait(15) == -signal.SIGKILL
    time.sleep(0.3)
    assert sorted(sim.descendants().values()) == ["VLLM::EngineCore", "VLLM::Worker"]
    assert len(sim.shared_memory()) == 1
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", sim.port)) != 0
    core = next(pid for pid, name in sim.descendants().items() if name == "VLLM::EngineCore")
    os.kill(core, signal.SIGTERM)
    wait_for(lambda: not sim.descendants(), what="the end of the orphans")
    assert sim.shared_memory() == []


@pytest.mark.parametrize("victim", ["VLLM::EngineCore", "VLLM::Worker"])
def test_a_dead_engine_is_503_and_then_exit_0(start: Starter, victim: str) -> None:
    sim = start()
    pid = next(pid for pid, name in sim.descendants().items() if name == victim)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: sim.health() == 503, what="503")
    assert sim.post("/v1/completions", BODY, status=500)["error"]["type"] == "InternalServerError"
    assert sim.process.wait(15) == 0
    assert sim.descendants() == {}
    assert sim.shared_memory() == []


def test_it_does_not_start_with_an_unknown_flag(start: Starter) -> None:
    code, log = ended(start, "--swap-space", "4")
    assert code == 2
    assert "vllm serve: error: unrecognized arguments: --swap-space 4" in log


@pytest.mark.parametrize(
    ("flags", "settings", "words"),
    [
        (["--max-model-len", "513"], {}, "greater than the derived max_model_len"),
        (["--tensor-parallel-size", "3"], {"devices": 3}, "must be divisible by tensor parallel size"),
        (["--tensor-parallel-size", "2"], {}, "Invalid device ID"),
        (["--gpu-memory-utilization", "1.5"], {}, "GPU memory utilization"),
        (["--model", "x"], {"devices": 0}, "dcmi module initialize failed. ret is -8005"),
        ([], {"ASCEND_TOOLKIT_HOME": ""}, "ImportError: libatb.so: cannot open shared object file"),
        ([], {"SIM_VLLM_RELEASE": "0.0.1"}, "not in the flag table"),
        ([], {"faults": ("exit-at-start",)}, "RuntimeError: NPU out of memory"),
    ],
)
def test_it_does_not_start_and_says_why(
    start: Starter, flags: list[str], settings: dict[str, object], words: str
) -> None:
    code, log = ended(start, *flags, **settings)
    assert code == 1, log
    assert words in log


def test_it_does_not_start_without_a_model(start: Starter) -> None:
    code, log = ended(start, model="nowhere")
    assert code == 1
    assert "Invalid repository ID or local directory specified" in log


def test_it_does_not_start_on_a_busy_port(start: Starter) -> None:
    first = start()
    code, log = ended(start, f"--port={first.port}")
    assert code == 1
    assert "OSError: [Errno 98] Address already in use" in log


def test_faults_come_and_go_while_it_runs(start: Starter) -> None:
    sim = start("--served-model-name", "m")
    sim.fault({"fault": "http-500", "share": 0.5})
    statuses = [sim.ask("POST", "/v1/completions", BODY)[0] for _ in range(4)]
    assert sorted(statuses) == [200, 200, 500, 500]
    sim.fault({"fault": "http-500", "model": "other"})
    assert sim.post("/v1/completions", BODY)
    sim.fault("hang")
    with closing(socket.create_connection(("127.0.0.1", sim.port))) as client:
        client.sendall(HANGING_REQUEST)
        wait_for(lambda: sim.metric("num_requests_running") == 1, what="the hanging request")
        assert sim.health() == 200
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
    wait_for(lambda: sim.metric("num_requests_running") == 0, what="the end of the hanging request")
    assert sim.metric("request_success_total", finished_reason="abort") == 1
    sim.fault({"fault": "slow", "seconds_per_token": 0.1})
    begin = time.monotonic()
    sim.post("/v1/completions", BODY | {"ignore_eos": True})
    assert time.monotonic() - begin >= 0.4
    sim.fault({"fault": "die-after", "requests": 1})
    assert sim.process.wait(15) == 0


def test_a_server_that_never_gets_ready_still_stops(start: Starter) -> None:
    sim = start(ready=False, faults=("never-ready",))
    wait_for(lambda: "Starting to load model" in sim.log(), what="loading")
    time.sleep(0.3)
    assert sim.health() is None
    sim.process.terminate()
    assert sim.process.wait(15) == 0
    assert sim.descendants() == {}


def test_sigterm_can_be_ignored(start: Starter) -> None:
    sim = start(faults=("ignore-sigterm",))
    sim.process.terminate()
    time.sleep(0.3)
    assert sim.health() == 200
    sim.fault()
    sim.process.terminate()
    assert sim.process.wait(15) == 0
