"""Faults of the machine that the NPUs sit in: its settings, memory, names, network, devices and container engine.

What the kernel is said to be set to, and the memory, a node reads from files below /run/npusim-host
(sandbox/node/init lays them over the real ones): a fault rewrites a file in place, so that the mount stays.
"""

from __future__ import annotations

from npuctl.sandbox.fault_scripts import Script
from npuctl.sandbox.model import MODEL_PATH

_NOW = "/run/npusim-host"
_HEALTHY = "/usr/local/share/npusim-host"
_NUMBER = r"\d{1,9}"
_SECONDS = r"-?\d{1,9}(\.\d{1,6})?"
_MODELS = MODEL_PATH.rpartition("/")[0]
_PYTHON_STARTS = "/usr/lib/python3.11/encodings/__init__.py"  # Debian 12
_ENGINE_CONFIG = "/etc/docker/daemon.json"
_RUNTIME = "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"
_FIREWALL = "/run/systemd/system/firewalld.service"


def _setting(explanation: str, file: str, bad: str) -> Script:
    """One file of the kernel says `bad`."""
    return Script(
        explanation,
        put=f"printf '%s\\n' '{bad}' > {_NOW}/{file}",
        clear=f"cat {_HEALTHY}/{file} > {_NOW}/{file}",
    )


def _memory(explanation: str, *lines: tuple[str, int]) -> Script:
    """/proc/meminfo with other figures, in KiB."""
    changes = "; ".join(f"s/^{name}:.*/{name}: {size} kB/" for name, size in lines)
    return Script(
        explanation,
        put=f"sed '{changes}' {_HEALTHY}/meminfo > {_NOW}/meminfo",
        clear=f"cat {_HEALTHY}/meminfo > {_NOW}/meminfo",
    )


