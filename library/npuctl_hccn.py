#!/usr/bin/python3
"""The ports of a node's NPUs: set as wanted, or as they were before npuctl set them."""

import json
import os

from ansible.module_utils import npuctl_hccn_tool as hccn
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: npuctl_hccn
short_description: Set addresses, gateways, detect addresses, TLS switches and MTUs of NPU ports
description:
  - Reads what the ports have and sets only what differs, with hccn_tool, one call at a time; reads it back.
  - What is set stands in /etc/hccn.conf afterwards, for the next boot.
  - Before the first change hccn.conf is kept as /var/lib/npuctl/hccn.conf.before, which no later state overwrites,
    and what ran and what was saved is noted in /var/lib/npuctl/npu_network.json.
options:
  state:
    description: C(set) makes the ports as given; C(restored) as they were noted, and forgets the note.
    type: str
    choices: [set, restored]
    default: set
  cluster: {description: Cluster that sets them., type: str, required: true}
  ports:
    description:
      - Ports by their physical chip ids, each with chip, address, netmask, and where wanted gateway, detect, tls
        and mtu.
    type: list
    elements: dict
    default: []
  busy_seconds:
    description: How long, in all, to wait for a tool that says it is busy.
    type: int
    default: 60
author: npuctl
"""
EXAMPLES = r"""
- name: Give NPU 0 its address
  npuctl_hccn:
    cluster: prod
    ports:
      - {chip: 0, address: 10.20.0.1, netmask: 255.255.0.0, gateway: 10.20.255.1, detect: 10.20.255.1, tls: 0}
