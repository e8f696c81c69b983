"""Provision: from an installed operating system to nodes on which a service can be deployed, and back.

Every group of stages is planned from a fresh look where something was changed before it; the last look says
whether the nodes are now as the spec says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from npuctl.errors import CheckRefusedError, PlayFailedError, UnreachableError
from npuctl.facts.model import ClusterFacts
from npuctl.operate.deploy import FindingsError
from npuctl.operate.driver_rollout import RolloutResult, roll_out
from npuctl.operate.local_files import local_files
from npuctl.operate.look import open_inventory, refuse_bad_spec, resolved_hosts
from npuctl.operate.progress import Emit, Notice
from npuctl.operate.record import Change, recorded_change
from npuctl.operate.weights import WeightsResult, provide_weights
from npuctl.operate.weights_origin import seen_models
from npuctl.plan.describe import count_findings
from npuctl.plan.model import Finding
from npuctl.plan.provision import mirrors
from npuctl.plan.provision._contract import RECORDS, STAGES, LocalFile, Removal, StageName, Wish
from npuctl.plan.provision.build import ProvisionPlan, provision_plan, questions_of
from npuctl.plan.provision.settings import RECORD
from npuctl.plan.wording import several
from npuctl.remote.inspect import Survey, inspect_nodes
from npuctl.remote.inventory import Inventory, state_folder
from npuctl.runner.provision_source import PLAYBOOK, provision_source
from npuctl.runner.run import Outcome
from npuctl.spec.parse import SpecError
from npuctl.state.lock import hold_lock

# What one play does: the driver goes node by node and the weights by a way of their own, between them.
_GROUPS: tuple[tuple[StageName, ...], ...] = (
    ("mirrors", "system"),
    ("driver",),
    ("npu_network", "container_engine"),
    ("images",),
    ("weights",),
)


_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What a provisioning did.

    Attributes:
        plan: what there was to do.
        left: what a last look still found to do, where anything was changed.
        refused: what a stage must not go on with, where that was seen only after an earlier one.
        rollout: of the driver.
        weights: of the models.
        stages: those that were looked at.
    """

    plan: ProvisionPlan
    outcome: Outcome = field(default_factory=Outcome)
    left: ProvisionPlan | None = None
    refused: tuple[Finding, ...] = ()
    rollout: RolloutResult | None = None
    weights: WeightsResult | None = None
    dry_run: bool = False
    stages: tuple[StageName, ...] = STAGES

    @property
    def failed(self) -> dict[str, str]:
        """Node → why, of all stages."""
        own = dict(self.outcome.failed)
        for part in (self.rollout, self.weights):
            own |= part.failed if part else {}
        return own

    @property
    def silent(self) -> dict[str, str]:
        """Node → why nobody knows how it is set up: it did not answer at the beginning, meanwhile or at the end."""
        looks = [plan for plan in (self.plan, self.left) if plan]
        found = {name: node.reason for plan in looks for name, node in plan.unreachable.items()}
        return found | dict(self.outcome.unreachable)

    @property
    def hints(self) -> dict[str, str]:
        """Node that did not answer a look → what to do about it, where that is known."""
        looks = [plan for plan in (self.plan, self.left) if plan]
        return {name: node.hint for plan in looks for name, node in plan.unreachable.items() if node.hint}

    @property
    def untouched(self) -> tuple[str, ...]:
        """Nodes that a driver roll-out did not come to, because it stopped before."""
        return tuple(self.rollout.untouched) if self.rollout else ()

    @property
    def exit_code(self) -> int:
        """0 only when every node that was meant is as the spec says."""
        if self.failed or (self.left and self.left.changes and not self.refused):
            return PlayFailedError.exit_code
        if self.refused:
            return CheckRefusedError.exit_code
        return UnreachableError.exit_code if self.silent or self.untouched else 0


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person chose on the command line."""

    stages: tuple[StageName, ...] = STAGES
    dry_run: bool = False
    allow_restart: bool = False
    allow_downgrade: bool = False


def provision(
    folder: Path, emit: Emit, *, limit: Sequence[str] = (), choice: Choice | None = None
) -> Provisioned:
    """Make the machines as the spec says.

    Raises:
        SpecError: the spec is wrong, or names files that are not here; no node was asked.
        CheckRefusedError: a stage found what it must not go on with; no node was touched.
        LockedError: another npuctl is changing this cluster.
    """
    choice = choice or Choice()
    with hold_lock(state_folder(folder), "provision"):
        inventory, nodes = open_inventory(folder, limit=limit)
        refuse_bad_spec(inventory)
        wish = replace(_wish(inventory, nodes, choice, local_files(inventory)), seen=seen_models(inventory))
        if problems := mirrors.problems(wish):
            raise SpecError(problems)
        return _Run("provision", inventory, wish, nodes, choice, emit).to_the_end()


def unprovision(
    folder: Path,
    emit: Emit,
    *,
    limit: Sequence[str] = (),
    remove: frozenset[Removal] = frozenset(),
    allow_restart: bool = False,
) -> Provisioned:
    """Give the machines back as they were before npuctl provisioned them; the services are gone already.

    `refused` of the answer says what stands against it, such as a restart of Docker under containers of others.
    """
    with hold_lock(state_folder(folder), "teardown"):
        inventory, nodes = open_inventory(folder, limit=limit)
        choice = Choice(allow_restart=allow_restart)
        wish = replace(_wish(inventory, nodes, choice, {}), removing=True, remove=remove)
        run = _Run("teardown", inventory, wish, nodes, choice, emit)
        done = run.to_the_end()
        run.remove_empty_notes()
        return done


def _wish(inventory: Inventory, nodes: Sequence[str], choice: Choice, local: Mapping[str, LocalFile]) -> Wish:
    return Wish(
        spec=inventory.spec,
        file=inventory.spec_file,
        hosts=resolved_hosts(inventory),
        nodes=list(inventory.hosts),
        asked=nodes,
        users={name: host.user or "root" for name, host in inventory.hosts.items()},
        local=local,
        secrets=inventory.secrets,
        allow_restart=choice.allow_restart,
        allow_downgrade=choice.allow_downgrade,
    )


def look_at_setup(
    inventory: Inventory, wish: Wish, nodes: Sequence[str], stages: Sequence[StageName], emit: Emit
) -> ClusterFacts:
    """Ask nodes once for everything that the stages want to know."""
    count = "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    emit(Notice("inspect", f"asking {count} how they are set up"))
    questions = {
        key: sorted(value) if isinstance(value, frozenset) else value
        for key, value in asdict(questions_of(wish, stages)).items()
    }
    return inspect_nodes(
        inventory,
        nodes,
        survey=_survey(wish, stages),
        setup=questions,
        tell=lambda text: emit(Notice("inspect", text)),
    )


def _survey(wish: Wish, stages: Sequence[StageName]) -> Survey:
    """What a survey adds for these stages: the NPUs and their ports take most of a look's time."""
    spec = wish.spec
    driver = "driver" in stages and (spec.driver is not None or wish.removing)
    ports = "npu_network" in stages and (spec.npu_addresses is not None or wish.removing)
    if driver or ports:
        return True if "images" in stages else "npus"
    return "images" if "images" in stages else False


