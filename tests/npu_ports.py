"""Nodes whose NPU ports are looked at by `npuctl provision`, and what they show once their work was done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from npuctl.facts.model import NodeFacts
from npuctl.facts.setup import Setup, TextFile
from npuctl.facts.survey import PortFacts, Survey
from npuctl.hardware.hccn_conf import HCCN_CONF, parse_hccn_conf
from npuctl.plan.provision._contract import Node, Wish, Work
from npuctl.plan.provision.npu_ports import RECORD, running, saved
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import parse_cluster
from tests.making import FILE, chips, cluster_text, node, service_data

ONE_SUBNET: dict[str, Any] = {"pools": [{"network": "10.20.0.0/16", "gateway": "10.20.255.1"}]}
TWO_PLANES: dict[str, Any] = {
    "pools": [
        {"network": "10.20.0.0/16", "gateway": "10.20.255.1"},
        {"network": "10.21.0.0/16", "gateway": "10.21.255.1"},
    ]
}
_CONF_NAMES = {"detect": "netdetect", "tls": "tls_enable"}


def spec_with(addresses: Mapping[str, Any] | None, **more: Any) -> ClusterSpec:
    """A spec with these npu_addresses."""
    own: dict[str, Any] = {} if addresses is None else {"npu_addresses": dict(addresses)}
    service = more.pop("service", service_data())
    return parse_cluster(cluster_text(service, **own, **more), file=FILE)


def wish(addresses: Mapping[str, Any] | None, *names: str, removing: bool = False, **more: Any) -> Wish:
    """That spec on an inventory of these nodes."""
    return Wish(spec=spec_with(addresses, **more), nodes=names, removing=removing)


def bare(name: str, product: str = "a2", *, count: int | None = None, **changes: Any) -> Node:
    """A node whose driver runs and whose ports were never given anything."""
    facts = _bare_facts(product, count)
    return Node(name, facts.model_copy(update=changes) if changes else facts, Setup())


@cache
def _bare_facts(product: str, count: int | None) -> NodeFacts:
    own = chips(product, count)
    ports = [
        PortFacts(chip=chip.id, link="UP", net_health="Init", tls_switch=1, mtu=1500)
        for chip in own
        if product != "310p"
    ]
    return node(product, count=count, survey=Survey(ports=ports))


def with_ports(base: Node, settings: Mapping[int, Mapping[str, Any]], *, save: bool = True) -> Node:
    """The node with these ports; chip → role's words. `save` writes them into hccn.conf as well."""
    survey = base.facts.survey or Survey()
    fields = {"detect": "detect_address", "tls": "tls_switch"}
    ports = [
        port.model_copy(
            update={
                fields.get(key, key): int(value) if key in {"tls", "mtu"} else value
                for key, value in settings.get(port.chip, {}).items()
                if key != "chip"
            }
        )
        for port in survey.ports
    ]
    facts = base.facts.model_copy(update={"survey": survey.model_copy(update={"ports": ports})})
    made = Node(base.name, facts, base.setup)
    return with_conf(made, settings) if save else made


def with_conf(base: Node, settings: Mapping[int, Mapping[str, Any]]) -> Node:
    """The node with these lines in its hccn.conf."""
    file = base.setup.files.get(HCCN_CONF)
    lines = dict(line.split("=", 1) for line in (file.text if file else "").splitlines())
    for chip, keys in settings.items():
        lines |= {
            f"{_CONF_NAMES.get(key, key)}_{chip}": str(value) for key, value in keys.items() if key != "chip"
        }
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    files = {**base.setup.files, HCCN_CONF: TextFile(path=HCCN_CONF, text=text, mode="0640")}
    return Node(base.name, base.facts, base.setup.model_copy(update={"files": files}))


def after_work(nodes: Sequence[Node], works: Iterable[Work]) -> list[Node]:
    """The nodes once the role has done what the works say, with its record."""
    by_node = {work.node: work for work in works if work.changes}
    return [_after(one, by_node[one.name]) if one.name in by_node else one for one in nodes]


def _after(base: Node, work: Work) -> Node:
    wanted = {port["chip"]: port for port in work.variables["npu_network_ports"]}
    made = with_ports(base, wanted)
    survey, file = base.facts.survey, base.setup.files.get(HCCN_CONF)
    conf = parse_hccn_conf(file.text if file else "").ports
    ports: dict[str, Any] = {}
    for port in survey.ports if survey else []:
        ran, kept = running(port), saved(conf.get(port.chip))
        for key, value in wanted.get(port.chip, {}).items():
            if key != "chip" and (ran[key] != str(value) or kept.get(key) != str(value)):
                entry = {"ran": ran[key] or None, "saved": kept.get(key) or None, "ours": str(value)}
                ports.setdefault(str(port.chip), {})[key] = entry
    record = {"schema": 1, "cluster": "prod", "conf_was_there": file is not None, "ports": ports}
    records = {**made.setup.records, RECORD: record}
    return Node(made.name, made.facts, made.setup.model_copy(update={"records": records}))


def addresses_of(works: Iterable[Work]) -> dict[str, list[str]]:
    """Node → the addresses that its work sets, chip by chip."""
    return {
        work.node: [port["address"] for port in work.variables["npu_network_ports"]]
        for work in works
        if work.changes
    }


def addresses_on(nodes: Iterable[Node]) -> dict[tuple[str, int], str]:
    """Port → the address that runs on it."""
    return {
        (one.name, port.chip): port.address
        for one in nodes
        for port in (one.facts.survey.ports if one.facts.survey else [])
    }


def facts_with(base: Node, **changes: Any) -> Node:
    """The node with other facts."""
    facts: NodeFacts = base.facts.model_copy(update=changes)
    return Node(base.name, facts, base.setup)