"""
RETURN = r"""
done: {description: What was done, in words., returned: always, type: list, elements: str}
left: {description: What is not as it was before, and why., returned: always, type: list, elements: str}
"""

FOLDER = "/var/lib/npuctl"
RECORD_NAME = "npu_network.json"
BACKUP_NAME = "hccn.conf.before"
PRIVATE = 0o600
PAIR = ("address", "netmask")  # the tool sets both in one
OTHERS = ("gateway", "detect", "tls", "mtu")
# Where two ports of a node are to change their addresses with each other, one waits here: link-local addresses
# are routed nowhere (RFC 3927), and the tool refuses an address that another port of the node has.
ASIDE, ASIDE_NETMASK = "169.254.{}.{}", "255.255.0.0"


class Ports:
    """The ports of this node, and what has been done to them."""

    def __init__(self, params, check_mode):
        self.cluster = params["cluster"]
        self.check_mode = check_mode
        self.tool = hccn.Tool(params["busy_seconds"])
        self.wanted = {
            port["chip"]: {key: str(port[key]) for key in PAIR + OTHERS if port.get(key) is not None}
            for port in params["ports"]
        }
        self.done, self.left = [], []
        self.record_path = os.path.join(FOLDER, RECORD_NAME)
        self.backup_path = os.path.join(FOLDER, BACKUP_NAME)

    def set_all(self):
        """Every port as wanted."""
        runs = {chip: self.tool.read(chip) for chip in self.wanted}
        conf = hccn.read_conf()
        differing = self.differing(runs)
        unsaved = {
            (chip, key): value
            for chip, wanted in self.wanted.items()
            for key, value in wanted.items()
            if hccn.saved(conf, chip, key) != value
        }
        only_unsaved = {place: value for place, value in unsaved.items() if place not in differing}
        if not differing and not unsaved:
            return
        self.refuse_theirs()
        if conf is not None and not os.path.exists(self.backup_path):
            self.done.append(f"kept {hccn.CONF} as {self.backup_path}")
        self.tell(differing, runs)
        self.tell_saved(only_unsaved, conf)
        if self.check_mode:
            return
        self.note(runs, conf, {**differing, **unsaved})
        self.carry_out(differing, runs)
        self.save(self.wanted, only_unsaved)

    def refuse_theirs(self):
        """What the ports had before another cluster set them is noted for that one: it is not to be taken over."""
        record = self.record()
        if record is not None and record["cluster"] != self.cluster:
            owner = record["cluster"]
            raise hccn.HccnError(
                f"the ports were set for cluster {owner}, as {self.record_path} says; nothing was changed: set them by"
                f" its spec, or give the node free first: npuctl teardown --provision of {owner}"
            )

    def differing(self, runs):
        """(chip, key) → value of everything that runs otherwise than wanted."""
        return {
            (chip, key): value
            for chip, wanted in self.wanted.items()
            for key, value in wanted.items()
            if runs[chip][key] != value
        }

    def tell(self, differing, runs):
        """Say what is about to be set."""
        self.done += in_words(
            {place: (runs[place[0]][place[1]], value) for place, value in differing.items()}
        )

    def tell_saved(self, unsaved, conf):
        """Say what is about to be written into hccn.conf alone."""
        pairs = {place: (hccn.saved(conf, *place), value) for place, value in unsaved.items()}
        self.done += in_words(pairs, f" in {hccn.CONF}")

    def note(self, runs, conf, changing):
        """Keep hccn.conf, and note what is there, before anything changes; what was noted once stays."""
        if conf is not None and not os.path.exists(self.backup_path):
            hccn.write_whole(self.backup_path, conf, PRIVATE)
        record = self.record() or {"schema": 1, "conf_was_there": conf is not None, "ports": {}}
        record["cluster"] = self.cluster
        for (chip, key), value in changing.items():
            before = {"ran": runs[chip][key], "saved": hccn.saved(conf, chip, key)}
            record["ports"].setdefault(str(chip), {}).setdefault(key, before)["ours"] = value
        hccn.write_whole(self.record_path, json.dumps(record, indent=1, sort_keys=True) + "\n", PRIVATE)

    def record(self):
        """What was noted; None where nothing was."""
        try:
            with open(self.record_path, encoding="utf-8") as stream:
                record = json.load(stream)
            check_record(record)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise hccn.HccnError(
                f"{self.record_path} cannot be read: {error}; what was there before is in {self.backup_path}"
            ) from error
        return record

    def carry_out(self, differing, runs):
        """Set what differs: addresses first, for a gateway must lie in its address's network."""
        moving = {chip for chip, key in differing if key in PAIR}
        self.set_addresses(moving, runs)
        for chip in sorted(self.wanted):
            # A new address takes the routes of the old one with it: look again.
            now = self.tool.read(chip) if chip in moving else runs[chip]
            for key in OTHERS:
                value = self.wanted[chip].get(key)
                if value is not None and now[key] != value:
                    self.tool.set(chip, key, value)
        for chip in sorted({chip for chip, _key in differing}):
            self.compare(chip, self.tool.read(chip))

    def set_addresses(self, moving, runs):
        """Set the addresses of these chips, each when no other port of the node has it any more."""
        has = {chip: now["address"] for chip, now in runs.items()}
        waiting = {chip: self.pair(chip, runs) for chip in sorted(moving)}
        while waiting:
            ready = [
                chip
                for chip, (address, _mask) in waiting.items()
                if all(held != address for other, held in has.items() if other != chip)
            ]
            if not ready:
                chip = next(iter(waiting))
                has[chip] = ASIDE.format(*divmod(chip + 256, 256))
                self.tool.set_address(chip, has[chip], ASIDE_NETMASK)
                continue
            for chip in ready:
                address, mask = waiting.pop(chip)
                self.tool.set_address(chip, address, mask)
                has[chip] = address

    def pair(self, chip, runs):
        """Address and netmask that a chip is to have; one that is not wanted stays."""
        return tuple(self.wanted[chip].get(key) or runs[chip][key] for key in PAIR)

    def compare(self, chip, now):
        """Refuse to go on where the tool said yes and did not do it."""
        wrong = [
            f"{key} is {now[key] or 'none'}, not {value}"
            for key, value in self.wanted[chip].items()
            if now[key] != value
        ]
        if wrong:
            raise hccn.HccnError(
                f"NPU {chip}: hccn_tool took the settings, and now its {'; '.join(wrong)};"
                f" see `hccn_tool -i {chip} -ip -g` and /var/log/hccn_tool/hccn_config.log on the node"
            )

    def save(self, wanted, said):
        """See that hccn.conf has it: the tool writes the file, and where it did not, this does."""
        conf = hccn.read_conf()
        missing = {
            (chip, key): value
            for chip, settings in wanted.items()
            for key, value in settings.items()
            if hccn.saved(conf, chip, key) != value
        }
        for chip, key in missing:
            if (chip, key) not in said:
                self.done.append(f"wrote {key} of NPU {chip} into {hccn.CONF}, for hccn_tool had not")
        if missing:
            hccn.write_whole(hccn.CONF, hccn.with_settings(conf, missing), hccn.CONF_MODE)

    def restore(self):
        """Every port as it was noted, unless somebody else has set it since; then the note goes."""
        record = self.record()
        if record is None:
            return
        if record["cluster"] != self.cluster:
            self.left.append("the ports were set for cluster {cluster}".format(**record))
            return
        runs, conf = {}, hccn.read_conf()
        lines = {}
        for chip, keys in sorted((int(chip), keys) for chip, keys in record["ports"].items()):
            now = self.look(chip)
            mine = {key: entry for key, entry in keys.items() if self.is_ours(chip, key, entry, now)}
            lines.update({(chip, key): entry["saved"] for key, entry in mine.items()})
            if now is not None:
                runs[chip] = now
                self.wanted[chip] = {key: entry["ran"] for key, entry in mine.items() if entry["ran"]}
        differing = self.differing(runs)
        self.tell(differing, runs)
        unsaved = {place: value for place, value in lines.items() if hccn.saved(conf, *place) != value}
        self.tell_saved({place: value for place, value in unsaved.items() if place not in differing}, conf)
        self.done.append(f"removed {self.record_path}")
        if self.check_mode:
            return
        self.carry_out(differing, runs)
        self.restore_conf(lines, keep=record.get("conf_was_there", True))
        for path in (self.record_path, self.backup_path):
            if os.path.exists(path):
                os.unlink(path)

    def look(self, chip):
        """What runs on a port; None where it is not there any more."""
        try:
            return self.tool.read(chip)
        except hccn.NoPortError as error:
            self.left.append(f"{error}: only its lines in {hccn.CONF} are restored")
            return None

    def is_ours(self, chip, key, entry, now):
        """Whether a setting is to be restored: nobody else has changed it since."""
        value = now[key] if now else None
        if value not in (None, entry["ours"], entry["ran"]):
            self.left.append(f"NPU {chip}: {key} was set to {value} by somebody else since")
            return False
        if value is not None and entry["ran"] is None:
            self.left.append(
                f"NPU {chip}: hccn_tool cannot unset {key}: the device keeps {value} until its next boot"
            )
        return True

    def restore_conf(self, lines, *, keep):
        """The lines of hccn.conf as they were; a file that was not there goes with its last line."""
        conf = hccn.read_conf()
        fresh = hccn.with_settings(conf, lines)
        if conf is not None and not fresh.strip() and not keep:
            os.unlink(hccn.CONF)
        elif fresh != (conf or ""):
            hccn.write_whole(hccn.CONF, fresh, hccn.CONF_MODE)


