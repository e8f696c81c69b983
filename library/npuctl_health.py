#!/usr/bin/python3
"""Does each replica of this node produce a token? Carried like npuctl_facts; read-only."""

import os

from ansible.module_utils import npuctl_probe as probe

DOCUMENTATION = r"""
module: npuctl_health
short_description: Ask every replica of this node for one token
description: Observes container, port and one token of each replica; changes nothing.
options:
  replicas: {description: What to ask of each replica., type: list, elements: dict, required: true, no_log: true}
author: npuctl
"""
EXAMPLES = r"""
- name: Ask the replicas
  npuctl_health: {replicas: "{{ npuctl_probes }}"}
"""
RETURN = r"""
replicas: {description: What was observed of each replica., returned: always, type: list, elements: dict}
"""


def collect(request):
    """Observe every replica of the request."""
    simulated = os.path.exists("/etc/npuctl-sandbox")
    return {"simulated": simulated, "replicas": probe.observe_all(request["replicas"])}


def main():
    """Run as an Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={"replicas": {"type": "list", "elements": "dict", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **collect(module.params))


if __name__ == "__main__":
    main()
