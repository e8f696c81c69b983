"""Probes of a cluster: one call a node, all at once, and one answer of them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from npuctl.remote import reach as module
from npuctl.remote.inventory import Inventory
from npuctl.remote.program import Program
from npuctl.remote.ssh import Answer
from tests.making import inventory_of, network_of, node, on_network, service_data, spec_of

LOST = {"rc": 1, "text": "3 packets transmitted, 0 received, 100.00% packet loss\nCommand execute failed!\n"}


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return inventory_of(tmp_path, spec_of(service_data()), "node-1", "node-2", "node-3")


class Nodes:
    """Stands for the nodes: every probe comes back, except those of `lost` and of nodes that are `gone`."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        self.programs: set[str] = set()
        self.calls = 0
        self.seconds = 0.0
        self.lost: set[str] = set()
        self.gone: set[str] = set()

    def ask(
        self,
        _inventory: Inventory,
        program: Program,
        requests: Mapping[str, dict[str, Any]],
        *,
        seconds: float,
    ) -> Iterator[Answer]:
        self.asked, self.seconds = dict(requests), seconds
        self.programs.add(program.name)
        self.calls += 1
        for name, request in requests.items():
            if name in self.gone:
                yield Answer(name, error="the node does not answer")
                continue
            chips = {
                chip: [LOST if address in self.lost else None for _plane, address in targets]
                for chip, targets in request["probes"].items()
            }
            yield Answer(name, data={"chips": chips, "repeated": 0})


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    found = Nodes()
    monkeypatch.setattr(module, "ask", found.ask)
    return found


def test_every_node_is_asked_once_and_the_answers_are_one(inventory: Inventory, nodes: Nodes) -> None:
    nodes.lost = {"10.20.2.14"}
    told: list[str] = []
    reach = module.probe_reach(inventory, network_of(*map(on_network, (1, 2, 3))), told.append)
    assert (nodes.calls, nodes.programs) == (1, {"npuctl_reach"})
    assert (reach.asked, reach.ok) == (384, 368)
    assert {(probe.peer_node, probe.peer_chip) for probe in reach.probes} == {("node-2", 3)}
    assert told == [
        "384 probes between the NPUs of 3 nodes",
        "node-1: 120 of 128 probes came back whole",
        "node-2: 128 of 128 probes came back whole",
        "node-3: 120 of 128 probes came back whole",
    ]


def test_the_call_may_take_longer_than_the_probes(inventory: Inventory, nodes: Nodes) -> None:
    facts = network_of(*map(on_network, (1, 2)))
    for all_pairs in (False, True):
        module.probe_reach(inventory, facts, all_pairs=all_pairs)
        assert all(request["seconds"] + 10 < nodes.seconds for request in nodes.asked.values())


def test_a_node_that_is_lost_meanwhile_is_skipped(inventory: Inventory, nodes: Nodes) -> None:
    nodes.gone = {"node-3"}
    told: list[str] = []
    reach = module.probe_reach(inventory, network_of(*map(on_network, (1, 2, 3))), told.append)
    assert reach.skipped == {"node-3": "the node does not answer"}
    assert reach.asked == reach.ok == 256
    assert told[-1] == "node-3: could not probe: the node does not answer"


def test_without_two_networks_nobody_is_asked(inventory: Inventory, nodes: Nodes) -> None:
    told: list[str] = []
    reach = module.probe_reach(inventory, network_of(on_network(1), node("310p")), told.append)
    assert (reach.asked, reach.seconds, told) == (0, 0.0, [])
    assert nodes.asked == {}
    assert "node-2" in reach.skipped


def test_a_sample_is_told_as_one(tmp_path: Path, nodes: Nodes) -> None:
    names = [f"node-{number}" for number in range(1, 10)]
    told: list[str] = []
    inventory = inventory_of(tmp_path, spec_of(service_data()), *names)
    reach = module.probe_reach(inventory, network_of(*map(on_network, range(1, 10))), told.append)
    assert reach.sampled
    assert told[0] == "576 probes between the NPUs of 9 nodes, a sample of 4608 pairs"