def check_record(record):
    """Raise ValueError where a record is not as this module writes it."""
    ports = record.get("ports") if isinstance(record, dict) else None
    if not isinstance(ports, dict) or not isinstance(record.get("cluster"), str):
        raise ValueError("it does not say whose ports it is about")  # noqa: TRY004  one error for all
    for chip, keys in ports.items():
        good = chip.isdigit() and isinstance(keys, dict)
        if not good or not all(is_noted(entry) for entry in keys.values()):
            raise ValueError(f"what it says of chip {chip} is not as npuctl writes it")


def is_noted(entry):
    """Whether this is one setting as it is noted: what ran, what was saved, what was set."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("ours"), str)
        and all(key in entry and isinstance(entry[key], (str, type(None))) for key in ("ran", "saved"))
    )


def in_words(changes, where=""):
    """(chip, key) → (was, wanted) in words, the chips that share a change in one."""
    chips = {}
    for (chip, key), (was, wanted) in changes.items():
        chips.setdefault((key, was or "none", wanted or "none"), []).append(chip)
    return [
        f"NPU {ranges(found)}: {key}{where} {was} -> {wanted}" for (key, was, wanted), found in chips.items()
    ]


def ranges(numbers):
    """0, 1, 2, 5 → "0-2,5"."""
    runs = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["set", "restored"], "default": "set"},
            "cluster": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "dict", "default": []},
            "busy_seconds": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    ports = Ports(module.params, module.check_mode)
    try:
        {"set": ports.set_all, "restored": ports.restore}[module.params["state"]]()
    except hccn.HccnError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(ports.done), done=ports.done, left=ports.left)


if __name__ == "__main__":
    main()
