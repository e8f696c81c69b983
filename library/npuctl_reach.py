#!/usr/bin/python3
"""Probes from this node's NPUs to addresses of other nodes' NPUs. Carried like npuctl_facts; changes nothing.

Standard library only; Python 3.8 or newer. What hccn_tool printed is returned where its figures do not say
that everything came back; npuctl's parser reads it on the controller.
"""

import concurrent.futures
import contextlib
import re
import threading
import time

from ansible.module_utils import npuctl_command as command

DOCUMENTATION = r"""
module: npuctl_reach
short_description: Probe other nodes' NPUs from this node's NPUs
description: Runs hccn_tool's pings, side by side over the chips and one after the other on each; changes nothing.
options:
  probes:
    description: Chip (N of /dev/davinciN) and its probes, each a plane (roce or hccs) and an address.
    type: dict
    required: true
  seconds: {description: When to stop; what was not probed by then is returned as such., type: float, default: 50}
author: npuctl
"""
EXAMPLES = r"""
- name: Probe one NPU of another node
  npuctl_reach: {probes: {"0": [[roce, 10.20.2.11]]}}
"""
RETURN = r"""
reach: {description: One entry a probe; none where every packet came back., returned: always, type: dict}
"""

TOOL = "hccn_tool"
FOLDERS = ["/usr/local/Ascend/driver/tools"]
WORDS = {"roce": "-ping", "hccs": "-hccs_ping"}
PROBE_SECONDS = 10  # what the driver's own collector gives a call of hccn_tool
FIGURES = re.compile(r"(\d+) packets transmitted, (\d+) received")
# A lost probe is repeated once before it counts, at the end, when a blip is over. A card whose first few
# are lost again has no blip: its others are not repeated, for each may cost a time-out.
TELLING_REPEATS = 4
HANGS = 2
MOST_TEXT = 2000
OUT_OF_TIME = "not probed: out of time"


def collect(request):
    """Make every probe of the request."""
    deadline = time.monotonic() + request["seconds"]
    turns = Turns()
    with concurrent.futures.ThreadPoolExecutor(max(1, len(request["probes"]))) as pool:
        chips = {
            chip: pool.submit(probe_chip, turns, chip, targets, deadline)
            for chip, targets in request["probes"].items()
        }
        answers = {chip: entry.result() for chip, entry in chips.items()}
    return {
        "chips": {chip: entries for chip, (entries, _repeated) in answers.items()},
        "repeated": sum(repeated for _entries, repeated in answers.values()),
    }


def probe_chip(turns, chip, targets, deadline):
    """(entries, probes that came back only when repeated) of one chip."""
    entries, hangs, stop = [], 0, ""
    for target in targets:
        entry = {"text": stop} if stop else turns.probe(chip, target, deadline)
        if entry is not None and entry.pop("hung", False):
            hangs += 1
            stop = "not probed: hccn_tool hung before" if hangs == HANGS else ""
        elif entry is not None and entry.pop("busy", False):
            stop = "not probed: hccn_tool stayed busy"
        entries.append(entry)
    return entries, repeat(turns, chip, targets, entries, deadline)


def repeat(turns, chip, targets, entries, deadline):
    """Probe again where packets were lost, in place; how many came back whole now."""
    came_back = tried = 0
    for at, entry in enumerate(entries):
        if entry is None or not FIGURES.search(entry["text"]):
            continue
        if time.monotonic() >= deadline or (tried >= TELLING_REPEATS and not came_back):
            break
        tried += 1
        again = turns.probe(chip, targets[at], deadline)
        if again is None:
            entries[at] = None
            came_back += 1
    return came_back


class Turns:
    """Calls of hccn_tool: side by side, and one at a time on a node whose tool does not bear that.

    The tool's source takes a lock for some commands only; that other releases take one for each is told by
    their answer ("hccn_tool is busy, please try again.").
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.busy = 0

    def probe(self, chip, target, deadline):
        """None where every packet came back, else what the tool said."""
        plane, address = target
        argv = [TOOL, "-i", chip, WORDS[plane], "-g", "address", address]
        answer = None
        for attempt in range(command.BUSY_TRIES):
            left = deadline - time.monotonic()
            if left <= 0:
                return {"text": OUT_OF_TIME}
            with self.turn():
                answer = command.run(argv, min(PROBE_SECONDS, left), FOLDERS)
            if not command.says_busy(answer):
                break
            self.busy += 1
            time.sleep(command.BUSY_PAUSE_SECONDS * (attempt + 1))
        text = answer["stdout"] + answer["stderr"]
        figures = FIGURES.search(text)
        if figures and figures.group(1) == figures.group(2) != "0":
            return None
        if answer.get("hung") and time.monotonic() >= deadline:
            return {"text": OUT_OF_TIME}
        return {
            "rc": answer["rc"],
            "text": text[-MOST_TEXT:],
            "hung": answer.get("hung", False),
            "busy": command.says_busy(answer),
        }

    def turn(self):
        """This caller's turn."""
        return self.lock if self.busy >= command.BUSY_TRIES else contextlib.nullcontext()


def main():
    """Run as an Ansible module."""
    from ansible.module_utils.basic import AnsibleModule

    module = AnsibleModule(
        argument_spec={
            "probes": {"type": "dict", "required": True},
            "seconds": {"type": "float", "default": 50},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, reach=collect(module.params))


if __name__ == "__main__":
    main()
