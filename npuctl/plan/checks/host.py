"""The machine that the NPUs sit in: disks, memory, name, clock, firewall, and how its kernel is set."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from npuctl.facts.survey import HostFacts
from npuctl.plan.checks._contract import Checked, CheckedNode
from npuctl.plan.checks.ports import hccl_ports
from npuctl.plan.model import Finding
from npuctl.plan.wording import ranges, size

# Our files are a few KiB a replica; 1 MiB tells a full disk from a working one.
_FREE_BYTES = 2**20
_MIB = 2**20
# One ring of shared memory for each engine copy (vLLM pull request 48879); npuctl's smallest is 1 GiB.
_RING_BYTES = 240 * _MIB
_CLOCK_SECONDS = 1.0
_OLDEST_KERNEL = (5, 10)  # msprechecker's rules
_HOSTNAME = "hostname"  # the question, where the survey has no answer to it
_KEEP_SYSCTL = "the same in a file below /etc/sysctl.d for the next boot"


def findings(checked: Checked) -> Iterator[Finding]:
    """Everything about the host of every node."""
    for node in checked.nodes:
        yield from _disk_has_room(node)
        yield from _kernel_new(node)
        yield from _shared_memory_fits(node, checked)
        yield from _memory_takes_weights(node, checked)
        if node.survey is not None:
            host = node.survey.host
            yield from _name_resolves(node, host)
            yield from _firewall_off(node, host, checked)
            yield from _swappiness(node, host)
            yield from _numa_balancing(node, host)
            yield from _hugepages(node, host)
            yield from _governors(node, host)
    yield from _clocks_agree(checked)


def _disk_has_room(node: CheckedNode) -> Iterator[Finding]:
    for path, free in sorted(node.facts.free_bytes.items()):
        if free < _FREE_BYTES:
            yield Finding(
                id="disk.space",
                severity="error",
                node=node.name,
                seen=f"{free} bytes free at {path}",
                expected=f"at least {_FREE_BYTES} bytes for npuctl's files and Docker's logs",
                remedy=f"free space on the disk of {path}",
            )


def _kernel_new(node: CheckedNode) -> Iterator[Finding]:
    version = re.match(r"(\d+)\.(\d+)", node.facts.kernel)
    if version and (int(version[1]), int(version[2])) < _OLDEST_KERNEL:
        yield Finding(
            id="host.kernel",
            severity="warning",
            node=node.name,
            seen=f"kernel {node.facts.kernel}",
            expected="5.10 or newer",
            remedy="update the operating system when there is an occasion; the driver's list of systems tells to which",
        )


def _shared_memory_fits(node: CheckedNode, checked: Checked) -> Iterator[Finding]:
    memory = node.facts.memory_total_mb * _MIB
    planned = sum(replica.container.shm_bytes for replica in node.replicas)
    if memory and planned > memory:
        yield Finding(
            id="host.shm",
            severity="warning",
            node=node.name,
            seen=f"{size(planned)} of shared memory planned for {len(node.replicas)} replicas;"
            f" the node has {size(memory)} of memory",
            expected="less shared memory than memory",
            remedy="lower shm_gib: a shared-memory file system that fills up ends processes by the OOM killer",
        )
    for replica in node.replicas:
        copies = checked.services[replica.service].topology.data_parallel
        if replica.container.shm_bytes < copies * _RING_BYTES:
            yield Finding(
                id="host.shm",
                severity="warning",
                node=node.name,
                seen=f"{size(replica.container.shm_bytes)} of shared memory for {copies} engine copies",
                expected=f"at least {size(copies * _RING_BYTES)}: 240 MiB a copy",
                remedy="raise shm_gib of the service: too little ends the engine with SIGBUS",
                service=replica.service,
            )


def _memory_takes_weights(node: CheckedNode, checked: Checked) -> Iterator[Finding]:
    """Replicas that are to be started read their weights through the host's memory (vllm-ascend PR 7107)."""
    weights = node.survey.weights if node.survey else {}
    fresh = [replica for replica in node.replicas if replica.container.name not in node.running]
    models = {checked.services[replica.service].model.path for replica in fresh}
    needed = sum(weights[path].bytes for path in models if path in weights)
    free = node.facts.memory_available_mb * _MIB
    if node.facts.memory_total_mb and needed > free:
        yield Finding(
            id="host.memory",
            severity="warning",
            node=node.name,
            seen=f"{size(free)} of memory available, {size(needed)} of weights to load",
            expected="memory for the weights while they are loaded",
            remedy="end what takes the memory (`ps -eo rss,pid,comm --sort -rss | head`); loading is slow"
            " or ended by the OOM killer without it",
        )


