"""The roll-out of a driver over made-up nodes: whose turn it is, what ends it, what a later run goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from npuctl.facts.model import ClusterFacts, HolderFacts, Unreachable
from npuctl.facts.reach import Probe, Reach
from npuctl.facts.survey import PortFacts
from npuctl.health.verdict import ReplicaHealth, State
from npuctl.operate import driver_rollout, record
from npuctl.operate.driver_rollout import RolloutResult, roll_out
from npuctl.operate.progress import Notice, Progress
from npuctl.operate.record import Change
from npuctl.plan.provision._contract import LocalFile, Wish
from npuctl.plan.provision.driver_packages import Chosen
from npuctl.plan.provision.driver_record import Kind, read_transaction
from npuctl.plan.provision.driver_steps import Step
from npuctl.runner.run import Outcome
from npuctl.state.journal import begin_run, read_journal
from tests.driver_node import NEW, Simulated, wish
from tests.making import inventory_of


@dataclass
class World:
    """Nodes by name; `silent` do not answer, `broken` counts the connections that break in a play."""

    folder: Path
    nodes: dict[str, Simulated]
    silent: set[str] = field(default_factory=set)
    broken: dict[str, int] = field(default_factory=dict)
    reboots_end: bool = True
    state: State = "ready"
    lost: list[Probe] = field(default_factory=list)
    told: list[Progress] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def run(self, wanted: Wish | None = None, nodes: Sequence[str] = ()) -> RolloutResult:
        wanted = wanted or wish()
        inventory = inventory_of(self.folder, wanted.spec, *self.nodes)
        run = begin_run(inventory.state, "provision", {})
        change = Change(inventory, list(self.nodes), run, Outcome())
        return roll_out(inventory, wanted, nodes or list(self.nodes), self.told.append, change)

    def inspect(self, _inventory: object, nodes: Sequence[str], **_more: Any) -> ClusterFacts:
        self.asked += nodes
        return ClusterFacts(
            nodes={name: self.nodes[name].node().facts for name in nodes if name not in self.silent},
            unreachable={name: Unreachable(reason="no route") for name in nodes if name in self.silent},
        )

    def play(
        self,
        _inventory: object,
        playbook: str,
        source: dict[str, Any],
        _folder: Path,
        _emit: object,
        outcome: Outcome,
        **_given: Any,
    ) -> None:
        ((name, host),) = source["all"]["children"]["npuctl_changed"]["hosts"].items()
        there = self.nodes[name]
        if playbook == "apply.yml":
            for step in host["npuctl_steps"]:
                (there.stopped.add if step["entry"] == "stop" else there.stopped.discard)(step["container"])
            return
        values = {key.removeprefix("ascend_driver_"): value for key, value in host.items()}
        failed = self._do(there, host["npuctl_driver_entry"], values)
        if self.broken.get(name):
            self.broken[name] -= 1
            outcome.unreachable[name] = "connection reset"
        elif failed:
            outcome.failed[name] = failed
        else:
            outcome.changed.setdefault(name, []).append(host["npuctl_driver_entry"])

    def _do(self, there: Simulated, entry: str, values: dict[str, Any]) -> str:
        there.did.append(entry)
        there.records["driver"] = values["record"]
        if entry == "install":
            kind: Kind = "driver" if "driver" in values["job"] else "firmware"
            package = Chosen(kind, Path(values["package"]).name, LocalFile(""), values["package"])
            noted = read_transaction(values["record"])
            assert noted is not None
            there._install(
                Step(
                    "install",
                    "",
                    noted,
                    packages=(package,),
                    arguments=tuple(values["arguments"]),
                    identity=values["identity"],
                )
            )
            if there.records[values["job"]]["rc"] == 1:
                return "the installer ended with 1"
        elif entry == "back_up":
            there.backup = there.conf
        elif entry == "restore":
            there.conf = there.backup
        elif entry == "reboot" and self.reboots_end and values["boot_id"] == f"boot-{there.boot}":
            there.come_up()
        if entry in {"prepare", "back_up", "restore"}:
            there.records["driver"] = values["record_after"]
        return ""

    def look(self, _folder: Path, _emit: object, *, limit: Sequence[str]) -> Any:
        steps, replicas = [], []
        for name in limit:
            for container in self.nodes[name].services:
                stopped = container in self.nodes[name].stopped
                action = "start" if stopped else self.nodes[name].records.get("action", {}).get("is", "none")
                steps.append(
                    SimpleNamespace(
                        container=container,
                        action=action,
                        name="chat-0",
                        node=name,
                        engine="vllm",
                        directory="/d",
                        stop_grace_seconds=1,
                        replica=None,
                        service="chat",
                    )
                )
                replicas.append(SimpleNamespace(name="chat-0", container=SimpleNamespace(name=container)))
        changes = [step for step in steps if step.action != "none"]
        facts = ClusterFacts(nodes={name: self.nodes[name].node().facts for name in limit})
        return SimpleNamespace(
            facts=facts, plan=SimpleNamespace(steps=steps, changes=changes, replicas=replicas)
        )

    def health(
        self, _inventory: object, targets: Sequence[Any], *_rest: Any, **_more: Any
    ) -> list[ReplicaHealth]:
        return [ReplicaHealth("chat", "chat-0", "node-1", self.state, "no token") for _target in targets]

    def words(self) -> str:
        return "\n".join(entry.text for entry in self.told if isinstance(entry, Notice))


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def build(*nodes: Simulated) -> World:
        world = World(tmp_path, {f"node-{number}": node for number, node in enumerate(nodes, start=1)})
        monkeypatch.setattr(driver_rollout, "inspect_nodes", world.inspect)
        monkeypatch.setattr(driver_rollout, "look", world.look)
        monkeypatch.setattr(driver_rollout, "wait_until_ready", world.health)
        monkeypatch.setattr(driver_rollout, "prove_gone", lambda *_given: ([], {}))
        monkeypatch.setattr(driver_rollout, "close_connection", lambda *_given: None)
        monkeypatch.setattr(
            driver_rollout, "target_of", lambda _spec, replica: SimpleNamespace(replica=replica.name)
        )
        monkeypatch.setattr(driver_rollout, "probe_reach", lambda *_given: Reach(probes=world.lost))
        monkeypatch.setattr(driver_rollout, "_PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(driver_rollout, "_BROKEN_SECONDS", 0.05)
        monkeypatch.setattr(driver_rollout, "_NETWORK_SECONDS", 0.05)
        monkeypatch.setattr(driver_rollout, "_CHIPS_SECONDS", 0.05)
        monkeypatch.setattr(record, "run_playbook", world.play)
        return world

    return build


def quick(**changes: Any) -> Wish:
    """A wish whose nodes need not be waited for."""
    wanted = wish(**changes)
    assert wanted.spec.driver is not None
    driver = wanted.spec.driver.model_copy(update={"reboot_within_seconds": 0.05})
    return replace(wanted, spec=wanted.spec.model_copy(update={"driver": driver}))


def left(world: World) -> dict[str, str]:
    """Node → the last step that the journal has of it."""
    return {
        line["node"]: line["step"]
        for line in read_journal(world.folder / ".npuctl")
        if line["event"] == "driver"
    }


def test_one_node_after_the_other_with_its_services_back(make: Make) -> None:
    world = make(Simulated(exit_codes={"driver": 2}), Simulated())
    done = world.run()
    assert (done.failed, done.owed, done.untouched) == ({}, {}, ())
    assert list(done.changed) == ["node-1", "node-2"]
    assert [node.running for node in world.nodes.values()] == [NEW, NEW]
    assert [node.stopped for node in world.nodes.values()] == [set(), set()]
    first = [at for at, name in enumerate(world.asked) if name == "node-1"][-1]
    assert left(world) == {"node-1": "done", "node-2": "done"}
    assert all(name != "node-1" for name in world.asked[first + 1 :])


def test_the_first_failure_ends_it_and_the_next_run_begins_there(make: Make) -> None:
    world = make(Simulated(), Simulated(exit_codes={"driver": 1}), Simulated())
    failed = world.run()
    assert failed.failed == {"node-2": "the installer ended with 1"}
    assert failed.untouched == ("node-3",)
    assert world.nodes["node-3"].did == []
    assert left(world) == {"node-1": "done", "node-2": "failed: install"}
    world.nodes["node-2"].exit_codes = {}
    done = world.run(nodes=["node-3", "node-2"])
    assert list(done.changed) == ["node-2", "node-3"]


def test_a_node_that_does_not_come_back_keeps_all_others_as_they_are(make: Make) -> None:
    world = make(Simulated(exit_codes={"driver": 2}), Simulated())
    world.reboots_end = False
    failed = world.run(quick())
    assert "has not come back within" in failed.failed["node-1"]
    assert failed.untouched == ("node-2",)
    world.silent = {"node-1"}
    still = world.run(quick(), nodes=["node-2"])
    assert "no other node is touched" in still.failed["node-1"]
    assert world.nodes["node-2"].did == []
    world.silent = set()
    world.nodes["node-1"].come_up()
    done = world.run(nodes=["node-2", "node-1"])
    assert list(done.changed) == ["node-1", "node-2"]
    assert world.nodes["node-1"].ran.count("reboot") == 1


def test_a_silent_node_that_was_never_begun_is_left_out(make: Make) -> None:
    world = make(Simulated(services=()), Simulated(services=()))
    world.silent = {"node-1"}
    done = world.run()
    assert done.untouched == ("node-1",)
    assert list(done.changed) == ["node-2"]


def test_owing_with_services_stopped_ends_it_and_without_services_does_not(make: Make) -> None:
    world = make(Simulated(exit_codes={"driver": 2}), Simulated())
    owed = world.run(wish(reboot="never"))
    assert "its services stay stopped" in owed.owed["node-1"]
    assert owed.untouched == ("node-2",)
    idle = make(
        Simulated(exit_codes={"driver": 2}, services=()), Simulated(exit_codes={"driver": 2}, services=())
    )
    assert list(idle.run(wish(reboot="never")).owed) == ["node-1", "node-2"]


def test_a_broken_connection_ends_nothing(make: Make) -> None:
    world = make(Simulated())
    world.broken = {"node-1": 3}
    done = world.run()
    assert done.failed == {}
    assert world.nodes["node-1"].ran == ["firmware --upgrade --quiet", "driver --upgrade --quiet"]


def test_a_connection_that_breaks_for_ever_ends_it(make: Make) -> None:
    world = make(Simulated())
    world.broken = {"node-1": 10**6}
    world._do = lambda *_given: ""  # type: ignore[method-assign]  # nothing arrives
    assert "was done" in world.run().failed["node-1"]


def test_a_service_that_does_not_come_back_ends_it(make: Make) -> None:
    world = make(Simulated(), Simulated())
    world.state = "dead"
    failed = world.run()
    assert "chat-0 is dead" in failed.failed["node-1"]
    assert failed.untouched == ("node-2",)
    world.state = "ready"
    assert world.run().failed == {}
    assert world.nodes["node-1"].ran.count("driver --upgrade --quiet") == 1


def test_a_service_that_a_deploy_would_make_anew_is_not_stopped(make: Make) -> None:
    world = make(Simulated(records={"action": {"is": "recreate"}}), Simulated())
    refused = world.run()
    assert "would recreate it" in refused.failed["node-1"]
    assert [node.did for node in world.nodes.values()] == [[], []]


def test_a_foreign_process_that_came_meanwhile_is_left_alone(make: Make) -> None:
    world = make(Simulated(foreign=(HolderFacts(chip=1, pid=7, command="train"),)), Simulated())
    refused = world.run()
    assert "pid 7: train holds NPU 1" in refused.failed["node-1"]
    assert refused.untouched == ("node-2",)
    assert left(world) == {}


def test_chips_that_do_not_come_up_end_it(make: Make) -> None:
    world = make(Simulated(exit_codes={"driver": 2}, slow_boot=10**6))
    assert "its chips are not up" in world.run().failed["node-1"]


def with_ports(world: World) -> None:
    """Nodes whose first port has an address."""
    own = Simulated.node

    def shown(there: Simulated) -> Any:
        node = own(there)
        assert node.facts.survey is not None
        survey = node.facts.survey.model_copy(update={"ports": [PortFacts(chip=0, address="10.20.0.11")]})
        return replace(node, facts=node.facts.model_copy(update={"survey": survey}))

    for there in world.nodes.values():
        there.node = shown.__get__(there)  # type: ignore[method-assign]


def probe(node: str, peer: str) -> Probe:
    return Probe(node=node, chip=0, peer_node=peer, peer_chip=0, address="10.20.0.12", outcome="lost")


def test_what_was_lost_on_the_npu_network_before_is_not_the_changes_affair(make: Make) -> None:
    world = make(Simulated(), Simulated())
    with_ports(world)
    world.lost = [probe("node-1", "node-2")]
    assert world.run().failed == {}


def test_what_is_lost_on_the_npu_network_since_the_change_ends_it(make: Make) -> None:
    world = make(Simulated(), Simulated())
    with_ports(world)
    done = world.nodes["node-1"]._install

    def breaks_the_network(step: Step) -> None:
        done(step)
        world.lost = [probe("node-2", "node-1")]

    world.nodes["node-1"]._install = breaks_the_network  # type: ignore[method-assign]
    failed = world.run()
    assert "node-2 NPU 0 to node-1 NPU 0" in failed.failed["node-1"]
    assert failed.untouched == ("node-2",)
    assert world.nodes["node-1"].stopped, "its services wait for its network"
