#!/usr/bin/python3
"""The NPUs' ports take their settings from /etc/hccn.conf, as at a boot."""

from ansible.module_utils import npuctl_command as command
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_hccn_recovery
short_description: Let the NPUs' ports take what /etc/hccn.conf says
description: Runs C(hccn_tool -i N -cfg recovery) for each chip, as the driver does at every boot.
options:
  chips: {description: Physical ids., type: list, elements: int, required: true}
author: npuctl
"""
EXAMPLES = r"""
- name: Let the ports take their settings
  npuctl_hccn_recovery: {chips: [0, 1, 2, 3, 4, 5, 6, 7]}
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
"""

FOLDER = "/usr/local/Ascend/driver/tools"
SECONDS = 60
NO_NETWORK = "not supported"


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"chips": {"type": "list", "elements": "int", "required": True}},
        supports_check_mode=True,
    )
    tool = command.Tool("hccn_tool", SECONDS, [FOLDER], budget=SECONDS * 10)
    failed = []
    for chip in [] if module.check_mode else module.params["chips"]:
        answer = tool.ask(["-i", str(chip), "-cfg", "recovery"], chip)
        said = (answer["stdout"] + answer["stderr"]).strip()
        if answer["rc"] != 0 and NO_NETWORK not in said:
            failed.append(f"chip {chip}: {said or 'ended with {}'.format(answer['rc'])}")
    if failed:
        module.fail_json(msg="hccn_tool -cfg recovery: " + "; ".join(failed))
    chips = len(module.params["chips"])
    module.exit_json(changed=bool(chips), done=[f"{chips} ports took /etc/hccn.conf"] if chips else [])


if __name__ == "__main__":
    main()
