#!/usr/bin/python3
"""Docker's configuration as a transaction: checked, written, taken up, proven; or everything as it was before."""

import contextlib
import grp
import hashlib
import json
import os
import pwd
import re
import time

from ansible.module_utils import npuctl_docker as docker
from ansible.module_utils import npuctl_files as files
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_docker_daemon
short_description: Docker runs with this configuration
description:
  - Writes files of Docker's configuration, lets Docker take them up, and sees that it did.
  - If Docker refuses them or does not come up with them, the former files are put back, and Docker runs as before.
  - What Docker has still to take up is noted in RV(record), so that a run that was killed is finished by the next.
  - What a reload tells Docker for a moment is noted beside it, and the file that is meant lies beside daemon.json.
options:
  files:
    description: Files as C({path, text, mode, owner}); without a text one is removed.
    type: list
    elements: dict
    default: []
  seen:
    description: Path to the sha256 of the text that the plan was made from, C("") for no file; else nothing is done.
    type: dict
    default: {}
  effect:
    description: What Docker needs to take them up.
    type: str
    choices: [none, reload, restart]
    required: true
  runtimes: {description: Runtimes that it must know then., type: list, elements: str, default: []}
  unit: {description: Docker's systemd unit., type: str, default: docker.service}
  record: {description: Where is noted what is owed., type: path, required: true}
author: npuctl
"""
EXAMPLES = r"""
- name: Give Docker its configuration
  npuctl_docker_daemon:
    files: [{path: /etc/docker/daemon.json, text: "{}", mode: "0644", owner: "root:root"}]
    effect: reload
    record: /var/lib/npuctl/container_engine.json
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
"""

DAEMON = "/etc/docker/daemon.json"
ORDER = ("none", "reload", "restart")
UP_SECONDS = 60
TAKEN_SECONDS = 20
PAUSE_SECONDS = 0.2
# A reload leaves alone what the file does not name any more (moby, daemon/reload.go: IsValueSet). So a key that
# goes is told once with the value that Docker has without it, before the file that lacks it is put in place.
DEFAULTS = {
    "registry-mirrors": [],
    "insecure-registries": [],
    "allow-nondistributable-artifacts": [],
    "labels": [],
    "debug": False,
    "live-restore": False,
    "shutdown-timeout": 15,
    "runtimes": {},
    "default-runtime": "runc",
}


class DaemonError(Exception):
    """Docker cannot have this configuration; the text says why and what was done about it."""


class Daemon:
    """Docker on this node, and what has been done to it."""

    def __init__(self, params, run, *, check_mode):
        self.files = params["files"]
        self.seen = params["seen"]
        self.runtimes = params["runtimes"]
        self.unit = params["unit"]
        self.record = params["record"]
        self.run = run
        self.check_mode = check_mode
        self.done = []
        self.owed = read_json(self.record).get("owed") or "none"
        self.effect = max(params["effect"], self.owed, key=ORDER.index)
        self.before = {file["path"]: read(file["path"]) for file in self.files}
        self.looked_at = {path: digest(content) for path, content in self.before.items()}
        # container_engine.json and container_engine_reload.json
        self.reload_record = "_reload".join(os.path.splitext(self.record))
        noted = read_json(self.reload_record)
        self.gone = {key for key in noted.get("gone", []) if key in DEFAULTS}
        self.told = bool(noted.get("told")) and noted["told"] == digest(read(DAEMON))
        if self.told and DAEMON in self.before:
            self.before[DAEMON] = read(meant())

    def settle(self):
        """Bring Docker to this configuration."""
        changing = [file for file in self.files if not as_wanted(file, self.before[file["path"]])]
        if not changing and self.owed == "none" and not self.told:
            return
        self.refuse_moved(changing)
        if self.check_mode:
            self.done += [words(file) for file in changing]
            self.done += [] if self.effect == "none" else [self.effect]
            return
        os.makedirs(os.path.dirname(self.record), mode=0o700, exist_ok=True)
        fresh = {file["path"]: file.get("text") for file in changing}
        if fresh.get(DAEMON) is not None:
            self.validate(fresh[DAEMON])
        if self.effect == "reload" and DAEMON in fresh:
            new = as_json((fresh[DAEMON] or "").encode())
            self.gone |= {key for key in as_json(self.before[DAEMON]) if key in DEFAULTS and key not in new}
        if self.gone:
            note(self.reload_record, dict(read_json(self.reload_record), gone=sorted(self.gone)))
        note(self.record, {"owed": self.effect})
        self.finish()
        try:
            for file in changing:
                put(file)
                self.done.append(words(file))
            self.take_up()
        except (DaemonError, docker.DockerError, OSError) as error:
            raise DaemonError(f"{error}; {self.put_back(changing)}") from error
        self.forget()

    def forget(self):
        """Nothing is owed any more."""
        for path in (self.reload_record, self.record):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def finish(self):
        """End what a killed run left in the middle: the file that Docker was told for a moment goes."""
        if self.told:
            put_meant()
            self.done.append(f"put {DAEMON} back as it was meant by a run that was ended in the middle")
        elif os.path.exists(meant()):
            os.unlink(meant())

    def refuse_moved(self, changing):
        """Somebody has changed a file since it was looked at: what is to be written does not know of that."""
        for file in changing:
            path = file["path"]
            if path in self.seen and self.seen[path] != self.looked_at[path]:
                raise DaemonError(
                    f"{path} was changed since it was read; nothing was done. Run the same again"
                )

    def validate(self, text):
        """Let dockerd check it where it can (Docker 23.0 and newer); it must be JSON in any case."""
        try:
            json.loads(text)
        except ValueError as error:
            raise DaemonError(f"{DAEMON} would be no JSON: {error}; nothing was done") from error
        probe = self.record + ".daemon.json"
        write(probe, text.encode(), 0o600)
        try:
            code, _out, said = self.run(["dockerd", "--validate", "--config-file", probe, *flags()])
        finally:
            os.unlink(probe)
        if code != 0 and "unknown flag: --validate" not in said:
            last = (said.strip().splitlines() or [f"it ended with {code}"])[-1].replace(probe, DAEMON)
            raise DaemonError(f"dockerd refuses this configuration: {last}; nothing was done")

    def take_up(self):
        """Let Docker read its files, and see that it did."""
        if self.effect == "none":
            return
        if self.effect == "reload" and answers():
            self.reload()
            self.done.append("reloaded")
        else:
            self.restart()
            self.done.append("restarted")
        known = docker.call("GET", "/info").get("Runtimes") or {}
        missing = [name for name in self.runtimes if name not in known]
        if missing:
            raise DaemonError(f"Docker does not know the runtime {', '.join(missing)}")

    def reload(self):
        """Let Docker take up its file while everything runs on."""
        text = read(DAEMON)
        new = json.loads(text or b"{}")
        gone = {key: DEFAULTS[key] for key in sorted(self.gone) if key not in new}
        if not gone:
            self.signal()
            return
        told, mode = json.dumps(dict(new, **gone)).encode(), 0o600
        if text is not None:
            info = os.stat(DAEMON)
            mode = info.st_mode & 0o7777
            write(meant(), text, mode, info.st_uid, info.st_gid)
        # Noted first: a kill in between would leave the defaults to be taken for what somebody wrote there.
        note(self.reload_record, {"gone": sorted(gone), "told": digest(told)})
        write(DAEMON, told, mode)
        try:
            self.signal()
        finally:
            put_meant()

    def signal(self):
        """SIGHUP, and wait for the event by which Docker tells that it has taken the file up."""
        began = time.time()
        self.systemctl("reload", self.unit)
        deadline = time.monotonic() + TAKEN_SECONDS
        while not reloaded(began):
            if time.monotonic() > deadline:
                raise DaemonError(f"Docker did not take up {DAEMON}: {self.journal()}")
            time.sleep(PAUSE_SECONDS)

    def restart(self):
        """Restart Docker and wait until it answers."""
        self.systemctl("daemon-reload")
        self.run(["systemctl", "reset-failed", self.unit])
        self.systemctl("restart", self.unit)
        deadline = time.monotonic() + UP_SECONDS
        while not answers():
            if time.monotonic() > deadline:
                raise DaemonError(f"Docker does not answer {UP_SECONDS} s after its start: {self.journal()}")
            time.sleep(PAUSE_SECONDS)

    def put_back(self, changing):
        """The former files, and Docker with them; says what came of it."""
        for file in changing:
            restore(file, self.before[file["path"]])
        try:
            if self.effect == "restart":
                self.restart()
            elif self.effect == "reload":
                self.reload_former()
        except (DaemonError, docker.DockerError) as error:
            return f"the former files are back, but Docker does not run with them either: {error}"
        self.forget()
        return "the former files are back, and Docker runs with them"

    def reload_former(self):
        """After a reload that was refused, or not proven: the old file, taken up as far as a reload can."""
        docker.call("GET", "/_ping", timeout=5)
        self.systemctl("reload", self.unit)

    def systemctl(self, *words_):
        """Run systemctl; its refusal is ours."""
        code, _out, said = self.run(["systemctl", *words_])
        if code != 0:
            text = said.strip().splitlines() or [f"ended with {code}"]
            raise DaemonError(f"systemctl {' '.join(words_)}: {text[0]} ({self.journal()})")

    def journal(self):
        """What Docker said last of what is wrong."""
        _code, out, _said = self.run(
            ["journalctl", "--unit", self.unit, "--lines", "30", "--output", "cat", "--no-pager"]
        )
        lines = [line for line in out.splitlines() if "error" in line or "unable" in line or "fail" in line]
        found = re.search(r'msg="((?:[^"\\]|\\.)*)"', lines[-1]) if lines else None
        if found:
            return found.group(1).replace('\\"', '"')
        return lines[-1].strip() if lines else "its journal says nothing of it"


def answers():
    """Whether Docker answers."""
    try:
        docker.call("GET", "/_ping", timeout=5)
    except docker.DockerError:
        return False
    return True


def as_wanted(file, found):
    """Whether a file is as it should be, its mode and owner with it."""
    if file.get("text") is None:
        return found is None
    if found != file["text"].encode():
        return False
    info = os.stat(file["path"])
    return info.st_mode & 0o7777 == int(file["mode"], 8) and (info.st_uid, info.st_gid) == owner(file)


def words(file):
    """What happens to a file, in words; never a text of it."""
    return ("removed " if file.get("text") is None else "wrote ") + file["path"]


def put(file):
    """Write one file, or remove it."""
    if file.get("text") is None:
        os.unlink(file["path"])
        return
    os.makedirs(os.path.dirname(file["path"]), mode=0o755, exist_ok=True)
    write(file["path"], file["text"].encode(), int(file["mode"], 8), *owner(file))


def restore(file, content):
    """A file as it was."""
    if content is not None:
        write(file["path"], content, int(file["mode"], 8), *owner(file))
    elif os.path.exists(file["path"]):
        os.unlink(file["path"])


def meant():
    """Where daemon.json as it is meant lies while Docker is told the defaults of keys that go."""
    return DAEMON + ".npuctl-meant"


def put_meant():
    """daemon.json as it is meant takes the place of what Docker was told; where there is to be none, it goes."""
    if os.path.exists(meant()):
        os.replace(meant(), DAEMON)
    else:
        os.unlink(DAEMON)


def write(path, content, mode, uid=0, gid=0):
    """Replace a file whole: whoever reads it reads the old or the new one."""
    fresh = path + ".npuctl-new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.chown(fresh, uid, gid)
    os.chmod(fresh, mode)
    os.replace(fresh, path)


def owner(file):
    """(uid, gid) of "user:group", by number where there is no name (npuctl_files.owner)."""
    user, _, group = file["owner"].partition(":")
    return (
        int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid,
        int(group) if group.isdigit() else grp.getgrnam(group).gr_gid,
    )


def read(path):
    """A file's bytes; None where there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None


def digest(content):
    """sha256 of a file's bytes; "" for no file."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def as_json(content):
    """A daemon.json as an object; empty where it is none."""
    try:
        data = json.loads(content or b"{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def read_json(path):
    """An own note; empty where there is none."""
    return as_json(read(path))


def note(path, data):
    """Write an own note, on the disk before anything else happens."""
    write(path, (json.dumps(data) + "\n").encode(), 0o600)


def reloaded(since):
    """Whether Docker has told of a reload since then."""
    query = {
        "since": f"{since:.6f}",
        "until": f"{time.time():.6f}",
        "filters": json.dumps({"type": ["daemon"], "event": ["reload"]}),
    }
    return bool(docker.call("GET", "/events", query, timeout=10))


def flags():
    """The flags that dockerd runs with: what stands in them must not stand in the file too."""
    for pid in files.names("/proc"):
        if pid.isdigit() and files.text(f"/proc/{pid}/comm").strip() == "dockerd":
            line = [word for word in files.text(f"/proc/{pid}/cmdline").split("\0") if word]
            kept, skip = [], False
            for word in line[1:]:
                if not skip and word.split("=")[0] != "--config-file":
                    kept.append(word)
                skip = not skip and word == "--config-file"
            return kept
    return []


def main():
    """Run as an Ansible module."""
    file = {
        "path": {"type": "path", "required": True},
        "text": {"type": "str"},
        "mode": {"type": "str", "required": True},
        "owner": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "default": [], "options": file},
            "seen": {"type": "dict", "default": {}},
            "effect": {"type": "str", "choices": list(ORDER), "required": True},
            "runtimes": {"type": "list", "elements": "str", "default": []},
            "unit": {"type": "str", "default": "docker.service"},
            "record": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    daemon = Daemon(module.params, module.run_command, check_mode=module.check_mode)
    try:
        daemon.settle()
    except (DaemonError, docker.DockerError) as error:
        module.fail_json(msg=str(error), done=[])
    module.exit_json(changed=bool(daemon.done), done=daemon.done)


if __name__ == "__main__":
    main()
