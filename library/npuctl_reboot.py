#!/usr/bin/python3
"""Reboot a node once: only out of the boot that is named."""

import os
import subprocess
import time

from ansible.module_utils import npuctl_files as files
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_reboot
short_description: Begin a reboot, unless the node has been rebooted already
description:
  - The reboot begins a moment after this module has answered, so that its answer gets out. Whoever called waits for
    the node's return.
options:
  boot_id: {description: The boot out of which the node is rebooted., type: str, required: true}
author: npuctl
"""
EXAMPLES = r"""
- name: Reboot the node
  npuctl_reboot: {boot_id: 2f0c3c0e-8a43-4f5e-9b0e-5d1c6f1f7a11}
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
"""

BOOT_ID = "/proc/sys/kernel/random/boot_id"
PAUSE_SECONDS = 2  # for the answer to get out
COMMAND = ("systemctl", "reboot")


def begin():
    """Reboot in a process that outlives this one and its connection."""
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, 256)
    time.sleep(PAUSE_SECONDS)
    try:
        subprocess.call(COMMAND)
    finally:
        os._exit(0)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"boot_id": {"type": "str", "required": True}}, supports_check_mode=True
    )
    now = files.text(BOOT_ID).strip()
    if not now:
        module.fail_json(
            msg=f"{BOOT_ID} cannot be read: whether the node was rebooted already cannot be told"
        )
    if now != module.params["boot_id"]:
        module.exit_json(changed=False, done=["was rebooted already"])
    if not module.check_mode:
        begin()
    module.exit_json(changed=True, done=["began to reboot"])


if __name__ == "__main__":
    main()
