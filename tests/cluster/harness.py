"""What drives npuctl in the cluster tests, and what judges it.

The command line is run as people run it, as a process. What it did is judged by other means than its own
words: the nodes' own `docker`, /proc, `npu-smi`, HTTP, and files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NPUCTL = Path(sys.executable).with_name("npuctl")
NAME = "ct"
PREFIX = "clustertest-"
NODES = ("node-1", "node-2", "node-3")
PATIENCE = 180.0  # for whatever must come true; long, because the machine may be busy with other things

_HOLDERS = """
import glob, json, os
found = []
for path in glob.glob("/proc/[0-9]*/fd/*"):
    try:
        target = os.readlink(path)
    except OSError:
        continue
    if target.startswith("/dev/davinci") and target[12:].isdigit():
        found.append((int(path.split("/")[2]), int(target[12:])))
print(json.dumps(sorted(set(found))))
"""
_LEFT = """
docker ps --all --format 'container {{.Names}}'
[ ! -e /etc/npuctl ] || find /etc/npuctl -printf 'file %p\\n'
ls /dev/shm | sed 's/^/shared memory /'
ss -Hltn | awk '{print $4}' | grep -oE ':(8[0-9]{3})$' | sed 's/^:/port /' | sort -u
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -oE '/dev/davinci[0-9]+$' | sort -u
true
"""


@dataclass(frozen=True)
class Ran:
    """A call of npuctl that has ended."""

    call: str
    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """Everything that a person would have seen."""
        return f"{self.stdout}\n{self.stderr}"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """JSON lines of standard output; a line that is none fails the test."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def data(self) -> dict[str, Any]:
        """The answer as data: the only JSON object, or the last one of JSON lines."""
        try:
            whole: dict[str, Any] = json.loads(self.stdout)
        except ValueError:
            return self.lines[-1]
        return whole

    def __str__(self) -> str:
        return f"`{self.call}` ended with {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


@dataclass
class Running:
    """A call of npuctl that goes on in a session of its own, as in a terminal."""

    call: str
    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    check: Callable[[Ran], Ran]

    def until(self, seen: Callable[[str], bool]) -> None:
        """Wait until standard output satisfies `seen`."""
        eventually(lambda: seen(self.out.read_text()) or self.process.poll() is not None)
        assert seen(self.out.read_text()), f"ended before: {self.out.read_text()}{self.err.read_text()}"

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self) -> Ran:
        """Wait for its end."""
        code = self.process.wait(PATIENCE)
        return self.check(Ran(self.call, code, self.out.read_text(), self.err.read_text()))


