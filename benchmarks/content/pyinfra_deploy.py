"""The state that npuctl keeps, as a pyinfra deploy: the checks of deploy.yml, one by one."""

import io
import re
from typing import Any

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.facts.docker import DockerContainer, DockerImage
from pyinfra.facts.files import File, FindDirectories
from pyinfra.facts.server import Command
from pyinfra.operations import files, server

_LEAST_FREE = 1048576


def require(*, holds: bool, what: str) -> None:
    """Stop the deploy of this node where something that is no change of ours is wrong."""
    if not holds:
        raise DeployError(what)


def is_wanted(found: dict[str, Any], want: dict[str, Any]) -> bool:
    """Whether the container is running and made as wanted."""
    config, machine = found["Config"], found["HostConfig"]
    mounted = {f"{mount['Source']}:{mount['Destination']}:{mount['RW']}" for mount in found["Mounts"]}
    return (
        found["State"]["Status"] == "running"
        and config["Image"] == want["image"]
        and config["Cmd"] == want["argv"]
        and config["StopTimeout"] == want["stop_timeout"]
        and set(want["env"]) <= set(config["Env"])
        and want["labels"].items() <= config["Labels"].items()
        and machine["RestartPolicy"]["Name"] == "always"
        and machine["NetworkMode"] == "host"
        and bool(machine["Init"])
        and not machine["Privileged"]
        and machine["ShmSize"] == want["shm_bytes"]
        and [device["PathOnHost"] for device in machine["Devices"]] == want["devices"]
        and mounted == set(want["mounts"])
    )


def words(command: str) -> set[str]:
    """The words that a command prints."""
    return set((host.get_fact(Command, command=command) or "").split())


bench = host.data.bench
chips = host.get_fact(Command, command="npu-smi info")
for chip in bench["chips"]:
    require(
        holds=re.search(rf"\| {chip} +910\S+ +\| OK ", chips) is not None, what=f"chip {chip} is not healthy"
    )
room = words("df --output=avail -B1 / /etc /var/lib/docker | tail -n +2")
require(holds=min(int(word) for word in room) >= _LEAST_FREE, what="a disk is full")
for path in bench["present"]:
    require(holds=host.get_fact(File, path=path) is not None, what=f"{path} does not exist")

files.directory(
    name="Make the replica's folder", path=bench["directory"], mode="750", user="root", group="root"
)
files.directory(name="Make the cache folder", path=bench["cache"], mode="755")
secrets = files.put(
    name="Write the secrets",
    src=io.StringIO(bench["secrets"]["content"]),
    dest=bench["secrets"]["path"],
    mode=bench["secrets"]["mode"].lstrip("0"),
    user="root",
    group="root",
)
folders = set(host.get_fact(FindDirectories, path=bench["root"]) or [])
require(holds=folders <= {bench["root"], bench["directory"]}, what="a folder that no replica uses")

require(holds=bool(words("docker version --format '{{.Server.Version}}'")), what="Docker does not answer")
require(
    holds=bool(host.get_fact(DockerImage, object_id=bench["want"]["image"])), what="the image is not there"
)
names = words(f"docker ps --all --filter label=npuctl.cluster={bench['cluster']} --format '{{{{.Names}}}}'")
require(holds=names <= {bench["container"]}, what="a container that no replica is")
found = host.get_fact(DockerContainer, object_id=bench["container"])
if secrets.will_change or not found or not is_wanted(found[0], bench["want"]):
    server.shell(
        name="Make the container anew", commands=[f"docker rm -f {bench['container']}", bench["run_line"]]
    )
else:
    pids = words(f"docker top {bench['container']} -eo pid | tail -n +2")
    port = host.get_fact(Command, command=f"ss -ltnpH 'sport = :{bench['port']}'") or ""
    require(holds=set(re.findall(r"pid=(\d+)", port)) <= pids, what="the port is somebody else's")
    require(holds=words(bench["holders_command"]) <= pids, what="a chip is somebody else's")
