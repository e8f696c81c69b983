#!/usr/bin/python3
"""One .run package of the vendor: verified, or run to its end, whatever becomes of the connection."""

from ansible.module_utils import npuctl_run_package as run_package
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_ascend_package
short_description: Verify or run a .run package of Ascend
description:
  - Verifies a package by its sha256 and by the check that it carries.
  - Runs one in a session of its own. A broken connection does not end it, and asked again this module waits for
    the one that runs, or tells how it ended; for one identity a package is run once.
  - Exit code 2 of a driver or firmware means that a reboot is owed, and is no failure.
options:
  state: {description: What should be., type: str, choices: [verified, run], required: true}
  path: {description: The package on this node., type: path, required: true}
  sha256: {description: Digest that it must have., type: str, default: ""}
  arguments: {description: Its arguments, for C(state=run)., type: list, elements: str, default: []}
  name: {description: Name of the files below /var/lib/npuctl that tell of the run., type: str, default: ""}
  identity: {description: Names this run; another one runs the package anew., type: str, default: ""}
  seconds: {description: How long its end is waited for., type: int, default: 3600}
author: npuctl
"""
EXAMPLES = r"""
- name: Install the driver
  npuctl_ascend_package:
    state: run
    path: /var/lib/npuctl/packages/Ascend-hdk-910b-npu-driver_25.5.2_linux-aarch64.run
    arguments: [--full, --install-for-all, --quiet]
    name: driver_package
    identity: 4711-driver-1
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
exit_code: {description: Exit code of the package., returned: when it was run, type: int}
reboot_owed: {description: Whether it asks for a reboot., returned: when it was run, type: bool}
lines: {description: The last lines of its output., returned: when it was run, type: str}
"""


def verified(module):
    """The package is the one that is meant, and whole."""
    run_package.verify(module.params["path"], module.params["sha256"])
    return {"changed": False, "done": []}


def run(module):
    """The package was run."""
    path, arguments = module.params["path"], module.params["arguments"]
    file = path.rpartition("/")[2]
    line = " ".join([file, *arguments])
    if not module.params["name"] or not module.params["identity"]:
        raise run_package.PackageError("state=run needs name and identity")
    if module.check_mode:
        return {"changed": True, "done": ["run " + line]}
    ended = run_package.run(
        path, arguments, module.params["name"], module.params["identity"], module.params["seconds"]
    )
    if ended["rc"] not in (run_package.DONE, run_package.OWED):
        raise run_package.PackageError(
            f"{line} ended with {ended['rc']}; /var/log/ascend_seclog/ascend_install.log says more. "
            f"Its last lines:\n{ended['lines']}"
        )
    word = "ran" if ended["started"] else "waited for"
    owed = ", a reboot is owed" if ended["reboot_owed"] else ""
    # Not as "rc": Ansible takes every rc but 0 for a failure.
    return {
        "changed": True,
        "done": [f"{word} {line}: {ended['rc']}{owed}"],
        "exit_code": ended["rc"],
        "reboot_owed": ended["reboot_owed"],
        "lines": ended["lines"],
    }


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["verified", "run"], "required": True},
            "path": {"type": "path", "required": True},
            "sha256": {"type": "str", "default": ""},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "name": {"type": "str", "default": ""},
            "identity": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    try:
        answer = {"verified": verified, "run": run}[module.params["state"]](module)
    except run_package.PackageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
