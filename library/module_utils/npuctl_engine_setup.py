"""The container engine as it runs: containers, runtimes, limits. Read-only.

Standard library; Python 3.8 or newer.
"""

from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_files as files

SECONDS = 10


def read():
    """What Docker tells of itself; empty where it does not answer."""
    answer = {}
    try:
        info = docker.call("GET", "/info", timeout=SECONDS)
        running = docker.call("GET", "/containers/json", timeout=SECONDS)
    except docker.DockerError:
        return answer
    answer["version"] = info.get("ServerVersion") or ""
    answer["live_restore"] = bool(info.get("LiveRestoreEnabled"))
    answer["runtimes"] = sorted(info.get("Runtimes") or {})
    answer["running"] = sorted(entry["Names"][0].lstrip("/") for entry in running)
    answer.update(read_limits())
    return answer


def read_limits():
    """Open files that a new container may have: Docker sets none, so those of containerd's process are theirs."""
    for pid in files.names("/proc"):
        if not pid.isdigit() or files.text(f"/proc/{pid}/comm").strip() != "containerd":
            continue
        for line in files.text(f"/proc/{pid}/limits").splitlines():
            words = line.split()
            if words[:3] == ["Max", "open", "files"] and len(words) > 4:
                soft, hard = words[3:5]
                return {"nofile": int(soft), "nofile_hard": int(hard)} if (soft + hard).isdigit() else {}
    return {}
