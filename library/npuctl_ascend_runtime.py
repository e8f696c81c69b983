#!/usr/bin/python3
"""The Ascend Docker Runtime from its .run package, with daemon.json left to whom it belongs.

The installer puts its runtime into daemon.json, makes it the default one and sets the file's mode to 0600
(mind-cluster, ascend-docker-runtime: run_main.sh). npuctl merges what is wanted itself and can take it back,
so the file is put back as it was.
"""

import contextlib
import os
import shutil

from ansible.module_utils import npuctl_run_package as run_package
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_ascend_runtime
short_description: Install the Ascend Docker Runtime
description:
  - Verifies the package by its sha256 and by the check that it carries, and runs it once.
  - Docker's daemon.json is the same before and after.
options:
  path: {description: The package on this node., type: path, required: true}
  sha256: {description: Digest that it must have., type: str, required: true}
  upgrade: {description: Another release is installed., type: bool, default: false}
  accept_eula: {description: Say yes where the installer asks for the vendor's licence., type: bool, default: false}
  seconds: {description: How long its end is waited for., type: int, default: 600}
author: npuctl
"""
EXAMPLES = r"""
- name: Install the Ascend Docker Runtime
  npuctl_ascend_runtime:
    path: /var/lib/npuctl/packages/Ascend-docker-runtime_7.3.0_linux-aarch64.run
    sha256: "{{ digest }}"
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
"""

DAEMON = "/etc/docker/daemon.json"
NAME = "ascend_runtime"
KEPT = os.path.join(run_package.FOLDER, "ascend_runtime.daemon.json")
SUCCESS = "success"


def keep():
    """Lay daemon.json aside; an older copy is that of a run that was killed, and the true one."""
    os.makedirs(run_package.FOLDER, mode=0o700, exist_ok=True)
    if os.path.lexists(KEPT):
        return
    if os.path.exists(DAEMON):
        shutil.copy2(DAEMON, KEPT + ".new")
        info = os.stat(DAEMON)
        os.chown(KEPT + ".new", info.st_uid, info.st_gid)
        os.replace(KEPT + ".new", KEPT)
    else:
        os.symlink("absent", KEPT)


def give_back():
    """Put daemon.json back as it was."""
    if os.path.islink(KEPT):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(DAEMON)
        os.unlink(KEPT)
    elif os.path.exists(KEPT):
        info = os.stat(KEPT)
        shutil.copy2(KEPT, DAEMON + ".npuctl-new")
        os.chown(DAEMON + ".npuctl-new", info.st_uid, info.st_gid)
        os.replace(DAEMON + ".npuctl-new", DAEMON)
        os.unlink(KEPT)


def install(params):
    """Run the package to its end; returns what was done."""
    path = params["path"]
    run_package.verify(path, params["sha256"])
    word = "--upgrade" if params["upgrade"] else "--install"
    keep()
    try:
        ended = run_package.run(
            path,
            [word],
            NAME,
            params["sha256"],
            params["seconds"],
            answer="Y\n" if params["accept_eula"] else "N\n",
        )
    except run_package.PackageError:
        # It may still run: daemon.json is given back by whoever asks for its end.
        if run_package.Job(run_package.FOLDER, NAME).read().get("state") == "ended":
            give_back()
        raise
    give_back()
    name = os.path.basename(path)
    if ended["rc"] != 0 or SUCCESS not in ended["lines"].lower():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(run_package.FOLDER, NAME + ".json"))
        if "eula" in ended["lines"].lower():
            raise run_package.PackageError(
                f"{name} wants its licence accepted: read it, then set container_engine.ascend_runtime.accept_eula: true"
            )
        raise run_package.PackageError(
            f"{name} {word} ended with {ended['rc']}; /var/log/ascend-docker-runtime/installer.log says more. "
            f"Its last lines:\n{ended['lines']}"
        )
    return [f"ran {name} {word}"]


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "sha256": {"type": "str", "required": True},
            "upgrade": {"type": "bool", "default": False},
            "accept_eula": {"type": "bool", "default": False},
            "seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, done=["run " + os.path.basename(module.params["path"])])
    try:
        done = install(module.params)
    except run_package.PackageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, done=done)


if __name__ == "__main__":
    main()