class _Run:
    """One provisioning: a look, then group after group, each planned from what the look after the last one saw.

    Attributes:
        facts: of the last look.
    """

    def __init__(
        self, verb: str, inventory: Inventory, wish: Wish, nodes: Sequence[str], choice: Choice, emit: Emit
    ) -> None:
        self.verb = verb
        self.inventory = inventory
        self.wish = wish
        self.nodes = nodes
        self.choice = choice
        self.emit = emit
        self.facts = ClusterFacts()

    def to_the_end(self) -> Provisioned:
        """Plan, refuse or carry out, and look whether it is so."""
        plan = self._plan(self.nodes)
        if plan.errors and self.wish.removing:  # after a teardown: "no node was touched" would not be true
            return Provisioned(plan, refused=plan.errors, stages=self.choice.stages)
        if plan.errors:
            raise FindingsError(plan.errors)
        if plan.findings:
            self.emit(Notice("check", count_findings(plan.findings)))
        if not plan.changes:
            return Provisioned(plan, dry_run=self.choice.dry_run, stages=self.choice.stages)
        changes = [
            {"node": work.node, "stage": work.stage, "count": len(work.changes)} for work in plan.changes
        ]
        touched = list(dict.fromkeys(work.node for work in plan.changes))
        with recorded_change(
            self.inventory, self.verb, touched, changes=changes, dry_run=self.choice.dry_run
        ) as change:
            done = self._groups(plan, change)
            change.run.write("result", exit_code=done.exit_code, failed=done.failed)
            return done

    def remove_empty_notes(self) -> None:
        """Remove the folder of notes where nothing is noted any more; what a driver or weights left noted stays."""
        empty = [
            name
            for name, node in self.facts.nodes.items()
            if node.setup and node.setup.notes == [f"{RECORD}.json"]
            if node.setup.records.get(RECORD, {}).get("entries") == []
        ]
        if empty:
            with recorded_change(self.inventory, self.verb, empty, notes=RECORDS) as change:
                change.apply([], self.emit, folders={name: [RECORDS] for name in empty})

    def _plan(self, nodes: Sequence[str]) -> ProvisionPlan:
        self.facts = look_at_setup(self.inventory, self.wish, nodes, self.choice.stages, self.emit)
        return provision_plan(self.wish, self.facts, self.choice.stages)

    def _groups(self, plan: ProvisionPlan, change: Change) -> Provisioned:
        done = Provisioned(plan, change.outcome, dry_run=self.choice.dry_run, stages=self.choice.stages)
        for group in _GROUPS:
            refusing = plan.only(group).errors
            if refusing:  # seen only now: an earlier stage had to come first
                return replace(done, left=plan, refused=refusing)
            if not plan.of(*group):
                continue
            done = self._one_group(group, plan, change, done)
            if self.choice.dry_run:
                continue
            lost = {*done.failed, *done.outcome.unreachable}
            well = [node for node in self.nodes if node not in lost]
            if not well or (done.failed and "driver" in group):
                break
            plan = self._plan(well)
            done = replace(done, left=plan)
        if done.failed:  # the last look left out the nodes on which something had failed
            done = replace(done, left=self._plan(self.nodes))
        # An error that only the last look found has no change beside it: without this it would read as done.
        return replace(done, refused=done.left.errors) if done.left else done

    def _one_group(
        self, group: Sequence[StageName], plan: ProvisionPlan, change: Change, done: Provisioned
    ) -> Provisioned:
        works = plan.of(*group)
        nodes = list(dict.fromkeys(work.node for work in works))
        stages = ", ".join(dict.fromkeys(work.stage for work in works))
        self.emit(Notice("apply", f"{stages} on {several(nodes, _MOST_NAMES)}"))
        # Of these the plan says all that can be said without doing it; images need the Docker that is still to come.
        untried = {"driver", "weights"} | ({"images"} if plan.of("container_engine") else set())
        if done.dry_run and untried & set(group):
            return done
        if "driver" in group:
            return replace(done, rollout=roll_out(self.inventory, self.wish, nodes, self.emit, change))
        if "weights" in group:
            return replace(done, weights=provide_weights(self.inventory, self.wish, nodes, self.emit, change))
        change.play(PLAYBOOK, provision_source(plan, group), self.emit, check=done.dry_run)
        return done
