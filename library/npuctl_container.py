#!/usr/bin/python3
"""One container of ours: started, stopped or absent; idempotent by the hash that the plan gave it."""

import os

from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_pull as pull
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_container
short_description: Start, stop or remove one engine container
description:
  - Makes a container exactly as planned, with nothing that is not planned, and never privileged.
  - A container that npuctl did not make for this cluster is never touched.
  - Talks to the engine's local socket; nothing has to be installed on the node besides Docker and Python.
options:
  state: {description: What should be., type: str, choices: [started, stopped, absent], required: true}
  name: {description: Name of the container., type: str, required: true}
  cluster: {description: Cluster that the container must belong to., type: str, required: true}
  spec: {description: The planned container; needed for C(state=started)., type: dict}
  directory: {description: The replica's folder; needed for C(state=started) and C(state=absent)., type: path}
  recreate: {description: Make it anew even if it is as planned., type: bool, default: false}
  pull_from: {description: Name that the image is pulled by where that is not its own., type: str, default: ""}
  registry: {description: Registry of that name., type: str, default: ""}
  stop_grace_seconds: {description: Time between SIGTERM and SIGKILL., type: int, default: 30}
author: npuctl
"""
EXAMPLES = r"""
- name: Stop a replica
  npuctl_container: {state: stopped, name: npuctl-prod-chat-0, cluster: prod}
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
"""

PULL_SECONDS = 14400  # an image of 10 to 20 GB over a slow mirror
ANSWER_SECONDS = 30
MADE_FILE = "made-folders"  # in the replica's folder: cache folders that were not there before


class Container:
    """The container of that name, and what has been done to it."""

    def __init__(self, params, check_mode):
        self.name = params["name"]
        self.cluster = params["cluster"]
        self.spec = params["spec"]
        self.recreate = params["recreate"]
        about = {
            "reference": params["spec"]["image"] if params["spec"] else "",
            "source": params["pull_from"],
        }
        self.image = pull.complete(about, registry=params["registry"], cluster=self.cluster)
        self.grace = params["stop_grace_seconds"]
        self.made = os.path.join(params["directory"] or "", MADE_FILE)
        self.check_mode = check_mode
        self.done = []
        self.found = docker.inspect(self.name)
        if self.found is not None:
            owner = (self.found["Config"].get("Labels") or {}).get("npuctl.cluster")
            if owner != self.cluster:
                raise docker.DockerError(
                    f"a container called {self.name} is there that npuctl did not make for cluster {self.cluster}; "
                    "it was not touched"
                )

    def act(self, word, method, path, **options):
        """Do one thing, or in check mode only say it."""
        self.done.append(word)
        return None if self.check_mode else docker.call(method, path, **options)

    def running(self):
        """Whether the engine runs it, or is about to run it again."""
        return self.found is not None and self.found["State"]["Status"] in ("running", "restarting", "paused")

    def start(self):
        """As planned and running: keep, start, or make it anew."""
        wanted = self.spec["labels"]["npuctl.config"]
        if self.found is not None:
            differs = self.found["Config"]["Labels"].get("npuctl.config") != wanted
            if differs or self.recreate:
                self.remove()
        if self.found is None:
            self.pull_if_absent()
            self.make_caches()
            self.act(
                "created",
                "POST",
                "/containers/create",
                query={"name": self.name},
                body=create_body(self.spec, pull.name_there(self.image)),
            )
            self.act("started", "POST", f"/containers/{self.name}/start")
            return
        if self.found["HostConfig"]["RestartPolicy"]["Name"] != "always":
            self.set_restart_policy("always")
        if self.found["State"]["Status"] == "paused":
            self.act("unpaused", "POST", f"/containers/{self.name}/unpause")
        elif not self.running():
            self.act("started", "POST", f"/containers/{self.name}/start")

    def make_caches(self):
        """Make the cache folders that are absent, and note them: an empty one goes again with the replica."""
        for mount in self.spec["mounts"]:
            if mount["create"] and not os.path.isdir(mount["source"]):
                self.done.append("made " + mount["source"])
                if not self.check_mode:
                    os.makedirs(mount["source"], mode=0o755)
                    with open(self.made, "a", encoding="utf-8") as stream:
                        stream.write(mount["source"] + "\n")

    def remove_empty_caches(self):
        """Remove the cache folders that were made for this replica and hold nothing."""
        try:
            with open(self.made, encoding="utf-8") as stream:
                folders = stream.read().splitlines()
        except OSError:
            return
        for folder in folders:
            if os.path.isdir(folder) and not os.listdir(folder):
                self.done.append("removed empty " + folder)
                if not self.check_mode:
                    os.rmdir(folder)

    def pull_if_absent(self):
        """Pull the image when the node does not have it; a pull that was begun for it is waited for."""
        if self.check_mode:
            self.done += [] if pull.is_as_wanted(self.image) else ["pulled " + self.image["reference"]]
            return
        if not pull.is_begun(self.image) and not pull.is_as_wanted(self.image):
            pull.begin([self.image], [])
        found = pull.wait([self.image], PULL_SECONDS)
        if found["failed"] or found["progress"]:
            raise docker.DockerError("; ".join(found["failed"] or found["progress"]))
        self.done += found["done"]

    def stop(self):
        """SIGTERM, grace, SIGKILL; and no restart when the engine or the node starts again."""
        if self.found is None:
            return
        if self.found["HostConfig"]["RestartPolicy"]["Name"] != "no":
            self.set_restart_policy("no")
        if self.running():
            self.act(
                "stopped",
                "POST",
                f"/containers/{self.name}/stop",
                query={"t": self.grace},
                timeout=self.grace + ANSWER_SECONDS,
            )

    def set_restart_policy(self, name):
        """`always` would bring a stopped service back at the next start of the engine."""
        body = {"RestartPolicy": {"Name": name}}
        self.act("restart policy " + name, "POST", f"/containers/{self.name}/update", body=body)

    def remove(self):
        """Stop and remove, with its anonymous volumes."""
        if self.found is not None:
            self.stop()
            self.act("removed", "DELETE", f"/containers/{self.name}", query={"v": 1})
            self.found = None

    def remove_all(self):
        """The container, and what was made on the node for it outside its folder."""
        self.remove()
        self.remove_empty_caches()


def create_body(spec, image=None):
    """The plan's container in the words of the Docker Engine API; `image`: its name here, where that is another."""
    return {
        "Image": image or spec["image"],
        "Cmd": spec["argv"],
        "Env": [f"{name}={value}" for name, value in sorted(spec["env"].items())],
        "Labels": spec["labels"],
        "StopTimeout": spec["stop_grace_seconds"],
        "HostConfig": {
            "Init": True,
            "Privileged": False,
            "NetworkMode": "host",
            "RestartPolicy": {"Name": "always"},
            "ShmSize": spec["shm_bytes"],
            "Devices": [
                {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
                for path in spec["devices"]
            ],
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": mount["source"],
                    "Target": mount["target"],
                    "ReadOnly": mount["read_only"],
                }
                for mount in spec["mounts"]
            ],
            # MindIE-Motor's advice for engine logs, which grow without bound by Docker's default.
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "500m", "max-file": "3"}},
        },
    }


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["started", "stopped", "absent"]},
            "name": {"type": "str", "required": True},
            "cluster": {"type": "str", "required": True},
            "spec": {"type": "dict"},
            "directory": {"type": "path"},
            "recreate": {"type": "bool", "default": False},
            "pull_from": {"type": "str", "default": ""},
            "registry": {"type": "str", "default": ""},
            "stop_grace_seconds": {"type": "int", "default": 30},
        },
        required_if=[("state", "started", ["spec", "directory"]), ("state", "absent", ["directory"])],
        supports_check_mode=True,
    )
    try:
        container = Container(module.params, module.check_mode)
        action = {"started": container.start, "stopped": container.stop, "absent": container.remove_all}
        action[module.params["state"]]()
    except docker.DockerError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(container.done), done=container.done)


if __name__ == "__main__":
    main()
