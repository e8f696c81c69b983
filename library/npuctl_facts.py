#!/usr/bin/python3
"""Everything that a plan, a check or a proof of stop needs of one node, read in one call; read-only.

Carried in two ways: as an Ansible module (playbooks/facts.yml), and by npuctl itself over a kept SSH
connection (npuctl/remote/program.py), which is five times quicker than a play. Standard library only;
Python 3.8 or newer. What tools printed is returned as it is: npuctl's parsers read it on the controller.
"""

import concurrent.futures
import glob
import hashlib
import os
import platform
import re
import stat
import time

from ansible.module_utils import npuctl_command as command
from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_files as files
from ansible.module_utils import npuctl_probe as probe

DOCUMENTATION = r"""
module: npuctl_facts
short_description: Read everything npuctl needs to know of one node
description: Reads chips, containers, files, ports and paths in one call and changes nothing.
options:
  cluster: {description: Name of the cluster whose containers and files are meant., type: str, required: true}
  root: {description: Folder that holds npuctl's files of this cluster., type: str, required: true}
  paths: {description: Paths whose existence matters., type: list, elements: str, default: []}
  replicas:
    description: Replicas to ask for a token in the same call, as npuctl_health takes them.
    type: list
    elements: dict
    default: []
    no_log: true
  survey:
    description: >-
      Ask every chip, port, disk, image and model folder too. A dictionary of models and caches (paths), images
      (references), engines (names), packages (whose versions in images are wanted) and second_opinion (whether
      other tools on the node are asked).
    type: dict
  setup:
    description: How the machine is set up; a dictionary of what to look at (module_utils/npuctl_setup.py).
    type: dict
author: npuctl
"""
EXAMPLES = r"""
- name: Read the node
  npuctl_facts: {cluster: prod, root: /etc/npuctl/prod}
"""
RETURN = r"""
facts: {description: What was read., returned: always, type: dict}
"""

PATH_SECONDS = 5
NPU_SMI_SECONDS = 20  # the driver's own collector uses 20 s for `npu-smi info`
DEVICE = re.compile(r"^/dev/davinci(\d+)$")
CONTAINER_ID = re.compile(r"([0-9a-f]{64})")
VERSION_INFO = "/usr/local/Ascend/driver/version.info"


def collect(request):
    """Read the node; `request` has cluster and root, and may have paths, replicas, survey and setup."""
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        replicas = pool.submit(probe.observe_all, request.get("replicas") or [])
        smi = pool.submit(command.run, ["npu-smi", "info"], NPU_SMI_SECONDS)
        survey = pool.submit(read_survey, request, smi) if request.get("survey") is not None else None
        setup = pool.submit(read_setup, request["setup"]) if request.get("setup") is not None else None
        engine = pool.submit(read_docker, request["cluster"])
        processes = pool.submit(read_processes)
        facts = read_host()
        facts["files"] = read_files(request["root"])
        facts["clusters"] = sorted(files.names(os.path.dirname(request["root"])))
        facts["paths"] = read_kinds(request.get("paths") or [])
        facts["free_bytes"] = read_free_space(request["root"])
        facts["npu_smi"] = smi.result()
        facts.update(engine.result())
        facts.update(processes.result())
        facts["replicas"] = replicas.result()
        facts["survey"] = survey.result() if survey else None
        facts["setup"] = setup.result() if setup else None
    facts["clock"] = {"began": began, "ended": time.time()}
    return facts


def read_survey(request, smi):
    """The thorough look; its modules travel to the node only when one is taken (remote/program.py)."""
    from ansible.module_utils import npuctl_survey as survey

    return survey.collect(request, smi)


def read_setup(wanted):
    """The provisioning look; carried to the node with a whole program only."""
    from ansible.module_utils import npuctl_setup as setup

    return setup.collect(wanted)


def read_host():
    """Operating system, memory, driver files, device nodes, shared memory."""
    memory = {}
    for line in files.text("/proc/meminfo").splitlines():
        key, _, rest = line.partition(":")
        memory[key] = int(rest.split()[0]) // 1024 if rest.split() else 0
    return {
        "hostname": platform.node(),
        "simulated": os.path.exists("/etc/npuctl-sandbox"),
        "os": files.release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "boot_id": files.text("/proc/sys/kernel/random/boot_id").strip(),
        "memory_total_mb": memory.get("MemTotal", 0),
        "memory_available_mb": memory.get("MemAvailable", 0),
        "version_info": files.text(VERSION_INFO),
        "devices": sorted(path for path in glob.glob("/dev/davinci*") if DEVICE.match(path)),
        "shared_memory": sorted(
            name for name in files.names("/dev/shm") if name.startswith(("psm_", "sem.mp-"))
        ),
    }


