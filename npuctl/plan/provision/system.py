"""The operating system: kernel values, open files, reserved ports, a clock that is kept right. Pure.

What is set and why: vllm-ascend, optimization and tuning (governor, swappiness, numa_balancing,
sched_migration_cost_ns); MindIE's examples and msprechecker (transparent hugepages: always).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from npuctl.facts.setup import Setup
from npuctl.hardware.catalog import HCCL_BASE_PORT, HCCL_PORTS
from npuctl.plan.checks.ports import ports_in
from npuctl.plan.placement import wishes
from npuctl.plan.provision._contract import DAEMON_FILE, Change, Node, Questions, Wish, Work
from npuctl.plan.provision.os_families import Family, families, family_of, packages_of_all, unknown_family
from npuctl.plan.provision.settings import RECORD, Setting, read_record, selected
from npuctl.plan.wording import ranges
from npuctl.spec.machines import SystemTuning
from npuctl.spec.models import Service

SYSCTL_FILE = "/etc/sysctl.d/90-npuctl.conf"
TMPFILES_FILE = "/etc/tmpfiles.d/npuctl.conf"
LIMITS_FILE = "/etc/security/limits.d/90-npuctl.conf"
SYSTEMD_FILE = "/etc/systemd/system.conf.d/90-npuctl.conf"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
GOVERNORS = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
RESERVED_PORTS = "/proc/sys/net/ipv4/ip_local_reserved_ports"

_SYSCTLS = {
    "swappiness": "/proc/sys/vm/swappiness",
    "numa_balancing": "/proc/sys/kernel/numa_balancing",
    "sched_migration_cost_ns": "/proc/sys/kernel/sched_migration_cost_ns",
}
_GOVERNOR = re.compile(re.escape(GOVERNORS).replace(r"\*", r"[^/]+"))
_AVAILABLE = "scaling_available_governors"
_OTHER_LIMITS = ("/etc/security/limits.conf", "/etc/security/limits.d/")
_OTHER_DEFAULTS = ("/etc/systemd/system.conf", "/etc/systemd/system.conf.d/")
# systemd's own upper limit since release 240; ours never falls below what a process might raise it to before.
_HARD_LIMIT = 524288
_ULIMIT = "default-ulimits.nofile"
_NPU_SOCKET = 16666  # vllm-ascend issues 1955, 4725
_MOST_CHIPS = 16  # of a node; a range of HCCL's ports goes with a replica's first chip (engines/vllm.py)
_TIME_UNITS = frozenset(
    {
        *("chronyd.service", "chrony.service", "ntpd.service", "ntp.service", "ntpsec.service"),
        *("openntpd.service", "systemd-timesyncd.service"),
    }
)
_RUNS = frozenset({"active", "activating", "reloading"})
_HEADER = (
    "# Written by npuctl provision (npuctl_cluster.system); a change here is taken back by its next run.\n"
)
_CHRONY = "driftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\n"


def questions(wish: Wish) -> Questions:
    """What to look at; what was set once is looked at anyway, by its record."""
    tuning = _tuning(wish)
    if tuning is None:
        return Questions()
    values = {
        *_SYSCTLS.values(),
        THP,
        RESERVED_PORTS,
        GOVERNORS,
        GOVERNORS.rpartition("/")[0] + "/" + _AVAILABLE,
    }
    limits = {LIMITS_FILE, SYSTEMD_FILE, DAEMON_FILE, *_OTHER_LIMITS, *_OTHER_DEFAULTS}
    chrony = {family.chrony_config for family in families()}
    return Questions(
        files=frozenset({SYSCTL_FILE, TMPFILES_FILE, *limits, *chrony}),
        values=frozenset(values),
        units=_TIME_UNITS,
        packages=packages_of_all("chrony"),
    )


def settings(wish: Wish, node: Node) -> list[Setting]:
    """Kernel values for now, the files that set them at the next boot, and limits for new processes."""
    tuning = _tuning(wish)
    if tuning is None:
        return []
    now = _kernel_values(wish, tuning, node)
    wanted = [Setting(path, "", value) for path, value in now.items()]
    kept = {path: value for path, value in now.items() if _can_be_set(node.setup, path)}
    sysctls = [
        f"{path.removeprefix('/proc/sys/').replace('/', '.')} = {value}\n"
        for path, value in sorted(kept.items())
        if path.startswith("/proc/sys/")
    ]
    wanted += _whole(SYSCTL_FILE, sysctls)
    wanted += _whole(TMPFILES_FILE, _lines_at_boot(kept))
    if tuning.nofile is not None:
        wanted += _limits(tuning.nofile, node.setup)
        if _container_limit_is_low(tuning.nofile, node.setup) and not _waits_for_restart(wish, node.setup):
            wanted.append(Setting(DAEMON_FILE, _ULIMIT, _container_limit(tuning.nofile, node.setup)))
    return wanted + _time_servers(tuning, node.setup)


def work(wish: Wish, nodes: Sequence[Node]) -> list[Work]:
    """Packages and units; what a node does not have is told."""
    tuning = _tuning(wish)
    if tuning is None:
        return []
    return [_work(wish, tuning, node) for node in nodes]


def _work(wish: Wish, tuning: SystemTuning, node: Node) -> Work:
    base = Work(node.name, "system", "os_tuning", notes=tuple(_notes(wish, tuning, node.setup)))
    if not tuning.time_sync:
        return base
    setup, family = node.setup, family_of(node.setup)
    if family is None:
        found = () if _keeps_time(setup) else (unknown_family(node, "chrony, or another time service"),)
        return replace(base, findings=found)
    if _keeps_time(setup) and not _our_chrony(setup, family):
        return base
    packages = [name for name in family.packages_for("chrony") if name not in setup.packages]
    changes = [Change(name, "not installed", "installed") for name in packages]
    if not _keeps_time(setup):
        changes.append(Change(family.chrony_unit, setup.units.get(family.chrony_unit, "not-found"), "active"))
    fresh = _fresh_servers(tuning, setup, family)
    changes += [Change(file["path"], "", ", ".join(tuning.time_servers)) for file in fresh]
    unit = {"name": family.chrony_unit, "restart": bool(fresh) or _servers_change(tuning, setup, family)}
    variables = {
        "os_tuning_packages": packages,
        "os_tuning_fresh_files": fresh,
        "os_tuning_units": [unit] if changes or unit["restart"] else [],
    }
    return replace(base, variables=variables, changes=tuple(changes))


def _tuning(wish: Wish) -> SystemTuning | None:
    return None if wish.removing else wish.spec.system


def _kernel_values(wish: Wish, tuning: SystemTuning, node: Node) -> dict[str, str]:
    """Path of a kernel value → its text; without those that this kernel is known not to have."""
    setup = node.setup
    wanted: dict[str, str] = {}
    for key, path in _SYSCTLS.items():
        value = getattr(tuning, key)
        if value is not None and not _absent(setup, path):
            wanted[path] = str(int(value))
    if tuning.transparent_hugepages is not None and not _absent(setup, THP):
        wanted[THP] = tuning.transparent_hugepages
    if tuning.governor is not None:
        wanted |= {
            path: tuning.governor for path in _policies(setup) if _governs(setup, path, tuning.governor)
        }
    if tuning.reserved_ports and not _absent(setup, RESERVED_PORTS):
        wanted[RESERVED_PORTS] = _reserved_ports(service_ports(wish, node.name), setup)
    return wanted


def service_ports(wish: Wish, node: str) -> set[int]:
    """Ports that the services' replicas will listen on there, HCCL's among them, whatever chips they will get."""
    ports: set[int] = set()
    for replica in wishes(wish.spec, wish.hosts):
        if replica.node == node:
            ports |= {replica.port} | _hccl_ports(replica.service)
    return ports


def _hccl_ports(service: Service) -> set[int]:
    """A replica of one chip talks to nobody (plan/checks/ports.py)."""
    if service.topology.chips == 1:
        return set()
    ranged = service.env.get("HCCL_HOST_SOCKET_PORT_RANGE")
    base = str(service.env.get("HCCL_IF_BASE_PORT", ""))
    if ranged is not None:
        own = ports_in(str(ranged))
    elif base.isascii() and base.isdecimal():
        own = ports_in(f"{base}-{int(base) + HCCL_PORTS - 1}")
    else:
        own = set(range(HCCL_BASE_PORT, HCCL_BASE_PORT + HCCL_PORTS * _MOST_CHIPS))
    return own | {_NPU_SOCKET}


def _reserved_ports(ours: set[int], setup: Setup) -> str:
    """Ours and those that others have reserved: what is there without what npuctl added to it."""
    answer = setup.values.get(RESERVED_PORTS)
    there = selected(answer.text) if answer else ""
    added: set[int] = set()
    for entry in read_record(setup.records.get(RECORD, {})):
        if entry.file == RESERVED_PORTS:
            put = {port for value in entry.ours for port in ports_in(str(value))}
            added = put - ports_in(str(entry.before))
    wanted = (ports_in(there) - added) | ours
    return there if wanted == ports_in(there) else ranges(wanted)


def _policies(setup: Setup) -> list[str]:
    return sorted(path for path in setup.values if _GOVERNOR.fullmatch(path))


def _governs(setup: Setup, path: str, governor: str) -> bool:
    """Whether this policy has the governor; one that does not say which it has is tried."""
    answer = setup.values.get(f"{path.rpartition('/')[0]}/{_AVAILABLE}")
    return answer is None or bool(answer.error) or governor in answer.text.split()


def _absent(setup: Setup, path: str) -> bool:
    answer = setup.values.get(path)
    return answer is None or answer.error == "absent"


def _can_be_set(setup: Setup, path: str) -> bool:
    answer = setup.values.get(path)
    return answer is not None and not answer.error and not answer.read_only


def _whole(file: str, lines: Sequence[str]) -> list[Setting]:
    return [Setting(file, "", _HEADER + "".join(lines))] if lines else []


def _lines_at_boot(kept: Mapping[str, str]) -> list[str]:
    """tmpfiles.d: `w` writes into what is there, and takes `*`."""
    lines = [f"w {THP} - - - - {kept[THP]}\n"] if THP in kept else []
    governors = {value for path, value in kept.items() if _GOVERNOR.fullmatch(path)}
    return lines + [f"w {GOVERNORS} - - - - {value}\n" for value in sorted(governors)]


def _limits(nofile: int, setup: Setup) -> list[Setting]:
    """Open files of logins, services and containers; a limit that somebody has set higher stays his."""
    lines = []
    for domain in ("*", "root"):
        for kind, least in (("soft", nofile), ("hard", max(nofile, _HARD_LIMIT))):
            most = max([least, *_logins(setup, domain, kind)])
            lines.append(f"{domain} {kind} nofile {'unlimited' if most == math.inf else int(most)}\n")
    pairs = list(_services(setup))
    soft = max([nofile, *(pair[0] for pair in pairs)])
    hard = max([nofile, _HARD_LIMIT, *(pair[1] for pair in pairs)])
    both = ":".join("infinity" if value == math.inf else str(int(value)) for value in (soft, hard))
    wanted = _whole(LIMITS_FILE, lines)
    return wanted + _whole(SYSTEMD_FILE, ["[Manager]\n", f"DefaultLimitNOFILE={both}\n"])


def _container_limit_is_low(nofile: int, setup: Setup) -> bool:
    """Whether a container may open fewer files than it could; where Docker does not answer, the record counts.

    Docker sets no limit by itself: its containers have that of containerd's service.
    """
    engine = setup.engine
    if not engine.nofile:
        return _noted(setup, DAEMON_FILE, _ULIMIT)
    return engine.nofile < min(nofile, engine.nofile_hard or nofile)


def _container_limit(nofile: int, setup: Setup) -> JsonValue:
    """Never above the hard limit of containerd: no container would start where it may not be raised."""
    hard = setup.engine.nofile_hard or max(nofile, _HARD_LIMIT)
    return {"Name": "nofile", "Hard": hard, "Soft": min(nofile, hard)}


def _waits_for_restart(wish: Wish, setup: Setup) -> bool:
    """Whether the containers' limit is left for later: it is not worth ending containers that run."""
    engine = setup.engine
    ends = bool(engine.running) and not engine.live_restore and not wish.allow_restart
    return ends and not _noted(setup, DAEMON_FILE, _ULIMIT)