SCRIPTS: dict[str, Script] = {
    "swappiness": _setting("vm.swappiness is 60", "swappiness", "60"),
    "numa-balancing": _setting("kernel.numa_balancing is 1", "numa_balancing", "1"),
    "thp": _setting("transparent hugepages are off", "transparent_hugepages", "always madvise [never]"),
    "governor": _setting(
        "the CPUs' frequency governor is powersave", "cpufreq/policy0/scaling_governor", "powersave"
    ),
    "ports-ephemeral": _setting("the kernel may hand out the HCCL ports to anybody", "reserved_ports", ""),
    "memory-small": _memory(
        "the node has 8 GiB of memory",
        ("MemTotal", 8 * 2**20),
        ("MemFree", 7 * 2**20),
        ("MemAvailable", 7 * 2**20),
    ),
    "memory-taken": _memory("no memory of the node is free", ("MemFree", 0), ("MemAvailable", 0)),
    "mtu": Script(
        "the node's network interface has another MTU; --value MTU (default 1400)",
        put=f"""
for nic in /sys/class/net/eth*; do
  name=${{nic##*/}}
  [ -e "{_NOW}/mtu-$name" ] || cat "$nic/mtu" > "{_NOW}/mtu-$name"
  ip link set dev "$name" mtu "${{1:-1400}}"
done
""",
        clear=f"""
for file in {_NOW}/mtu-*; do
  [ -e "$file" ] || continue
  ip link set dev "${{file##*/mtu-}}" mtu "$(cat "$file")"
  rm "$file"
done
""",
        value_pattern=_NUMBER,
    ),
    "hostname-loopback": Script(
        "the node's own name resolves to 127.0.1.1",
        put=f"""
[ -e {_NOW}/hosts ] || cp /etc/hosts {_NOW}/hosts
sed "s/^[0-9.]*\\([[:space:]].*\\b$(hostname)\\b\\)/127.0.1.1\\1/" {_NOW}/hosts > /etc/hosts
""",
        clear=f"[ ! -e {_NOW}/hosts ] || {{ cat {_NOW}/hosts > /etc/hosts; rm {_NOW}/hosts; }}",
    ),
    "firewall": Script(
        "firewalld is active (and filters nothing)",
        put=f"""
printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true\\n' > {_FIREWALL}
systemctl daemon-reload
systemctl start firewalld.service
""",
        clear=f"""
[ -e {_FIREWALL} ] || exit 0
systemctl stop firewalld.service
rm {_FIREWALL}
systemctl daemon-reload
""",
    ),
    # Containers share the machine's clock, and libfaketime in every process ends sshd's sessions. Python's
    # clock is the one that npuctl asks; `encodings` is what every Python reads first, site or no site.
    "clock": Script(
        "the node's clock, as Python tells it, is off; --value SECONDS (default 120)",
        put=f"""
[ -e {_NOW}/encodings.py ] || cat {_PYTHON_STARTS} > {_NOW}/encodings.py
{{
  cat {_NOW}/encodings.py
  printf 'import time; time.time = (lambda real: lambda: real() + (%s))(time.time)\\n' "${{1:-120}}"
}} > {_NOW}/encodings.new
cat {_NOW}/encodings.new > {_PYTHON_STARTS}
""",
        clear=f"""
[ -e {_NOW}/encodings.py ] || exit 0
cat {_NOW}/encodings.py > {_PYTHON_STARTS}
rm {_NOW}/encodings.py
""",
        value_pattern=_SECONDS,
    ),
    "device-missing": Script(
        "/dev/davinciN is gone; --value N (default 0)",
        put=f'[ ! -e "/dev/davinci${{1:-0}}" ] || mv "/dev/davinci${{1:-0}}" {_NOW}/',
        clear=f'for file in {_NOW}/davinci*; do [ ! -e "$file" ] || mv "$file" /dev/; done',
        value_pattern=_NUMBER,
    ),
    "device-rights": Script(
        "/dev/davinciN can be opened by root alone; --value N (default 0)",
        put='chown root:root "/dev/davinci${1:-0}"; chmod 0600 "/dev/davinci${1:-0}"',
        clear="""
for device in /dev/davinci[0-9]*; do
  [ -e "$device" ] || continue
  chown HwHiAiUser:HwHiAiUser "$device"
  chmod 0660 "$device"
done
""",
        value_pattern=_NUMBER,
    ),
    # A reload takes runtimes over without a restart; it keeps the old ones unless it is told of others.
    "runtime-missing": Script(
        "Docker's default runtime is the Ascend runtime, whose program is not there",
        put=f"""
[ ! -e {_NOW}/daemon.json ] || exit 0
cp {_ENGINE_CONFIG} {_NOW}/daemon.json
python3 - <<'END'
import json
path = "{_ENGINE_CONFIG}"
config = json.load(open(path))
config["default-runtime"] = "ascend"
config["runtimes"] = {{"ascend": {{"path": "{_RUNTIME}"}}}}
json.dump(config, open(path, "w"))
END
systemctl reload docker
""",
        clear=f"""
[ -e {_NOW}/daemon.json ] || exit 0
python3 - <<'END'
import json
config = json.load(open("{_NOW}/daemon.json"))
config.setdefault("default-runtime", "runc")
config.setdefault("runtimes", {{}})
json.dump(config, open("{_ENGINE_CONFIG}", "w"))
END
systemctl reload docker
for _ in 1 2 3 4 5 6 7 8 9 10; do
  docker info --format '{{{{.DefaultRuntime}}}}' | grep -qx ascend || break
  sleep 0.2
done
cat {_NOW}/daemon.json > {_ENGINE_CONFIG}
rm {_NOW}/daemon.json
""",
    ),
    "docker-disk-small": Script(
        "Docker's disk is a new one of 32 MiB: no image on it, no room for one",
        put="""
! grep -q ' /var/lib/docker tmpfs ' /proc/mounts || exit 0
systemctl stop docker.socket docker.service
mount -t tmpfs -o size=32m small /var/lib/docker
systemctl start docker.socket docker.service
""",
        clear="""
grep -q ' /var/lib/docker tmpfs ' /proc/mounts || exit 0
systemctl stop docker.socket docker.service
umount /var/lib/docker
systemctl start docker.socket docker.service
""",
    ),
    "model-disk-full": Script(
        "the models lie on a new disk that is full: no weights on it, no room for them",
        put=f"""
! mountpoint -q {_MODELS} || exit 0
mount -t tmpfs -o size=64k full {_MODELS}
dd if=/dev/zero of={_MODELS}/.full bs=4k 2>/dev/null || true
""",
        clear=f"! mountpoint -q {_MODELS} || umount {_MODELS}",
    ),
}
