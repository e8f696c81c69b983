"""ClusterSpec + facts → Plan."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from npuctl import engines
from npuctl.engines._contract import Seat
from npuctl.errors import UsageError
from npuctl.facts.model import ClusterFacts, NodeFacts
from npuctl.hardware.catalog import Product, identify
from npuctl.plan import checks
from npuctl.plan.difference import steps_of_node
from npuctl.plan.fetching import fetching_of
from npuctl.plan.model import (
    SECRETS_FILE,
    Container,
    File,
    Finding,
    Mount,
    Plan,
    Replica,
    Step,
    cluster_root,
    config_hash,
    container_name,
)
from npuctl.plan.placement import Place, place, wishes
from npuctl.plan.pull import pull_of
from npuctl.plan.waivers import waive
from npuctl.spec.models import ClusterSpec, Service
from npuctl.spec.parse import Problem, SpecError
from npuctl.spec.secrets import secret_names

_SECRETS_IN_CONTAINER = f"/run/npuctl/{SECRETS_FILE}"
# The images set CANN's paths and LD_PRELOAD in ~/.bashrc only, which a non-interactive shell does not read
# (vllm-ascend Dockerfiles; issues 9141, 12059): -i reads it, exec leaves no shell behind.
_SHELL = ("/bin/bash", "-ic")
_EXEC = 'exec "$@"'
_EXEC_WITH_SECRETS = f'set -a; . {_SECRETS_IN_CONTAINER}; set +a; exec "$@"'


def build_plan(
    spec: ClusterSpec,
    hosts: Mapping[str, Sequence[str]],
    facts: ClusterFacts,
    secrets: Mapping[str, str],
    *,
    file: str,
    addresses: Mapping[str, str] | None = None,
) -> Plan:
    """Plan the whole cluster.

    Args:
        spec: what a person wrote.
        hosts: for each service, its hosts in rank order.
        facts: what the nodes answered; nodes that did not are left out of the steps and named.
        secrets: values from the vault, by name.
        file: name of the spec's file, for messages.
        addresses: where the inventory reaches the nodes, by name.

    Raises:
        SpecError: the spec asks for what its engine, its release or the vault does not have.
    """
    refuse_bad_services(spec, secrets, file=file)
    products = {name: product_of(node) for name, node in facts.nodes.items()}
    places, conflicts = place(
        spec, hosts, {name: (node, products[name]) for name, node in facts.nodes.items()}
    )
    replicas, refused = _seated(spec, places, products, secrets)
    # Where no chip can be read nothing can be placed: npu.readable says why, and cannot be waived.
    findings = [checks.of_conflict(conflict) for conflict in conflicts if facts.nodes[conflict.node].chips]
    findings += refused
    steps: list[Step] = []
    checked: list[checks.CheckedNode] = []
    serving = {name for names in hosts.values() for name in names}
    for name, node in sorted(facts.nodes.items()):
        expected = {wish.name for wish in wishes(spec, hosts) if wish.node == name}
        here = [replica for replica in replicas if replica.node == name]
        own = list(steps_of_node(name, node, here, expected, spec.name))
        leaving = {step.container for step in own if step.action == "remove"}
        if name in serving or not spec.services:
            address = (addresses or {}).get(name, "")
            checked.append(checks.CheckedNode(name, node, products[name], leaving, tuple(here), address))
        steps += own
    cluster = checks.Checked(spec, tuple(checked), facts.reach, network_required=needs_network(spec))
    findings += checks.all_findings(cluster)
    return Plan(
        cluster=spec.name,
        simulated=facts.simulated,
        replicas=tuple(replicas),
        steps=tuple(steps),
        findings=tuple(waive(dict.fromkeys(findings), spec.waivers)),
        fits=checks.fits(cluster),
        unreachable=dict(facts.unreachable),
    )


def _seated(
    spec: ClusterSpec,
    places: Iterable[Place],
    products: Mapping[str, Product | None],
    secrets: Mapping[str, str],
) -> tuple[list[Replica], list[Finding]]:
    """A replica for each place whose product is known, and what the engines refuse on these products."""
    services = {service.name: service for service in spec.services}
    replicas: list[Replica] = []
    refused: list[Finding] = []
    for found in places:
        product = products[found.node]
        if product is None:
            continue
        service = services[found.service]
        seat = Seat(found.node, product, found.chips, found.port)
        refused += checks.of_seat(service, seat, engines.load(service.engine).seat_problems(service, seat))
        replicas.append(_replica(spec, service, seat, found, secrets))
    return replicas, refused


def refuse_bad_services(spec: ClusterSpec, secrets: Mapping[str, str], *, file: str) -> None:
    """Raise SpecError with what is wrong in the services whatever the nodes are, and every secret that is missing."""
    problems: list[Problem] = []
    for index, service in enumerate(spec.services):
        at = f"{file}: npuctl_cluster.services[{index}]"
        if service.engine not in engines.names():
            known = ", ".join(engines.names())
            problems.append(
                Problem(f"{at}.engine", f"unknown engine {service.engine!r}", f"known engines: {known}")
            )
            continue
        problems += [
            Problem(f"{at}.{problem.key}", problem.message, problem.hint)
            for problem in engines.load(service.engine).problems(service)
        ]
        wanted = [ref.secret for ref in service.secret_env.values()]
        wanted += [service.api_key.secret] if service.api_key else []
        problems += [
            Problem(at, f"the secret {name!r} is not in the inventory", f"npuctl_secrets: {{{name}: …}}")
            for name in wanted
            if name not in secrets
        ]
    problems += [
        Problem(
            f"{file}: npuctl_cluster.{key}",
            f"the secret {name!r} is not in the inventory",
            f"npuctl_secrets: {{{name}: …}}",
        )
        for key, name in secret_names(spec)
        if name not in secrets and not key.startswith("services[")
    ]
    if problems:
        raise SpecError(problems)


def needs_network(spec: ClusterSpec) -> bool:
    """Whether the NPU network between nodes must work: said so, or a replica spans nodes."""
    spans = any(service.topology.nodes_per_replica > 1 for service in spec.services)
    return spec.npu_network == "required" or (spec.npu_network == "auto" and spans)


def product_of(node: NodeFacts) -> Product | None:
    """The node's product, from the names and the number of its chips."""
    return identify([chip.name for chip in node.chips], len(node.chips))


