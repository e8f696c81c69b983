"""Links of a known speed: what light nodes send and what they receive, each held to it by the kernel (tc tbf)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.look.nodes import LightNode
from npuctl.sandbox import docker


def shape(nodes: Sequence[LightNode], mbit_per_second: int) -> None:
    """Hold each node's link to that speed in both directions; it goes with the node.

    Raises:
        subprocess.CalledProcessError: tc or nsenter refused; both want root.
    """
    for node in nodes:
        pid = docker.run("inspect", "--format", "{{.State.Pid}}", node.container).strip()
        inside = ["nsenter", "--target", pid, "--net"]
        index = _run([*inside, "cat", "/sys/class/net/eth0/iflink"]).strip()
        _limit(["tc"], _interface(int(index)), mbit_per_second)
        _limit([*inside, "tc"], "eth0", mbit_per_second)


def _limit(tc: Sequence[str], interface: str, mbit_per_second: int) -> None:
    words = ["qdisc", "replace", "dev", interface, "root", "tbf"]
    _run([*tc, *words, "rate", f"{mbit_per_second}mbit", "burst", "512kb", "latency", "100ms"])


def _interface(index: int) -> str:
    """Name of this machine's interface with that index."""
    for path in Path("/sys/class/net").iterdir():
        if (path / "ifindex").read_text(encoding="ascii").strip() == str(index):
            return path.name
    raise RuntimeError(f"there is no interface {index}")


def _run(argv: Sequence[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