@dataclass(frozen=True)
class Node:
    """A node, looked at from outside: through the engine that runs it, never through npuctl."""

    name: str
    container: str
    address: str

    def sh(self, script: str, *, check: bool = True) -> str:
        """Output of a shell script run as root on the node."""
        words = ["docker", "exec", self.container, "sh", "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0 or not check, f"{self.name}: {script}: {done.stdout}{done.stderr}"
        return done.stdout

    def sh_with(self, given: str, script: str) -> str:
        """Output of a script that reads `given` from its standard input; whatever its end."""
        words = ["docker", "exec", "-i", self.container, "sh", "-c", script]
        done = subprocess.run(
            words, input=given, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return done.stdout

    def containers(self) -> dict[str, str]:
        """Container → state, as the node's own engine tells."""
        rows = self.sh("docker ps --all --format '{{.Names}} {{.State}}'").splitlines()
        return dict(row.split(" ", 1) for row in rows)

    def inspect(self, name: str) -> dict[str, Any]:
        """The engine's description of a container."""
        described: dict[str, Any] = json.loads(self.sh(f"docker inspect {name}"))[0]
        return described

    def started(self) -> dict[str, str]:
        """Container → id and time of its last start: both the same, then nobody touched it."""
        text = self.sh("docker ps -aq | xargs -r docker inspect -f '{{.Name}} {{.Id}}{{.State.StartedAt}}'")
        return {row.split()[0].lstrip("/"): row.split()[1] for row in text.splitlines()}

    def chips(self, name: str) -> list[int]:
        """NPUs that a container was given."""
        devices = self.inspect(name)["HostConfig"]["Devices"] or []
        paths = [str(device["PathOnHost"]) for device in devices]
        return sorted(int(path[12:]) for path in paths if re.fullmatch(r"/dev/davinci\d+", path))

    def holders(self) -> list[tuple[int, int]]:
        """(pid, chip) of every process that has an NPU open."""
        return [(pid, chip) for pid, chip in json.loads(self.sh(f"python3 -c '{_HOLDERS}'"))]

    def hbm(self) -> list[int]:
        """MB of HBM in use, chip by chip, as npu-smi prints them."""
        found = re.findall(r"(\d+)\s*/\s*(\d+)\s*\|?\s*$", self.sh("npu-smi info"), re.MULTILINE)
        return [int(used) for used, total in found if int(total) > 1024]

    def listens(self, port: int) -> bool:
        """Whether anything listens on a TCP port."""
        return bool(self.sh(f"ss -Hltn 'sport = :{port}'").strip())

    def tree(self) -> list[str]:
        """Everything below /etc and /root with mode, owner, size and time."""
        return sorted(self.sh("find /etc /root -printf '%p %y %m %U:%G %s %T@\\n'").splitlines())

    def left(self) -> list[str]:
        """Whatever a service could have left behind."""
        return self.sh(_LEFT).splitlines()

    def ask(
        self, port: int, path: str, body: dict[str, Any] | None = None, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one HTTP request from here to the node; status 0: nobody answered."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        payload = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}:{port}{path}", payload, headers)
        try:
            with _OPENER.open(request, timeout=60) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            with error:
                error.read()
                return error.code, {}
        except OSError:
            return 0, {}

    def complete(self, port: int, model: str = "npuctl/tiny", key: str = "") -> tuple[int, dict[str, Any]]:
        """Ask for a completion."""
        return self.ask(port, "/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 4}, key)


# No proxy of this machine stands between a test and a node.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Sandbox:
    """The nodes, and the inventory that `npuctl sandbox up` wrote."""

    name: str
    inventory: Path
    nodes: tuple[Node, ...]
    template: dict[str, Any]


@dataclass
class Cluster:
    """One test's cluster: a copy of the inventory, a spec, and npuctl run on it."""

    sandbox: Sandbox
    inventory: Path
    work: Path
    sockets: Path
    env: dict[str, str] = field(default_factory=dict)
    _faults: list[tuple[str, str]] = field(default_factory=list)
    _foreign: list[tuple[Node, int]] = field(default_factory=list)
    _running: list[Running] = field(default_factory=list)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes."""
        return self.sandbox.nodes

    def node(self, name: str) -> Node:
        """The node of that name."""
        return next(node for node in self.nodes if node.name == name)

    def service(self, name: str = "chat", **changes: Any) -> dict[str, Any]:
        """A service on node-1 that works; `changes` say what is special."""
        return {
            **self.sandbox.template,
            "name": name,
            "hosts": ["node-1"],
            "replicas": 1,
            "topology": {"tensor_parallel": 1},
            "ready_within_seconds": 120,
            **changes,
        }

    def write(self, *services: dict[str, Any], **more: Any) -> None:
        """Write cluster.yml."""
        spec = {"npuctl_cluster": {"name": NAME, "services": list(services), **more}}
        (self.inventory / "group_vars/all/cluster.yml").write_text(
            yaml.safe_dump(spec, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )

    def rewrite(self, spec: dict[str, Any]) -> None:
        """Write cluster.yml from a whole spec, under the name of this folder's clusters."""
        self.write(*spec["services"], **{key: spec[key] for key in spec if key not in {"name", "services"}})

    def run(self, verb: str, *words: str, expect: int | None = 0) -> Ran:
        """Run a verb to its end; its exit code must be `expect`, and it may never show a traceback."""
        done = self.begin(verb, *words).finish()
        assert expect is None or done.code == expect, f"expected {expect}: {done}"
        return done

    def begin(self, verb: str, *words: str) -> Running:
        """Start a verb and do not wait."""
        argv = [str(NPUCTL), verb, str(self.inventory), *words]
        serial = len(self._running)
        out, err = self.work / f"{serial}.out", self.work / f"{serial}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self.environment(),
                start_new_session=True,
            )
        self._running.append(Running(" ".join(["npuctl", verb, *words]), process, out, err, self._checked))
        return self._running[-1]

    @contextlib.contextmanager
    def piped(self, verb: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a verb whose output is read as it comes; ended with the block at the latest."""
        process = subprocess.Popen(
            [str(NPUCTL), verb, str(self.inventory), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with process:
                process.wait(PATIENCE)

    def environment(self) -> dict[str, str]:
        """Nothing of npuctl's or Ansible's own settings here; home, temporary files and sockets of its own."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("NPUCTL_", "ANSIBLE_"))
        }
        own = {"HOME": str(self.work), "TMPDIR": str(self.work), "XDG_RUNTIME_DIR": str(self.sockets)}
        return {**kept, **own, **self.env}

    def states(self, *words: str) -> dict[str, str]:
        """Replica → state, as `npuctl health` says."""
        done = self.run("health", "--output", "json", *words, expect=None)
        found = {entry["replica"]: entry["state"] for entry in done.data["replicas"]}
        all_ready = set(found.values()) <= {"ready"}
        assert done.code == (0 if all_ready else 6), str(done)
        return found

    def health_of(self, replica: str) -> dict[str, Any]:
        """What `npuctl health` says of one replica."""
        done = self.run("health", "--output", "json", expect=None)
        return next(entry for entry in done.data["replicas"] if entry["replica"] == replica)

    def journal(self) -> list[dict[str, Any]]:
        """The journal's lines."""
        path = self.inventory / ".npuctl" / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def fault(self, node: str, name: str, *words: str) -> None:
        """Put a fault on a node; it is taken off when the test ends."""
        self._faults.append((node, name))
        run_sandbox("fault", node, name, *words, "--name", self.sandbox.name)

    def mend(self, node: str, name: str) -> None:
        """Take a fault off."""
        self._faults.remove((node, name))
        run_sandbox("fault", node, name, "--clear", "--name", self.sandbox.name)

    def mend_all(self) -> None:
        """Take every fault off, the last one first."""
        for node, name in reversed(list(self._faults)):
            self.mend(node, name)

    def hold_chip(self, node: str, chip: int) -> int:
        """Start a process that is none of ours and has an NPU open; its pid on the node."""
        chosen = self.node(node)
        program = f'import time; chip = open("/dev/davinci{chip}"); time.sleep(86400)'
        chosen.sh(f"setsid python3 -c '{program}' >/dev/null 2>&1 & ")
        eventually(lambda: any(held == chip for _pid, held in chosen.holders()))
        pid = next(pid for pid, held in chosen.holders() if held == chip)
        self._foreign.append((chosen, pid))
        return pid

    def wait(self, holds: Callable[[], object], *, seconds: float = PATIENCE) -> None:
        """Wait until it is so."""
        eventually(holds, seconds=seconds)

    def close_connections(self) -> None:
        """End the SSH connections that npuctl keeps, so that the next call must make new ones."""
        for socket in self.sockets.glob("npuctl-*/*"):
            subprocess.run(
                ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "node"], capture_output=True, check=False
            )

    def _checked(self, ran: Ran) -> Ran:
        # At the start of a line: an engine's own, in the log lines that npuctl shows, is indented.
        assert not re.search(r"^Traceback", ran.text, re.MULTILINE), f"a traceback: {ran}"
        bugs = [path.read_text() for path in self.work.glob("npuctl-bug-*")]
        assert not bugs, f"npuctl met a bug of its own: {ran}\n{bugs[0]}"
        return ran

    def reset(self) -> None:
        """Mend every fault, tear down, and insist that nothing is left anywhere."""
        for running in self._running:
            if running.process.poll() is None:
                os.killpg(running.process.pid, signal.SIGKILL)
                running.process.wait()
        self.mend_all()
        for chosen, pid in self._foreign:
            chosen.sh(f"kill -9 {pid}", check=False)
        self.env.clear()
        for name in ("hosts.yml", ".ssh/known_hosts"):
            shutil.copy(self.sandbox.inventory / name, self.inventory / name)
        (self.inventory / "group_vars/all/vault.yml").unlink(missing_ok=True)
        self.write()
        try:
            self.run("teardown", "--yes")
            with ThreadPoolExecutor(len(self.nodes)) as pool:
                left = dict(zip(self.nodes, pool.map(Node.left, self.nodes), strict=True))
            found = [f"{node.name}: {line}" for node, lines in left.items() for line in lines]
            assert not found, f"left after teardown: {found}"
        except BaseException:
            # The next test must not suffer for this one.
            for one in self.nodes:
                one.sh("docker ps -aq | xargs -r docker rm -f; rm -rf /etc/npuctl", check=False)
            raise
        finally:
            self.close_connections()


def eventually(holds: Callable[[], object], *, seconds: float = PATIENCE) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        time.sleep(0.2)


def run_sandbox(*words: str) -> str:
    """Run `npuctl sandbox …`, which must succeed; its standard output."""
    done = subprocess.run([str(NPUCTL), "sandbox", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"npuctl sandbox {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout
