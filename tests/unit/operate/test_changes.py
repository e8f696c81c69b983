"""Deploy, start, stop and teardown with made-up nodes: what is chosen, refused, run, proven and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from npuctl.errors import CheckRefusedError, LockedError, UsageError
from npuctl.facts.model import ClusterFacts, DockerFacts, HolderFacts, Unreachable
from npuctl.facts.survey import CardFacts, Survey
from npuctl.health.probe import Target
from npuctl.health.verdict import ReplicaHealth, State
from npuctl.operate import deploy as deploying
from npuctl.operate import look as looking
from npuctl.operate import record, thorough
from npuctl.operate import stop as stopping
from npuctl.operate.deploy import Applied, deploy, start
from npuctl.operate.progress import Notice, Progress
from npuctl.operate.stop import Stopped, stop, teardown
from npuctl.plan.proof import Evidence
from npuctl.remote.inspect import Inspection
from npuctl.remote.inventory import Inventory
from npuctl.runner.run import Outcome
from npuctl.spec.models import ClusterSpec, Waiver
from npuctl.state.journal import read_journal
from npuctl.state.lock import hold_lock
from tests.making import after_apply, facts_of, inventory_of, node, plan_of, root_files, service_data, spec_of

Steps = list[tuple[str, str, str]]


class World:
    """Nodes that do what a play says: `facts` is what they show, `played` what was asked of them."""

    def __init__(self, folder: Path, spec: ClusterSpec, facts: ClusterFacts) -> None:
        self.folder = folder
        self.spec = spec
        self.facts = facts
        self.outcome = Outcome()
        self.states: dict[str, State] = {}
        self.played: list[dict[str, Any]] = []
        self.told: list[Progress] = []
        self.surveys = 0
        self.after: Callable[[ClusterFacts], ClusterFacts] = lambda facts: facts

    def inventory(self) -> Inventory:
        names = [*self.facts.nodes, *self.facts.unreachable]
        return inventory_of(self.folder, self.spec, *names)

    def deployed(self) -> World:
        self.facts = after_apply(plan_of(self.spec, self.facts), self.facts)
        return self

    def inspect(
        self, _inventory: Inventory, nodes: Sequence[str], *, survey: bool = False, **_more: Any
    ) -> ClusterFacts:
        self.surveys += survey
        return ClusterFacts(
            nodes={name: found for name, found in self.facts.nodes.items() if name in nodes},
            unreachable={name: found for name, found in self.facts.unreachable.items() if name in nodes},
        )

    def inspect_with_replicas(
        self, inventory: Inventory, nodes: Sequence[str], _replicas: object, **_more: Any
    ) -> Inspection:
        facts = self.inspect(inventory, nodes)
        return Inspection(facts, {name: [] for name in facts.nodes})

    def judge(self, targets: Sequence[Target], _observed: object, **_more: Any) -> list[ReplicaHealth]:
        return self.ask(self.inventory(), targets)

    def play(
        self,
        _inventory: Inventory,
        playbook: str,
        source: dict[str, Any],
        _folder: Path,
        _emit: object,
        outcome: Outcome,
        **given: Any,
    ) -> None:
        assert playbook == "apply.yml"
        hosts = source["all"]["children"]["npuctl_changed"]["hosts"]
        self.played.append({"hosts": hosts, **given})
        self.facts = self.after(self.facts)
        outcome.failed |= {node: why for node, why in self.outcome.failed.items() if node in hosts}
        outcome.unreachable |= {node: why for node, why in self.outcome.unreachable.items() if node in hosts}
        outcome.changed |= self.outcome.changed
        outcome.cancelled = self.outcome.cancelled

    def steps(self, play: int = -1) -> Steps:
        return [
            (name, step["name"], step["entry"])
            for name, own in self.played[play]["hosts"].items()
            for step in own["npuctl_steps"]
        ]

    def ask(
        self, _inventory: Inventory, targets: Sequence[Target], *_rest: Any, **_more: Any
    ) -> list[ReplicaHealth]:
        return [
            ReplicaHealth(
                entry.service.name, entry.replica, entry.node, self.states.get(entry.replica, "ready"), ""
            )
            for entry in targets
        ]


Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def build(*services: dict[str, Any], **nodes: Any) -> World:
        spec = spec_of(*(services or (service_data(hosts="serving", replicas=2),)))
        own = nodes or {"node_1": node(files=root_files()), "node_2": node(files=root_files())}
        world = World(tmp_path, spec, facts_of(**own))
        monkeypatch.setattr(looking, "load_inventory", lambda _folder: world.inventory())
        monkeypatch.setattr(looking, "inspect_with_replicas", world.inspect_with_replicas)
        monkeypatch.setattr(looking, "judge_node", world.judge)
        monkeypatch.setattr(stopping, "inspect_nodes", world.inspect)
        monkeypatch.setattr(thorough, "inspect_nodes", world.inspect)
        monkeypatch.setattr(record, "run_playbook", world.play)
        monkeypatch.setattr(deploying, "wait_until_ready", world.ask)
        monkeypatch.setattr(deploying, "ask_replicas", world.ask)
        monkeypatch.setattr(stopping, "_PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(stopping, "_PROOF_SECONDS", 0.05)
        return world

    return build


def events(world: World) -> list[str]:
    return [line["event"] for line in read_journal(world.folder / ".npuctl")]


def halted(facts: ClusterFacts) -> ClusterFacts:
    """All containers stopped by hand: nothing is held, nothing listens."""
    clean = node()
    nodes = {
        name: found.model_copy(
            update={
                "containers": [
                    entry.model_copy(update={"state": "exited", "restart_policy": "no"})
                    for entry in found.containers
                ],
                "holders": [],
                "listeners": [],
                "chips": clean.chips,
            }
        )
        for name, found in facts.nodes.items()
    }
    return facts.model_copy(update={"nodes": nodes})


def gone(facts: ClusterFacts) -> ClusterFacts:
    return facts.model_copy(update={"nodes": {name: node() for name in facts.nodes}})


def test_a_deploy_creates_waits_and_records(make: Make) -> None:
    world = make()
    done = deploy(world.folder, world.told.append)
    assert world.steps() == [("node-1", "chat-0", "start"), ("node-2", "chat-1", "start")]
    assert [entry.state for entry in done.health] == ["ready", "ready"]
    assert done.exit_code == 0
    assert events(world) == ["begun", "result", "ended"]
    assert [type(entry).__name__ for entry in world.told] == ["Notice"] * 4
    assert world.surveys == 1


def test_a_second_deploy_does_nothing_and_leaves_no_record(make: Make) -> None:
    world = make().deployed()
    done = deploy(world.folder, world.told.append)
    assert (done.steps, done.exit_code, world.played, events(world)) == ((), 0, [], [])
    assert world.surveys == 0, "nothing changes: one look is enough"


def test_what_only_the_thorough_look_sees_refuses_the_deploy(make: Make) -> None:
    world = make()
    survey = Survey(cards=[CardFacts(npu=3, driver_version="25.5.2", compatibility="NOK")])
    sick = world.facts.nodes["node-2"].model_copy(update={"survey": survey})
    world.facts = world.facts.model_copy(update={"nodes": {**world.facts.nodes, "node-2": sick}})
    with pytest.raises(CheckRefusedError, match=r"driver\.compatibility"):
        deploy(world.folder, world.told.append)
    assert (world.played, events(world)) == ([], [])


def test_a_waived_finding_does_not_refuse(make: Make) -> None:
    world = make()
    survey = Survey(cards=[CardFacts(npu=3, driver_version="25.5.2", compatibility="NOK")])
    sick = world.facts.nodes["node-2"].model_copy(update={"survey": survey})
    world.facts = world.facts.model_copy(update={"nodes": {**world.facts.nodes, "node-2": sick}})
    waiver = Waiver(check="driver.compatibility", reason="the vendor says that it is fine")
    world.spec = world.spec.model_copy(update={"waivers": [waiver]})
    assert deploy(world.folder, world.told.append).exit_code == 0
    told = [notice.text for notice in world.told if isinstance(notice, Notice) and notice.stage == "check"]
    assert told[1] == "waived: the vendor says that it is fine"
    assert told[-1] == "0 errors, 0 warnings, 1 waived; npuctl check shows them"


def changed(make: Make) -> World:
    """Three replicas that run, and a spec that changes all of them."""
    world = make(service_data(hosts="serving", replicas=3)).deployed()
    world.spec = spec_of(service_data(hosts="serving", replicas=3, args={"max-model-len": 4096}))
    return world


def test_one_replica_of_a_service_is_changed_first(make: Make) -> None:
    world = changed(make)
    done = deploy(world.folder, world.told.append)
    assert [[name for _node, name, _entry in world.steps(play)] for play in (0, 1)] == [
        ["chat-0"],
        ["chat-2", "chat-1"],
    ]
    assert (done.exit_code, done.left_out, len(done.health)) == (0, (), 3)


@pytest.mark.parametrize("state", ["dead", "hung", "starting", "degraded", "unreachable"])
def test_the_others_stay_as_they_are_when_the_first_does_not_come_up(make: Make, state: State) -> None:
    world = changed(make)
    world.states = {"chat-0": state}
    done = deploy(world.folder, world.told.append)
    assert len(world.played) == 1
    assert [line.partition(" ")[0] for line in done.left_out] == ["chat-2", "chat-1"]
    assert done.exit_code in {5, 6}


@pytest.mark.parametrize("kind", ["failed", "unreachable"])
def test_the_others_stay_as_they_are_when_the_first_could_not_be_changed(make: Make, kind: str) -> None:
    """The old container may still give tokens: that says nothing of the new configuration."""
    world = changed(make)
    setattr(world.outcome, kind, {"node-1": "boom"})
    deploy(world.folder, world.told.append)
    assert len(world.played) == 1


def test_check_mode_shows_all_waves_at_once(make: Make) -> None:
    world = changed(make)
    deploy(world.folder, world.told.append, dry_run=True)
    assert len(world.played) == 1
    assert len(world.steps()) == 3


def test_check_mode_asks_for_no_token(make: Make) -> None:
    world = make()
    done = deploy(world.folder, world.told.append, dry_run=True)
    assert world.played[0]["check"] is True
    assert (done.health, done.exit_code) == ((), 0)


def test_a_check_that_fails_refuses_all(make: Make) -> None:
    world = make(node_1=node(docker=DockerFacts(error="down")), node_2=node())
    with pytest.raises(CheckRefusedError, match="1 check failed; no node was touched") as caught:
        deploy(world.folder, world.told.append)
    assert (world.played, events(world)) == ([], [])
    findings: Any = caught.value.as_data()["findings"]
    assert findings[0]["id"] == "docker.engine"


def test_an_error_of_another_service_does_not_refuse_the_one_that_is_meant(make: Make) -> None:
    world = make(service_data("good"), service_data("bad", port=9000, chips=[99]), node_1=node())
    with pytest.raises(CheckRefusedError):
        deploy(world.folder, world.told.append)
    assert deploy(world.folder, world.told.append, service="good").exit_code == 0
    assert world.steps() == [("node-1", "good-0", "start")]


def test_only_a_service_or_some_nodes(make: Make) -> None:
    pair = [
        service_data("a", hosts="serving", replicas=2),
        service_data("a-b", hosts="serving", replicas=2, port=9000),
    ]
    world = make(*pair)
    deploy(world.folder, world.told.append, service="a")
    assert [name for _node, name, _entry in world.steps()] == ["a-0", "a-1"]
    deploy(world.folder, world.told.append, limit=["node-2"])
    assert [name for _node, name, _entry in world.steps()] == ["a-1", "a-b-1"]


@pytest.mark.parametrize(("limit", "service"), [(["node-9"], None), ([], "nothing")])
def test_a_name_that_is_not_there_is_refused(make: Make, limit: list[str], service: str | None) -> None:
    world = make()
    with pytest.raises(UsageError):
        deploy(world.folder, world.told.append, limit=limit, service=service)
    assert world.played == []


@pytest.mark.parametrize(
    ("outcome", "states", "code"),
    [
        (Outcome(), {}, 0),
        (Outcome(failed={"node-1": "boom"}), {}, 4),
        (Outcome(failed={"node-1": "boom"}, unreachable={"node-2": "off"}), {"chat-0": "dead"}, 4),
        (Outcome(unreachable={"node-2": "off"}), {}, 5),
        (Outcome(unreachable={"node-2": "off"}), {"chat-0": "hung"}, 6),
        (Outcome(), {"chat-1": "unreachable"}, 5),
        (Outcome(), {"chat-1": "starting"}, 6),
    ],
)
def test_the_exit_code_is_the_worst_that_happened(
    make: Make, outcome: Outcome, states: dict[str, State], code: int
) -> None:
    world = make()
    world.outcome, world.states = outcome, states
    done = deploy(world.folder, world.told.append)
    assert done.exit_code == code
    assert read_journal(world.folder / ".npuctl")[-2]["exit_code"] == code


def test_a_node_that_is_silent_is_left_and_named(make: Make) -> None:
    world = make(node_1=node())
    world.facts = world.facts.model_copy(update={"unreachable": {"node-2": Unreachable(reason="off")}})
    done = deploy(world.folder, world.told.append)
    assert world.steps() == [("node-1", "chat-0", "start")]
    assert done.exit_code == 5


def test_one_change_at_a_time(make: Make) -> None:
    world = make()
    with hold_lock(world.folder / ".npuctl", "deploy"), pytest.raises(LockedError):
        deploy(world.folder, world.told.append)
    assert world.played == []


def test_an_interrupted_play_is_recorded_as_such(make: Make) -> None:
    world = make()
    world.outcome = Outcome(cancelled=True, changed={"node-1": ["created"]})
    with pytest.raises(Exception, match="deploy was interrupted\n  node-1: created") as caught:
        deploy(world.folder, world.told.append)
    assert type(caught.value).__name__ == "CancelledError"
    assert events(world) == ["begun", "interrupted"]


def test_start_starts_what_is_stopped_and_nothing_else(make: Make) -> None:
    world = make(service_data("old"), node_1=node(files=root_files())).deployed()
    world.facts = halted(world.facts)
    world.spec = spec_of(service_data("old"), service_data("new", port=9000))
    done = start(world.folder, world.told.append)
    assert world.steps() == [("node-1", "old-0", "start")]
    assert done.left_out == ("new-0 on node-1 needs create: npuctl deploy",)


def test_a_stop_is_proven(make: Make) -> None:
    world = make().deployed()
    world.after = halted
    done = stop(world.folder, world.told.append)
    assert world.steps() == [("node-1", "chat-0", "stop"), ("node-2", "chat-1", "stop")]
    assert done.evidence
    assert all(entry.holds for entry in done.evidence)
    assert done.exit_code == 0
    assert events(world) == ["begun", "result", "ended"]


def test_a_stop_that_cannot_be_proven_is_a_failure(make: Make) -> None:
    world = make().deployed()
    done = stop(world.folder, world.told.append)
    assert done.exit_code == 4
    assert read_journal(world.folder / ".npuctl")[-2]["unproven"]


def test_a_stop_of_what_is_stopped_does_nothing(make: Make) -> None:
    world = make().deployed()
    world.facts = halted(world.facts)
    done = stop(world.folder, world.told.append)
    assert (done.steps, done.exit_code, world.played) == ((), 0, [])


def test_a_second_stop_does_not_hide_memory_that_the_first_one_found(make: Make) -> None:
    world = make().deployed()
    found = halted(world.facts)
    leaking = found.nodes["node-2"]
    chips = [chip.model_copy(update={"memory_used_mb": 50000}) for chip in leaking.chips]
    world.facts = found.model_copy(
        update={"nodes": {**found.nodes, "node-2": leaking.model_copy(update={"chips": chips})}}
    )
    done = stop(world.folder, world.told.append)
    assert (done.steps, done.exit_code, world.played) == ((), 4, [])
    assert [(entry.node, entry.what) for entry in done.evidence if not entry.holds] == [
        ("node-2", "HBM of chip 0")
    ]


def test_a_stop_of_one_service_leaves_the_other(make: Make) -> None:
    world = make(service_data("a"), service_data("b", port=9000), node_1=node()).deployed()
    stop(world.folder, world.told.append, service="b")
    assert world.steps() == [("node-1", "b-0", "stop")]


def test_a_teardown_removes_all_of_ours_and_reports_the_rest(make: Make) -> None:
    stranger = HolderFacts(chip=7, pid=9, command="python train.py")
    world = make(node_1=node(files=root_files(), holders=[stranger]), node_2=node()).deployed()
    world.after = lambda facts: gone(facts).model_copy(
        update={"nodes": {"node-1": node(holders=[stranger]), "node-2": node()}}
    )
    done = teardown(world.folder, world.told.append)
    assert world.steps() == [("node-1", "chat-0", "remove"), ("node-2", "chat-1", "remove")]
    folders = [own["npuctl_folders_to_remove"] for own in world.played[-1]["hosts"].values()]
    assert folders == [["/etc/npuctl/prod", "/etc/npuctl"]] * 2
    assert done.foreign == {"node-1": ["chip 7: pid 9 (python train.py)"]}
    assert done.exit_code == 0


def test_a_teardown_leaves_the_folder_of_another_cluster(make: Make) -> None:
    world = make(node_1=node(clusters=["other", "prod"]))
    teardown(world.folder, world.told.append)
    assert world.played[-1]["hosts"]["node-1"]["npuctl_folders_to_remove"] == ["/etc/npuctl/prod"]


def test_a_teardown_of_nothing_does_nothing(make: Make) -> None:
    world = make()
    assert teardown(world.folder, world.told.append).exit_code == 0
    assert (world.played, events(world)) == ([], [])


@pytest.mark.parametrize("verb", [stop, teardown])
def test_a_node_whose_docker_is_silent_is_not_called_clean(make: Make, verb: Any) -> None:
    broken = node(docker=DockerFacts(error="down"), clusters=["prod"])
    world = make(node_1=broken, node_2=node())
    done = verb(world.folder, world.told.append)
    assert done.unreachable == {"node-1": "down"}
    assert done.exit_code == 5
    assert world.played == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"outcome": Outcome(failed={"a": "b"})}, 4),
        ({"evidence": (Evidence("n", "port", holds=False, seen=""),)}, 4),
        ({"unreachable": {"n": "off"}}, 5),
        ({"outcome": Outcome(unreachable={"n": "off"})}, 5),
        ({"outcome": Outcome(failed={"a": "b"}), "unreachable": {"n": "off"}}, 4),
    ],
)
def test_the_exit_code_of_a_stop(changes: dict[str, Any], code: int) -> None:
    assert replace(Stopped("prod", (), Outcome(), ()), **changes).exit_code == code


def test_an_applied_change_is_frozen(make: Make) -> None:
    done = deploy(make().folder, lambda _progress: None)
    assert isinstance(done, Applied)
    with pytest.raises(AttributeError):
        done.dry_run = True  # type: ignore[misc]


@pytest.mark.parametrize("state", ["dead", "hung", "degraded", "starting"])
def test_a_deploy_with_nothing_to_change_does_not_hide_a_replica_without_a_token(
    make: Make, state: State
) -> None:
    world = make().deployed()
    world.states = {"chat-1": state}
    applied = deploy(world.folder, world.told.append)
    assert (applied.steps, applied.exit_code, world.played) == ((), 6, [])
    assert [entry.replica for entry in applied.health] == ["chat-1"]


def test_a_failed_change_tried_again_takes_no_further_replica_down(make: Make) -> None:
    world = make().deployed()
    changed = spec_of(service_data(hosts="serving", replicas=2, args={"max-model-len": 1}))
    half = after_apply(plan_of(changed, world.facts), world.facts)
    world.facts = half.model_copy(update={"nodes": {**half.nodes, "node-2": world.facts.nodes["node-2"]}})
    world.spec = changed
    world.states = {"chat-0": "dead"}
    applied = deploy(world.folder, world.told.append)
    assert (world.played, applied.exit_code) == ([], 6)
    assert applied.left_out == (
        "chat-1 on node-2: a replica of chat that is already changed did not come up",
    )
