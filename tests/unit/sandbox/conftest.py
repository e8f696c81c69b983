"""Servers of the stand-in for vLLM, started from the source tree with made-up devices."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCE = REPOSITORY / "sandbox/images/sim-vllm"
DEADLINE_SECONDS = 15.0
T = TypeVar("T")

for program in (SOURCE, REPOSITORY / "sandbox/mirror"):
    if str(program) not in sys.path:
        sys.path.insert(0, str(program))


@dataclass
class Sim:
    """One `vllm serve` of the stand-in, and what a test asks of it."""

    folder: Path
    port: int
    process: subprocess.Popen[str]
    output: Path
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of one request; a str body is sent as it is."""
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        ) as connection:
            connection.request(method, path, data, self.headers | headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def get(self, path: str) -> Any:
        """The JSON of a GET that must succeed."""
        status, data = self.ask("GET", path)
        assert status == 200, data
        return json.loads(data)

    def post(self, path: str, body: object, *, status: int = 200) -> Any:
        """The JSON of a POST that must have this status."""
        got, data = self.ask("POST", path, body)
        assert got == status, data
        return json.loads(data)

    def stream(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """The chunks of a stream, which must end as it should."""
        status, data = self.ask("POST", path, body | {"stream": True})
        assert status == 200, data
        events = data.decode().removesuffix("\n\n").split("\n\n")
        assert all(event.startswith("data: ") for event in events)
        assert events.pop() == "data: [DONE]"
        return [json.loads(event.removeprefix("data: ")) for event in events]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of a metric that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = self.ask("GET", "/metrics")[1].decode().splitlines()
        values = [
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(f"vllm:{name}{{") and all(word in line for word in wanted)
        ]
        assert values, name
        return sum(values)

    def health(self) -> int | None:
        """The status of /health; None when nothing answers."""
        try:
            return self.ask("GET", "/health")[0]
        except (OSError, http.client.HTTPException):
            return None

    def fault(self, *faults: object) -> None:
        """Set the faults that hold from now on."""
        (self.folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")

    def log(self) -> str:
        """What the server has written."""
        return self.output.read_text(encoding="utf-8")

    def descendants(self) -> dict[int, str]:
        """The names of the processes below the server, by id."""
        return {pid: name for pid, name in processes(self.folder).items() if pid != self.process.pid}

    def shared_memory(self) -> list[str]:
        """The shared memory files that are left."""
        return sorted(path.name for path in (self.folder / "shm").iterdir())


def processes(folder: Path) -> dict[int, str]:
    """The names of all processes that were started with this folder in their environment, by id."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        try:
            if str(folder).encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().strip(b"\0").decode()
        except (OSError, ValueError):
            continue
    return {pid: name for pid, name in found.items() if name}


def wait_for(get: Callable[[], T], *, what: str) -> T:
    """The first true value that a function returns."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if value := get():
            return value
        time.sleep(0.03)
    pytest.fail(f"{what} did not come within {DEADLINE_SECONDS} s")


@pytest.fixture(scope="session")
def sim_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table of flags and a trained model."""
    folder = tmp_path_factory.mktemp("sim-data")
    shutil.copy(REPOSITORY / "npuctl/data/vllm/flags.json", folder)
    subprocess.run(
        [sys.executable, "-m", "simvllm.language", SOURCE / "corpus.txt", folder / "model.json"],
        check=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        stdout=subprocess.DEVNULL,
    )
    return folder


class Starter:
    """Starts servers, and ends whatever is left of them."""

    def __init__(self, data: Path, root: Path) -> None:
        self._data = data
        self._root = root
        self._started: list[Sim] = []

    def __call__(
        self,
        *flags: str,
        devices: int = 1,
        faults: tuple[object, ...] = (),
        ready: bool = True,
        model: str = "model",
        **env: str,
    ) -> Sim:
        """Start a server with these flags; by default wait until it is ready."""
        folder = self._root / f"sim{len(self._started)}"
        for name in ("dev", "shm", "model"):
            (folder / name).mkdir(parents=True)
        for number in range(devices):
            (folder / f"dev/davinci{number}").touch()
        config = {"max_position_embeddings": 512, "num_attention_heads": 4}
        (folder / "model/config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "faults.json").write_text(json.dumps(faults), encoding="utf-8")
        port = free_port()
        surroundings = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "ASCEND_TOOLKIT_HOME": "/toolkit",
            "SIM_VLLM_DATA": str(self._data),
            "SIM_VLLM_DEVICE_GLOB": f"{folder}/dev/davinci[0-9]*",
            "SIM_VLLM_SHM_DIR": f"{folder}/shm",
            "SIM_VLLM_FAULTS": f"{folder}/faults.json",
            "SIM_VLLM_LOAD_SECONDS": "0",
            "SIM_VLLM_DEAD_SECONDS": "1",
            "SIM_VLLM_SECONDS_PER_TOKEN": "0",
        }
        output = folder / "log"
        with output.open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "simvllm", "serve", str(folder / model), f"--port={port}", *flags],
                env={name: value for name, value in (surroundings | env).items() if value},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        sim = Sim(folder, port, process, output)
        self._started.append(sim)
        if ready:
            wait_for(lambda: sim.health() == 200 or process.poll() is not None, what="readiness")
            assert process.poll() is None, sim.log()
        return sim

    def end(self) -> None:
        """Kill what still runs."""
        for sim in self._started:
            for pid in processes(sim.folder):
                with contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
            sim.process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def start(sim_data: Path, tmp_path: Path) -> Iterator[Starter]:
    """Starts servers for one test."""
    starter = Starter(sim_data, tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="session")
def sim(sim_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sim]:
    """A server that tests share; nobody stops it or sets faults."""
    starter = Starter(sim_data, tmp_path_factory.mktemp("sim-shared"))
    yield starter("--served-model-name", "tiny", "little", "--max-model-len", "256")
    starter.end()