def _logins(setup: Setup, domain: str, kind: str) -> Iterator[float]:
    """What others have set in limits.conf and limits.d."""
    for line in _lines_of(setup, _OTHER_LIMITS, LIMITS_FILE):
        words = line.split()
        if words[:1] == [domain] and words[1:3] in ([kind, "nofile"], ["-", "nofile"]) and words[3:]:
            yield from _number(words[3])


def _services(setup: Setup) -> Iterator[tuple[float, float]]:
    """What others have set in system.conf and system.conf.d: soft and hard."""
    for line in _lines_of(setup, _OTHER_DEFAULTS, SYSTEMD_FILE):
        key, _, value = line.partition("=")
        if key.strip() == "DefaultLimitNOFILE":
            numbers = [number for word in value.strip().split(":") for number in _number(word)]
            if numbers:
                yield numbers[0], numbers[-1]


def _lines_of(setup: Setup, places: Sequence[str], without: str) -> Iterator[str]:
    for path, file in setup.files.items():
        among = any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)
        if among and path != without and file is not None:
            for line in file.text.splitlines():
                yield line.partition("#")[0].strip()


def _number(word: str) -> Iterator[float]:
    if word in {"unlimited", "infinity", "-1"}:
        yield math.inf
    elif word.isascii() and word.isdecimal():
        yield float(word)


