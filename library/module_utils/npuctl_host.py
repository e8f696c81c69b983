"""The machine that the NPUs sit in: clock, network, disks, kernel settings, rights. Read-only.

Standard library; Python 3.8 or newer.
"""

import ctypes
import glob
import grp
import os
import pwd
import re
import socket
import stat

from ansible.module_utils import npuctl_command as command
from ansible.module_utils import npuctl_files as files

SECONDS = 10  # for what may hang: a name server, a file server, systemd
DEVICES = (
    "/dev/davinci*",
    "/dev/devmm_svm*",
    "/dev/hisi_hdc",
    "/dev/asdrv_svm",
    "/dev/dvpp_cmdlist",
    "/dev/ummu*",
    "/dev/uburma*",
)
SYSCTLS = (
    "kernel.numa_balancing",
    "kernel.pid_max",
    "kernel.threads-max",
    "net.core.somaxconn",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "vm.max_map_count",
    "vm.overcommit_memory",
    "vm.swappiness",
)
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
# One a policy; cpuN/cpufreq are links to these (kernel 4.3 and newer).
GOVERNORS = "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
FIREWALLS = ("firewalld", "ufw", "nftables", "iptables")
UFW = "/etc/ufw/ufw.conf"  # Ubuntu's ufw.service is active, switched on or not
LOOPBACK = "772"  # ARPHRD_LOOPBACK in if_arp.h
TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES = 256  # struct timex has 208


def collect(holders):
    """Read the machine; `holders` is [(what, path)] of what lies on disks that matter."""
    disks, disks_error = command.within(SECONDS, read_disks, holders)
    addresses, name_error = command.within(SECONDS, resolve, socket.gethostname())
    return {
        "clock_synchronized": clock_is_synchronized(),
        "nics": [read_nic(name) for name in sorted(files.names("/sys/class/net"))],
        "addresses": command.run(["ip", "-o", "addr"], SECONDS),
        "hostname_addresses": addresses,
        "hostname_error": name_error,
        "disks": disks,
        "disks_error": disks_error,
        "device_nodes": read_device_nodes(),
        "sysctl": read_sysctls(),
        "transparent_hugepages": chosen(files.text(THP)),
        "governors": sorted({files.text(path).strip() for path in glob.glob(GOVERNORS)} - {""}),
        "firewalls": command.run(["systemctl", "is-active", *FIREWALLS], SECONDS),
        "firewall_names": list(FIREWALLS),
        "ufw_enabled": "ENABLED=yes" in files.text(UFW).splitlines(),
        "cpus": os.cpu_count() or 0,
        "uid": os.getuid(),
    }


def clock_is_synchronized():
    """The kernel's own word; None where it cannot be asked."""
    try:
        # All zero: modes 0 sets nothing.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def read_nic(name):
    """One network interface, by the kernel's files."""
    folder = "/sys/class/net/" + name
    return {
        "name": name,
        "kind": kind_of_nic(folder),
        "up": files.text(folder + "/operstate").strip() in ("up", "unknown") and is_up(folder),
        "mtu": number(files.text(folder + "/mtu")) or 0,
        "speed_mbit": number(files.text(folder + "/speed")),
    }


def is_up(folder):
    """Whether it was set up: IFF_UP of its flags."""
    try:
        return bool(int(files.text(folder + "/flags").strip() or "0", 16) & 1)
    except ValueError:
        return False


def kind_of_nic(folder):
    """loopback, physical, bond, bridge, vlan, or virtual for whatever else has no device behind it."""
    if files.text(folder + "/type").strip() == LOOPBACK:
        return "loopback"
    if os.path.exists(folder + "/device"):
        return "physical"
    for line in files.text(folder + "/uevent").splitlines():
        if line in ("DEVTYPE=bond", "DEVTYPE=bridge", "DEVTYPE=vlan"):
            return line.split("=", 1)[1]
    return "virtual"


def number(text):
    """A whole number above zero; None for anything else: a link that is down has speed -1, or none."""
    return int(text) if text.strip().isdigit() else None


def resolve(name):
    """Addresses that a name has on this node."""
    return sorted({entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


def read_disks(holders):
    """File systems under the given paths, each once."""
    mounts, disks = mounted(), {}
    for what, path in holders:
        folder = os.path.realpath(files.nearest_folder(path))
        point, filesystem = mount_of(folder, mounts)
        try:
            stats = os.statvfs(folder)
        except OSError:
            continue
        disk = disks.setdefault(
            point,
            {
                "path": point,
                "holds": [],
                "filesystem": filesystem,
                "free_bytes": stats.f_bavail * stats.f_frsize,
                "total_bytes": stats.f_blocks * stats.f_frsize,
            },
        )
        disk["holds"].append(what)
    return list(disks.values())


def mounted():
    """(mount point, file system) in the order of mounting; see proc(5) for mountinfo and its escapes."""
    found = []
    for line in files.text("/proc/self/mountinfo").splitlines():
        own, _, rest = line.partition(" - ")
        fields = own.split()
        if len(fields) > 4 and rest:
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), fields[4])
            found.append((point, rest.split()[0]))
    return found


def mount_of(folder, mounts):
    """The mount that a folder lies on: the longest mount point above it, the last mounted of equals."""
    best = ("/", "")
    for point, filesystem in mounts:
        above = point in ("/", folder) or folder.startswith(point + "/")
        if above and len(point) >= len(best[0]):
            best = (point, filesystem)
    return best


def read_device_nodes():
    """Mode and owner of every device node that NPUs have."""
    nodes = []
    for path in sorted(path for pattern in DEVICES for path in glob.glob(pattern)):
        try:
            info = os.stat(path)
        except OSError:
            continue
        mode = f"{stat.S_IMODE(info.st_mode):04o}"
        nodes.append({"path": path, "mode": mode, "owner": user(info.st_uid), "group": group(info.st_gid)})
    return nodes


def user(number):
    """Name of a user; the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group(number):
    """Name of a group; the number where there is none."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def read_sysctls():
    """Kernel settings that are there."""
    found = {}
    for name in SYSCTLS:
        answer = files.text_or_reason("/proc/sys/" + name.replace(".", "/"))
        if "text" in answer:
            found[name] = " ".join(answer["text"].split())
    return found


def chosen(text):
    """The word in brackets of "always [madvise] never"."""
    return text.partition("[")[2].partition("]")[0]
