#!/usr/bin/python3
"""One model's folder: as its manifest says, or without what npuctl put there."""

import grp
import pwd

from ansible.module_utils import npuctl_store as store
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_model_store
short_description: Publish or remove one model's weights
description:
  - Puts files that have arrived beside a model's folder under their final names, once every one has the size and
    the sha256 that the manifest says; no file is ever seen half.
  - A folder that npuctl did not make is never overwritten; one that holds the same files is taken as it is.
  - Hashes are kept by inode, size and time; what did not change is not read again.
options:
  path: {description: The model's folder., type: path, required: true}
  state: {description: What should be., type: str, choices: [present, absent], default: present}
  manifest:
    description: What should be in it; needed for C(state=present). A dictionary with files, source and revision.
    type: dict
  cluster:
    description: Cluster that the folder is filled for; one that was filled for another is not removed.
    type: str
    default: ""
  owner: {description: Whom new files belong to., type: str, default: root}
  group: {description: Group of new files., type: str, default: root}
author: npuctl
"""
EXAMPLES = r"""
- name: Publish the weights
  npuctl_model_store:
    path: /data/models/Qwen3-8B
    manifest: {files: {config.json: {size: 12, sha256: "..."}}, source: path, revision: ""}
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
"""


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "manifest": {"type": "dict"},
            "cluster": {"type": "str", "default": ""},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
        },
        required_if=[("state", "present", ["manifest"])],
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        if wanted["state"] == "absent":
            done = store.remove(wanted["path"], module.check_mode, wanted["cluster"])
        else:
            owner = (pwd.getpwnam(wanted["owner"]).pw_uid, grp.getgrnam(wanted["group"]).gr_gid)
            folder = store.Folder(wanted["path"], wanted["manifest"], wanted["cluster"])
            done = folder.publish(owner, module.check_mode)
    except store.StoreError as error:
        module.fail_json(msg=str(error))
    except KeyError as error:
        module.fail_json(msg=f"there is no such user or group: {error}")
    except OSError as error:
        module.fail_json(msg=f"{wanted['path']}: {error}")
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