def _keeps_time(setup: Setup) -> bool:
    return any(setup.units.get(unit) in _RUNS for unit in _TIME_UNITS)


def _our_chrony(setup: Setup, family: Family) -> bool:
    """Whether npuctl wrote chrony's configuration, with chrony or in place of another."""
    file = setup.files.get(family.chrony_config)
    return file is not None and file.text.startswith(_HEADER)


def _noted(setup: Setup, path: str, key: str = "") -> bool:
    """Whether npuctl has set it before, by its record on the node."""
    return any((entry.file, entry.key) == (path, key) for entry in read_record(setup.records.get(RECORD, {})))


def _chrony_text(servers: Sequence[str]) -> str:
    return _HEADER + "".join(f"server {server} iburst\n" for server in servers) + _CHRONY


def _fresh_servers(tuning: SystemTuning, setup: Setup, family: Family) -> list[dict[str, str]]:
    """Chrony's configuration where npuctl brings chrony: it stays with it, for there was none before."""
    path = family.chrony_config
    file, text = setup.files.get(path), _chrony_text(tuning.time_servers)
    theirs = file is not None and not _our_chrony(setup, family)
    if not tuning.time_servers or theirs or _noted(setup, path) or (file is not None and file.text == text):
        return []
    return [{"path": path, "text": text, "mode": "0644", "owner": "root:root"}]


