"""Driver and firmware, node by node: each goes all its way before the next one is touched.

The node is looked at anew before every step, and plan/provision/driver.py says which one it is. So a run that
was killed, a connection that broke or a node that was rebooted by hand need no way of their own here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from npuctl.facts.model import ClusterFacts, NodeFacts
from npuctl.health.probe import wait_until_ready
from npuctl.operate.local_files import resolve_here
from npuctl.operate.look import look, target_of
from npuctl.operate.progress import Emit, Notice
from npuctl.operate.record import Change
from npuctl.operate.stop import prove_gone, steps_of_containers
from npuctl.plan.model import Finding
from npuctl.plan.provision._contract import Node, Wish
from npuctl.plan.provision.driver import decide, questions
from npuctl.plan.provision.driver_refusals import differing_services
from npuctl.plan.provision.driver_removal import removal
from npuctl.plan.provision.driver_steps import Halt, Step, role_variables
from npuctl.remote.inspect import inspect_nodes
from npuctl.remote.inventory import Inventory
from npuctl.remote.reach import probe_reach
from npuctl.remote.ssh import close_connection
from npuctl.runner.hostvars import GROUP, literal
from npuctl.runner.run import Outcome
from npuctl.state.journal import read_journal

PLAYBOOK = "driver.yml"
EVENT = "driver"
# The driver's installer itself waits 60 s for the chips after a hot reset (hicann/driver, scripts/package);
# after a boot of the host they load their system first. No source says how long at most.
_CHIPS_SECONDS = 600
# A connection that breaks while a package is installed: the installation goes on by itself.
_BROKEN_SECONDS = 300
# Ports come up a while after their chips.
_NETWORK_SECONDS = 60
_PAUSE_SECONDS = 5.0
_TELL_SECONDS = 30.0
# Whom a node probes: enough that a peer which is bad itself is not taken for the node.
_PEERS = 3
_MOST_TRIES = 3  # of one step: its connection may break, and the next look says what it did


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """What the roll-out of driver and firmware did.

    Attributes:
        changed: node → what was done there, in words.
        failed: node → why it is not as wanted; at most one was begun, and the roll-out ended there.
        owed: node → why it has to be rebooted, which the spec does not allow; not as wanted either.
        untouched: nodes whose turn did not come, or that did not answer when it came.
    """

    changed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    owed: Mapping[str, str] = field(default_factory=dict)
    untouched: Sequence[str] = ()


def roll_out(
    inventory: Inventory, wish: Wish, nodes: Sequence[str], emit: Emit, change: Change
) -> RolloutResult:
    """Bring nodes to the wanted driver and firmware, one after the other.

    At a teardown they lose what npuctl installed. A node on which an earlier run ended half-way comes first. The first that fails ends the roll-out, and so
    does one that owes a reboot with its services stopped: nobody wants all nodes in that state.

    Args:
        inventory: the cluster.
        wish: what the spec says.
        nodes: those with something to do.
        emit: takes progress.
        change: of the caller, who holds the cluster's lock.

    Raises:
        KeyboardInterrupt: the person ended it; what a package does on a node goes on.
    """
    rollout = _Rollout(inventory, wish, emit, change)
    order = rollout.in_order(nodes)
    if wish.removing:
        return rollout.remove(order)
    if lost := rollout.lost(order):
        return RolloutResult(failed=lost, untouched=tuple(node for node in order if node not in lost))
    if refused := rollout.not_to_be_stopped(order):
        return RolloutResult(failed=refused, untouched=tuple(order))
    changed: dict[str, list[str]] = {}
    owed: dict[str, str] = {}
    silent: list[str] = []
    for position, name in enumerate(order):
        end = rollout.take(name)
        if end.done:
            changed[name] = end.done
        rest = (*silent, *order[position + 1 :])
        if end.reason == "silent":
            silent.append(name)
        elif end.reason == "owed":
            owed[name] = end.why
            if end.services_stopped:
                return RolloutResult(changed, {}, owed, rest)
        elif end.reason != "done":
            return RolloutResult(changed, {name: end.why}, owed, rest)
    return RolloutResult(changed, {}, owed, tuple(silent))


@dataclass(frozen=True, slots=True)
class _End:
    """How it ended with one node: a Halt's reason, or "silent": it did not answer and was not begun."""

    reason: str
    why: str = ""
    done: list[str] = field(default_factory=list)
    services_stopped: bool = False


class _StepError(Exception):
    """A step did not come to its end; the text says why."""