def resolve_hosts(
    spec: ClusterSpec, groups: Mapping[str, Sequence[str]], names: Sequence[str], *, file: str
) -> dict[str, list[str]]:
    """For each service its hosts, in rank order.

    Raises:
        SpecError: for each group or host that the inventory does not have.
    """
    problems: list[Problem] = []
    resolved: dict[str, list[str]] = {}
    for index, service in enumerate(spec.services):
        at = f"{file}: npuctl_cluster.services[{index}].hosts"
        if isinstance(service.hosts, str):
            if not groups.get(service.hosts):
                known = ", ".join(sorted(group for group in groups if group not in {"all", "ungrouped"}))
                problems.append(
                    Problem(at, f"the inventory has no group {service.hosts!r}", f"its groups: {known}")
                )
            resolved[service.name] = list(groups.get(service.hosts, []))
            continue
        missing = [host for host in service.hosts if host not in names]
        problems += [Problem(at, f"the inventory has no host {host!r}") for host in missing]
        if not service.hosts or len(set(service.hosts)) != len(service.hosts):
            problems.append(Problem(at, f"list each host once, at least one: {service.hosts}"))
        resolved[service.name] = list(service.hosts)
    if problems:
        raise SpecError(problems)
    return resolved


def secrets_text(secret_env: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    """Text of a file of secrets, as roles/npu_container writes it: NAME='value', sorted, for a shell."""
    return "".join(f"{name}={shlex.quote(secrets[secret])}\n" for name, secret in sorted(secret_env.items()))


def _replica(
    spec: ClusterSpec, service: Service, seat: Seat, seat_place: Place, secrets: Mapping[str, str]
) -> Replica:
    cluster = spec.name
    launch = engines.load(service.engine).launch(service, seat)
    fetching = fetching_of(spec, launch)
    secret_env = {**fetching.environment.secret, **launch.secret_env}
    directory = f"{cluster_root(cluster)}/{service.name}-{seat_place.index}"
    files = [File(directory, "0750", kind="directory")]
    mounts = [replace(mount, create=mount.source == service.cache) for mount in map(_mount, launch.mounts)]
    mounts += fetching.mounts
    if secret_env:
        path = f"{directory}/{SECRETS_FILE}"
        digest = hashlib.sha256(secrets_text(secret_env, secrets).encode()).hexdigest()
        files.append(File(path, "0600", secret_env=secret_env, sha256=digest))
        mounts.append(Mount(path, _SECRETS_IN_CONTAINER, read_only=True))
    mounts += [Mount(path, path, read_only=True) for path in seat.product.driver_mounts]
    container = Container(
        name=container_name(cluster, service.name, seat_place.index),
        image=launch.image,
        argv=(*_SHELL, _EXEC_WITH_SECRETS if secret_env else _EXEC, "npuctl", *launch.argv),
        env={**fetching.environment.plain, **launch.env},
        devices=seat.product.devices(seat.chips),
        mounts=tuple(mounts),
        shm_bytes=service.shm_gib * 2**30,
        stop_grace_seconds=service.stop_grace_seconds,
        labels={},
        pull=pull_of(spec, launch.image),
    )
    return Replica(
        service=service.name,
        index=seat_place.index,
        engine=service.engine,
        node=seat.node,
        chips=seat.chips,
        port=seat.port,
        container=_labelled(container, cluster, service, seat_place.index, seat.port, tuple(files)),
        directory=directory,
        files=tuple(files),
    )


def _labelled(
    container: Container, cluster: str, service: Service, index: int, port: int, files: tuple[File, ...]
) -> Container:
    described = container.described()
    labels = {
        "npuctl.cluster": cluster,
        "npuctl.service": service.name,
        "npuctl.replica": str(index),
        "npuctl.engine": service.engine,
        "npuctl.port": str(port),
        "npuctl.config": config_hash(described, files),
        "npuctl.spec": json.dumps(described, sort_keys=True, ensure_ascii=False),
    }
    return replace(container, labels=labels)


def _mount(text: str) -> Mount:
    source, target, *mode = text.split(":")
    return Mount(source, target, read_only=mode == ["ro"])


def find_service(spec: ClusterSpec, name: str) -> Service:
    """The service of that name.

    Raises:
        UsageError: when the spec has none.
    """
    for service in spec.services:
        if service.name == name:
            return service
    known = ", ".join(service.name for service in spec.services)
    raise UsageError(f"the cluster has no service {name!r}", hint=f"its services: {known}")