def _name_resolves(node: CheckedNode, host: HostFacts) -> Iterator[Finding]:
    own = {address for nic in host.nics if nic.kind != "loopback" for address in nic.addresses}
    found = host.hostname_addresses
    why = node.survey.unread.get(_HOSTNAME, "") if node.survey else ""
    if not own or any(address in own for address in found) or not (found or why):
        return
    loops = all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)
    answer = (
        f"resolves to {', '.join(found)}{': loopback' if loops else ', which none of its interfaces has'}"
    )
    yield Finding(
        id="host.name",
        severity="warning",
        node=node.name,
        seen=f"the node's own name {node.facts.hostname} {answer if found else f'does not resolve: {why}'}",
        expected="an address of the node by which other nodes reach it",
        remedy=f"write a line with the node's address and {node.facts.hostname} into its /etc/hosts"
        + (f", in place of {', '.join(found)}" if found else ""),
    )


def _firewall_off(node: CheckedNode, host: HostFacts, checked: Checked) -> Iterator[Finding]:
    ports = {replica.port for replica in node.replicas}
    if checked.network_required:
        ports = ports.union(*(hccl_ports(replica, checked) for replica in node.replicas))
    if host.firewalls and ports:
        yield Finding(
            id="host.firewall",
            severity="warning",
            node=node.name,
            seen=f"{', '.join(host.firewalls)} filters packets",
            expected=f"TCP {ranges(ports)} open"
            + (", and every port between the nodes" if checked.network_required else " to the clients"),
            remedy=f"open them, or waive this check if they are open (firewalld: firewall-cmd --permanent"
            f" --add-port={ranges(ports).replace(',', '/tcp --add-port=')}/tcp; firewall-cmd --reload)",
        )


def _clocks_agree(checked: Checked) -> Iterator[Finding]:
    """The clock that most share is right: the nodes' and this machine's, from which offsets are told."""
    offsets = {
        node.name: (node.survey.host.clock_offset_seconds, node.survey.host.clock_doubt_seconds)
        for node in checked.nodes
        if node.survey and node.survey.host.clock_offset_seconds is not None
    }
    told = sorted([0.0, *(offset for offset, _ in offsets.values() if offset is not None)])
    middle = told[(len(told) - 1) // 2 : len(told) // 2 + 1]
    usual = min(middle, key=abs)
    least_doubt = min((doubt for _, doubt in offsets.values()), default=0.0)
    if abs(usual) - least_doubt > _CLOCK_SECONDS:
        yield _clock("", -usual, "this machine's clock", "the nodes' clocks")
    for name, (offset, doubt) in offsets.items():
        if offset is not None and abs(offset - usual) - doubt > _CLOCK_SECONDS:
            yield _clock(name, offset - usual, "its clock", "most others")


def _clock(node: str, seconds: float, whose: str, others: str) -> Finding:
    return Finding(
        id="host.clock",
        severity="warning",
        node=node,
        seen=f"{whose} is {abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} {others}",
        expected=f"within {_CLOCK_SECONDS:g} s",
        remedy="turn time synchronisation on: systemctl enable --now chronyd (or systemd-timesyncd);"
        " `chronyc tracking` shows its state",
    )


def _swappiness(node: CheckedNode, host: HostFacts) -> Iterator[Finding]:
    """vllm-ascend, optimization and tuning: 0; 1 differs only when memory is exhausted."""
    value = host.sysctl.get("vm.swappiness", "0")
    if value not in {"0", "1"}:
        yield Finding(
            id="host.swappiness",
            severity="warning",
            node=node.name,
            seen=f"vm.swappiness = {value}",
            expected="0",
            remedy=f"sysctl -w vm.swappiness=0; {_KEEP_SYSCTL}",
        )


def _numa_balancing(node: CheckedNode, host: HostFacts) -> Iterator[Finding]:
    """vllm-ascend, optimization and tuning."""
    value = host.sysctl.get("kernel.numa_balancing", "0")
    if value != "0":
        yield Finding(
            id="host.numa_balancing",
            severity="warning",
            node=node.name,
            seen=f"kernel.numa_balancing = {value}",
            expected="0",
            remedy=f"sysctl -w kernel.numa_balancing=0; {_KEEP_SYSCTL}",
        )


def _hugepages(node: CheckedNode, host: HostFacts) -> Iterator[Finding]:
    """MindIE's examples and msprechecker; Ascend's vendors agree on it, unlike those of GPUs."""
    if host.transparent_hugepages not in {"", "always"}:
        yield Finding(
            id="host.thp",
            severity="warning",
            node=node.name,
            seen=f"transparent hugepages: {host.transparent_hugepages}",
            expected="always",
            remedy="echo always > /sys/kernel/mm/transparent_hugepage/enabled;"
            " transparent_hugepage=always on the kernel's command line for the next boot",
        )


def _governors(node: CheckedNode, host: HostFacts) -> Iterator[Finding]:
    """vllm-ascend, optimization and tuning; MindIE and msprechecker want the same."""
    slow = sorted(set(host.governors) - {"performance"})
    if slow:
        yield Finding(
            id="host.governor",
            severity="warning",
            node=node.name,
            seen=f"CPU frequency governor {', '.join(slow)}",
            expected="performance",
            remedy="cpupower -c all frequency-set -g performance; and in the BIOS or the system's configuration"
            " for the next boot",
        )