def read_kinds(paths):
    """What each path is; one that hangs, as on a file server that is dead, is left out."""
    kinds = {path: command.within(PATH_SECONDS, kind, path)[0] for path in paths}
    return {path: found for path, found in kinds.items() if found}


def kind(path):
    """What a path is: file, directory, other or absent."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "absent"
    return "directory" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def read_free_space(root):
    """Free bytes where our files and Docker's lie, by path."""
    free = {}
    for path in ("/", files.nearest_folder(root), files.nearest_folder("/var/lib/docker")):
        try:
            stats = os.statvfs(path)
        except OSError:
            continue
        free[path] = stats.f_bavail * stats.f_frsize
    return free


def read_files(root):
    """Kind, mode, owner and hash of everything below root."""
    found = {}
    for folder, _folders, names in os.walk(root):
        for path in [folder] + [os.path.join(folder, name) for name in names]:
            try:
                info = os.lstat(path)
            except OSError:
                continue
            directory = stat.S_ISDIR(info.st_mode)
            found[path] = {
                "kind": "directory" if directory else "file",
                "mode": f"{stat.S_IMODE(info.st_mode):04o}",
                "owner": files.owner(info),
                "sha256": "" if directory else digest(path),
            }
    return found


def digest(path):
    """sha256 of a file, empty when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except OSError:
        return ""


def read_docker(cluster):
    """Version, images and our containers; `containers_by_id` names all containers for the process list."""
    answer = {"docker": {"version": "", "error": ""}, "images": [], "containers": [], "container_names": {}}
    try:
        answer["docker"]["version"] = docker.call("GET", "/version", timeout=10)["Version"]
        for image in docker.call("GET", "/images/json", timeout=30):
            names = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
            answer["images"] += [name for name in names if not name.startswith("<none>")]
        for entry in docker.call("GET", "/containers/json", {"all": 1}, timeout=30):
            name = entry["Names"][0].lstrip("/")
            answer["container_names"][entry["Id"]] = name
            if (entry.get("Labels") or {}).get("npuctl.cluster") == cluster:
                described = docker.inspect(entry["Id"])
                if described is not None:
                    answer["containers"].append(describe(described))
    except docker.DockerError as error:
        answer["docker"]["error"] = str(error)
    return answer


def describe(container):
    """The part of a container's description that npuctl reads."""
    state, labels = container["State"], container["Config"].get("Labels") or {}
    return {
        "name": container["Name"].lstrip("/"),
        "id": container["Id"],
        "image": container["Config"]["Image"],
        "state": state["Status"],
        "exit_code": state.get("ExitCode", 0),
        "restarts": container.get("RestartCount", 0),
        "restart_policy": container["HostConfig"]["RestartPolicy"]["Name"],
        "started_at": state.get("StartedAt", ""),
        "engine": labels.get("npuctl.engine", ""),
        "service": labels.get("npuctl.service", ""),
        "replica": number(labels.get("npuctl.replica")),
        "port": number(labels.get("npuctl.port")),
        "config": labels.get("npuctl.config", ""),
        "spec": labels.get("npuctl.spec", ""),
    }


def number(label):
    """A label as a number; 0 where somebody wrote something else into it."""
    return int(label) if (label or "").isdigit() else 0


def read_processes():
    """Who holds an NPU's device node, and who listens on which TCP port: one walk over /proc."""
    sockets = {inode: port for port, inode in listening_sockets()}
    holders, listeners = [], {port: {"port": port} for port in sockets.values()}
    for pid in files.names("/proc"):
        if not pid.isdigit():
            continue
        for descriptor in files.names(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            except OSError:
                continue
            device = DEVICE.match(target)
            inode = target[8:-1] if target.startswith("socket:[") else ""
            if device:
                holder = dict(process(pid), chip=int(device.group(1)))
                if holder not in holders:
                    holders.append(holder)
            elif inode in sockets:
                listeners[sockets[inode]].update(process(pid))
    return {"holders": holders, "listeners": sorted(listeners.values(), key=lambda entry: entry["port"])}


def listening_sockets():
    """(port, inode) of every TCP socket that listens (state 0A in proc(5))."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in files.text(path).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == "0A":
                yield int(fields[1].rsplit(":", 1)[1], 16), fields[9]


def process(pid):
    """pid, command and container id of a process."""
    command = files.text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    container = CONTAINER_ID.search(files.text(f"/proc/{pid}/cgroup").rsplit("/", 1)[-1])
    return {
        "pid": int(pid),
        "command": (command or files.text(f"/proc/{pid}/comm").strip())[:200],
        "container_id": container.group(1) if container else "",
    }


def main():
    """Run as an Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "root": {"type": "str", "required": True},
            "paths": {"type": "list", "elements": "str", "default": []},
            "replicas": {"type": "list", "elements": "dict", "default": [], "no_log": True},
            "survey": {"type": "dict"},
            "setup": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, facts=collect(module.params))


if __name__ == "__main__":
    main()