def _time_servers(tuning: SystemTuning, setup: Setup) -> list[Setting]:
    """Chrony's configuration where chrony was there and kept no time, or npuctl set it then."""
    family = family_of(setup)
    if not (tuning.time_sync and tuning.time_servers) or family is None:
        return []
    path = family.chrony_config
    idle = setup.files.get(path) is not None and not _our_chrony(setup, family) and not _keeps_time(setup)
    return [Setting(path, "", _chrony_text(tuning.time_servers))] if idle or _noted(setup, path) else []


def _servers_change(tuning: SystemTuning, setup: Setup, family: Family) -> bool:
    file = setup.files.get(family.chrony_config)
    wanted = _time_servers(tuning, setup)
    return bool(wanted) and (file is None or file.text != wanted[0].value)


def _notes(wish: Wish, tuning: SystemTuning, setup: Setup) -> Iterator[str]:
    """What this machine does not have."""
    if tuning.sched_migration_cost_ns is not None and _absent(setup, _SYSCTLS["sched_migration_cost_ns"]):
        yield "kernel.sched_migration_cost_ns: this kernel does not have it (from 5.13 on); left alone"
    for key in ("swappiness", "numa_balancing"):
        if getattr(tuning, key) is not None and _absent(setup, _SYSCTLS[key]):
            yield f"{_SYSCTLS[key]}: this kernel does not have it; left alone"
    if tuning.transparent_hugepages is not None and _absent(setup, THP):
        yield f"{THP}: this kernel has no transparent hugepages; left alone"
    if tuning.reserved_ports and _absent(setup, RESERVED_PORTS):
        yield f"{RESERVED_PORTS}: this kernel does not have it; no ports are reserved"
    if tuning.nofile is not None:
        yield from _limit_notes(wish, tuning.nofile, setup)
    if tuning.governor is not None:
        yield from _governor_notes(tuning.governor, setup)


def _limit_notes(wish: Wish, nofile: int, setup: Setup) -> Iterator[str]:
    if 0 < setup.engine.nofile_hard < nofile:
        yield (
            f"a container may open {setup.engine.nofile_hard} files, not {nofile}: the hard limit of containerd's"
            " service (LimitNOFILE)"
        )
    if _container_limit_is_low(nofile, setup) and _waits_for_restart(wish, setup):
        yield (
            f"{DAEMON_FILE}: a container may open {setup.engine.nofile} files, not {nofile}; Docker takes that up at a"
            " restart only, and containers run: left alone (--allow-restart sets it)"
        )


def _governor_notes(governor: str, setup: Setup) -> Iterator[str]:
    policies = _policies(setup)
    if not policies:
        yield "no CPU frequency governor here (no cpufreq: a virtual machine, or the BIOS keeps it); left alone"
    without = [path for path in policies if not _governs(setup, path, governor)]
    if without:
        answer = setup.values[f"{without[0].rpartition('/')[0]}/{_AVAILABLE}"]
        yield (
            f"{len(without)} of {len(policies)} CPU frequency policies have no governor {governor!r}, only"
            f" {' '.join(answer.text.split())}; left alone"
        )