class _Rollout:
    def __init__(self, inventory: Inventory, wish: Wish, emit: Emit, change: Change) -> None:
        self.inventory = inventory
        self.wish = wish
        self.emit = emit
        self.change = change
        self._peers: dict[str, NodeFacts] = {}

    # Which nodes, in which order.

    def in_order(self, nodes: Sequence[str]) -> list[str]:
        """Those that an earlier run left half-way first."""
        left = [node for node in self._left() if node in nodes]
        return [*left, *(node for node in nodes if node not in left)]

    def _left(self) -> list[str]:
        """Nodes that the journal says are begun and not finished, in the order in which they were begun."""
        last: dict[str, str] = {}
        for line in read_journal(self.inventory.state):
            if line.get("event") == EVENT:
                last[str(line.get("node"))] = str(line.get("step"))
        return [node for node, step in last.items() if step != "done" and node in self.inventory.hosts]

    def lost(self, order: Sequence[str]) -> dict[str, str]:
        """Nodes that are begun and do not answer: as long as they do not, no other one is risked."""
        asked = [node for node in self._left() if node not in order]
        if not asked:
            return {}
        facts = inspect_nodes(self.inventory, asked)
        return {
            name: f"the change of its driver is not finished, and it does not answer: {node.reason};"
            " no other node is touched before it is back, or out of the inventory"
            for name, node in facts.unreachable.items()
        }

    def not_to_be_stopped(self, order: Sequence[str]) -> dict[str, str]:
        """Nodes whose services could not be started again as they were, with the reason."""
        if not self.inventory.spec.services:
            return {}
        view = look(self.inventory.folder, self.emit, limit=order)
        findings: list[Finding] = []
        for name, node in view.facts.nodes.items():
            actions = {
                step.container: (step.action, step.name) for step in view.plan.steps if step.node == name
            }
            running = [entry.name for entry in node.containers if entry.state in {"running", "restarting"}]
            findings += differing_services(name, running, actions)
        return {entry.node: f"{entry.seen}; {entry.remedy}" for entry in findings}

    def remove(self, order: Sequence[str]) -> RolloutResult:
        """Uninstall what npuctl installed, one node after the other; the services are gone already."""
        changed: dict[str, list[str]] = {}
        for position, name in enumerate(order):
            done: list[str] = []
            node, why = self._look(name, patient=False)
            if node is not None:
                what = removal(node)
                self.emit(
                    Notice("driver", f"{name} loses {' and '.join(entry.what for entry in what.changes)}")
                )
                try:
                    self._enter(name, what.entry, what.variables, done)
                except _StepError as error:
                    why = str(error)
                else:
                    self.change.run.write(EVENT, node=name, step="done")
            changed |= {name: done} if done else {}
            if why:
                return RolloutResult(changed, {name: why}, {}, tuple(order[position + 1 :]))
        return RolloutResult(changed)

    # One node.

    def take(self, name: str) -> _End:
        """All the way of one node."""
        fresh = secrets.token_hex(4)
        done: list[str] = []
        begun = name in self._left()
        waiting_since: float | None = None
        last: Step | None = None
        same = 0
        while True:
            node, silence = self._look(name, patient=begun)
            if node is None:
                return _End("failed" if begun else "silent", silence, done)
            decision = decide(self.wish, node, fresh)
            if isinstance(decision, Halt):
                return self._halted(name, decision, node, done, begun=begun)
            same = same + 1 if decision == last and decision.kind != "wait" else 0
            last = decision
            if same > _MOST_TRIES:
                return _End(
                    "failed", f"{decision.kind} was done {same} times and is not seen: this is a bug", done
                )
            waiting_since = (waiting_since or time.monotonic()) if decision.kind == "wait" else None
            self.emit(Notice("driver", f"{name} {decision.why}"))
            if decision.kind != "wait" or not begun:
                self.change.run.write(EVENT, node=name, step=decision.kind)
            begun = True
            try:
                self._do(name, node, decision, done, waiting_since)
            except _StepError as error:
                self.change.run.write(EVENT, node=name, step=f"failed: {decision.kind}")
                self.emit(Notice("driver", f"{name} {error}"))
                return _End("failed", str(error), done)
            if decision.kind == "finish":
                self.change.run.write(EVENT, node=name, step="done")

    def _halted(self, name: str, halt: Halt, node: Node, done: list[str], *, begun: bool) -> _End:
        if halt.reason == "done" and begun:
            self.change.run.write(EVENT, node=name, step="done")
        stopped = (
            bool(node.setup.records.get("driver", {}).get("stopped")) and halt.reason == "owed" and begun
        )
        why = halt.why
        if stopped:
            why += "; its services stay stopped until it was rebooted and npuctl provision was run again"
        if halt.reason != "done":
            self.emit(Notice("driver", f"{name}: {why}"))
        return _End(halt.reason, why, done, services_stopped=stopped)

    def _look(self, name: str, *, patient: bool) -> tuple[Node | None, str]:
        """The node as it is now; a node that was begun may be gone for a while, as its connection may."""
        deadline = time.monotonic() + (_BROKEN_SECONDS if patient else 0)
        asked = {
            key: sorted(value) if isinstance(value, frozenset) else value
            for key, value in asdict(questions(self.wish)).items()
        }
        while True:
            facts = inspect_nodes(self.inventory, [name], survey="npus", setup=asked)
            found = facts.nodes.get(name)
            if found is not None and found.setup is not None:
                return Node(name, found, found.setup), ""
            reason = facts.unreachable[name].reason if name in facts.unreachable else "it told nothing"
            if time.monotonic() > deadline:
                return None, f"does not answer: {reason}"
            self.emit(Notice("driver", f"{name} does not answer ({reason}); it is asked again"))
            time.sleep(_PAUSE_SECONDS)

    # One step.

    def _do(self, name: str, node: Node, step: Step, done: list[str], waiting_since: float | None) -> None:
        if step.kind == "wait":
            self._wait(step, waiting_since)
        elif step.kind == "stop":
            self._play(name, node, step, "note", done)
            self._stop(name, node, done)
        elif step.kind == "measure":
            lost = self._lost_probes(node)
            measured = replace(step.transaction, measured=True, lost=tuple(sorted(lost)))
            self._play(name, node, replace(step, transaction=measured), "note", done)
        elif step.kind == "probe":
            self._probe(node, step)
            self._note_after(name, node, step, done)
        elif step.kind == "start":
            self._start(name, step, done)
            self._note_after(name, node, step, done)
        elif step.kind == "reboot":
            self._play(name, node, step, "reboot", done)
            self._reboot(name, node)
        else:
            self._play(name, node, step, step.kind, done)

    def _note_after(self, name: str, node: Node, step: Step, done: list[str]) -> None:
        self._play(name, node, replace(step, transaction=step.after or step.transaction), "note", done)

    def _play(self, name: str, node: Node, step: Step, entry: str, done: list[str]) -> None:
        """One play; a connection that breaks in it is no end of the step, for the next look tells what it did."""
        sources = {
            chosen.local.path: str(resolve_here(self.inventory, chosen.local.path))
            for chosen in step.packages
        }
        self._enter(name, entry, role_variables(step, node, self.wish, sources), done)

    def _enter(self, name: str, entry: str, variables: Mapping[str, Any], done: list[str]) -> None:
        host = {"npuctl_driver_entry": entry, **literal(dict(variables))}
        source = {"all": {"children": {GROUP: {"hosts": {name: host}}}}}
        own = self._own(name)
        try:
            own.play(PLAYBOOK, source, self.emit)
        finally:
            self._told(name, own.outcome, done)
        self._refuse_failed(name, own.outcome)

    def _own(self, name: str) -> Change:
        """The same run with an outcome of its own: a broken connection in it does not count for the whole."""
        return Change(self.inventory, [name], self.change.run, Outcome())

    def _told(self, name: str, outcome: Outcome, done: list[str]) -> None:
        words = outcome.changed.get(name, [])
        done += words
        if words:
            self.change.outcome.changed.setdefault(name, []).extend(words)

    def _refuse_failed(self, name: str, outcome: Outcome) -> None:
        if name in outcome.failed:
            raise _StepError(outcome.failed[name])

    def _stop(self, name: str, node: Node, done: list[str]) -> None:
        """As npuctl stop does: the containers, and then the proof."""
        chosen = {name: list(node.facts.containers)}
        running = {
            name: [entry for entry in chosen[name] if entry.state != "exited" or entry.restart_policy != "no"]
        }
        own = self._own(name)
        own.apply(steps_of_containers(running, "stop", self.inventory.spec.name), self.emit)
        self._told(name, own.outcome, done)
        self._refuse_failed(name, own.outcome)
        evidence, _foreign = prove_gone(self.inventory, chosen, own.outcome, self.emit)
        left = [f"{entry.what}: {entry.seen}" for entry in evidence if not entry.holds]
        if left:
            raise _StepError(f"its services are stopped, and not all of them is gone: {'; '.join(left)}")

    def _start(self, name: str, step: Step, done: list[str]) -> None:
        """What was stopped for the change comes back, and gives tokens."""
        wanted = set(step.transaction.stopped)
        view = look(self.inventory.folder, self.emit, limit=[name])
        steps = [entry for entry in view.plan.changes if entry.container in wanted]
        others = [f"{entry.name} needs {entry.action}" for entry in steps if entry.action != "start"]
        gone = wanted - {entry.container for entry in view.plan.steps}
        if others or gone:
            words = "; ".join([*others, *(f"{container} is gone" for container in sorted(gone))])
            raise _StepError(f"the driver is in; {words}: run npuctl deploy, then npuctl provision again")
        if steps:
            own = self._own(name)
            own.apply(steps, self.emit)
            self._told(name, own.outcome, done)
            self._refuse_failed(name, own.outcome)
        replicas = [replica for replica in view.plan.replicas if replica.container.name in wanted]
        restarts = {
            replica.name: entry.restarts
            for replica in replicas
            for entry in view.facts.nodes[name].containers
            if entry.name == replica.container.name
        }
        targets = [target_of(self.inventory.spec, replica) for replica in replicas]
        self.emit(
            Notice("ready", f"waiting for a token of {', '.join(target.replica for target in targets)}")
        )
        health = wait_until_ready(self.inventory, targets, self.emit, restarts_before=restarts)
        silent = [
            f"{entry.replica} is {entry.state}: {entry.detail}" for entry in health if entry.state != "ready"
        ]
        if silent:
            raise _StepError(f"its services did not come back after the change: {'; '.join(silent)}")

    def _wait(self, step: Step, since: float | None) -> None:
        waited = time.monotonic() - since if since is not None else 0.0
        if waited > _CHIPS_SECONDS:
            raise _StepError(f"its chips are not up after {waited:.0f} s: it {step.why}")
        time.sleep(_PAUSE_SECONDS)

    def _reboot(self, name: str, node: Node) -> None:
        """Until the node is back with another boot; where it does not come, the roll-out ends."""
        close_connection(self.inventory, name)
        limit = self.wish.spec.driver.reboot_within_seconds if self.wish.spec.driver else 0
        began = told = time.monotonic()
        said = "it has not gone down"
        while time.monotonic() - began < limit:
            time.sleep(_PAUSE_SECONDS)
            facts = inspect_nodes(self.inventory, [name])
            found = facts.nodes.get(name)
            if found is not None and found.boot_id and found.boot_id != node.facts.boot_id:
                seconds = time.monotonic() - began
                self.emit(Notice("driver", f"{name} is back after {seconds:.0f} s"))
                return
            said = "it answers, and is still in the old boot" if found else facts.unreachable[name].reason
            if time.monotonic() - told > _TELL_SECONDS:
                told = time.monotonic()
                self.emit(Notice("driver", f"{name} is not back after {told - began:.0f} s: {said}"))
        raise _StepError(
            f"has not come back within {limit} s of its reboot ({said}); look at its console."
            " Once it answers, npuctl provision goes on there"
        )

    # The NPU network.

    def _probe(self, node: Node, step: Step) -> None:
        """What reached the rest before reaches it now; what was lost before is not the change's affair."""
        deadline = time.monotonic() + _NETWORK_SECONDS
        before = set(step.transaction.lost)
        while True:
            lost = self._lost_probes(node) - before
            if not lost:
                return
            if time.monotonic() > deadline:
                some = ", ".join(sorted(lost)[:6])
                raise _StepError(
                    f"{len(lost)} probes between its NPUs and other nodes are lost that were not lost before"
                    f" ({some}); npuctl check tells more"
                )
            time.sleep(_PAUSE_SECONDS)

    def _lost_probes(self, node: Node) -> set[str]:
        """Probes to and from a node that did not come back whole; none where there is nobody to probe."""
        spec = self.inventory.spec
        ports = node.facts.survey.ports if node.facts.survey else []
        if spec.npu_network == "unused" or not any(port.address for port in ports):
            return set()
        peers = self._reachable_peers(node.name)
        if not peers:
            return set()
        facts = ClusterFacts(nodes={node.name: node.facts, **peers})
        reach = probe_reach(self.inventory, facts, lambda text: self.emit(Notice("network", text)))
        return {
            f"{probe.node} NPU {probe.chip} to {probe.peer_node} NPU {probe.peer_chip}"
            for probe in reach.probes
            if node.name in (probe.node, probe.peer_node) and probe.outcome in {"lost", "partly"}
        }

    def _reachable_peers(self, name: str) -> dict[str, NodeFacts]:
        """A few other nodes with ports, the next in the inventory's order; their addresses stay as they are."""
        asked = list(self.inventory.hosts)
        at = asked.index(name) + 1
        near = [node for node in (*asked[at:], *asked[:at]) if node != name][: 2 * _PEERS]
        unknown = [node for node in near if node not in self._peers]
        if unknown:
            self._peers |= inspect_nodes(self.inventory, unknown, survey="npus").nodes
        others = {
            peer: facts
            for peer in near
            if (facts := self._peers.get(peer))
            if facts.survey and any(port.address for port in facts.survey.ports)
        }
        return dict(list(others.items())[:_PEERS])
