#!/usr/bin/python3
"""Kernel values, set now: files below /proc and /sys. What cannot be set is said and ends nothing."""

import os

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_kernel
short_description: Set kernel values below /proc and /sys
description:
  - Writes each value that differs and reads it back; the kernel has the last word.
  - A value that the machine does not have, or does not take, is named under RV(unset) and is no failure.
  - Sets what is now; what is set at the next boot stands in /etc/sysctl.d and /etc/tmpfiles.d.
options:
  values: {description: Path of a kernel value to its text., type: dict, required: true}
author: npuctl
"""
EXAMPLES = r"""
- name: Set kernel values
  npuctl_kernel:
    values: {/proc/sys/vm/swappiness: "0", /sys/kernel/mm/transparent_hugepage/enabled: always}
"""
RETURN = r"""
done: {description: What was set, and what could not be, in words., returned: always, type: list, elements: str}
unset: {description: Path of a value that could not be set to the reason., returned: always, type: dict}
"""

FOLDERS = ("/proc/", "/sys/")


def apply(values, write):
    """Set every value that differs; returns what was done and what could not be. `write`: no check mode."""
    done, unset = [], {}
    for path, wanted in sorted(values.items()):
        try:
            before, after = settle(path, str(wanted), write)
        except (FileNotFoundError, NotADirectoryError):
            unset[path] = "the kernel has no such value"
        except OSError as error:
            unset[path] = error.strerror or str(error)
        else:
            if after != str(wanted):
                unset[path] = f"the kernel keeps {after or 'it empty'}"
            elif before != after:
                done.append(f"{path} {before or 'empty'} → {after or 'empty'}")
    return done, unset


def settle(path, wanted, write):
    """The value before and after; in check mode it is only seen whether it could be written."""
    before = read(path)
    if before == wanted:
        return before, before
    if not write:
        os.close(os.open(path, os.O_WRONLY))
        return before, wanted
    put(path, wanted)
    return before, read(path)


def read(path):
    """A value's text: of "always [madvise] never" the word in brackets."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        words = stream.read().split()
    chosen = [word[1:-1] for word in words if word.startswith("[") and word.endswith("]")]
    return chosen[0] if len(chosen) == 1 else " ".join(words)


def put(path, text):
    """Write a value in one call, as the kernel wants it: one that does not fit is refused by it, not cut."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, (text + "\n").encode())
    finally:
        os.close(descriptor)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"values": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    values = module.params["values"]
    strangers = [path for path in values if not path.startswith(FOLDERS) or ".." in path.split("/")]
    if strangers:
        module.fail_json(
            msg=f"no kernel values: {', '.join(strangers)}; nothing was set. Paths begin with /proc/ or /sys/"
        )
    done, unset = apply(values, not module.check_mode)
    told = [f"{path} cannot be set to {values[path]}: {why}" for path, why in sorted(unset.items())]
    module.exit_json(changed=bool(done), done=done + told, unset=unset)


if __name__ == "__main__":
    main()
