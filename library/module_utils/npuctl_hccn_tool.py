"""hccn_tool and /etc/hccn.conf on a node, one call at a time. Standard library; Python 3.8 or newer."""

import os
import re
import time

from ansible.module_utils import npuctl_command as command
from ansible.module_utils import npuctl_files as files

FOLDER = "/usr/local/Ascend/driver/tools"
CALL_SECONDS = 20  # the driver's own collector gives a query 10 s; a setting waits for the device
BUSY_PAUSE_SECONDS = 0.5
CONF = "/etc/hccn.conf"
CONF_MODE = 0o640  # what the driver's installer gives it
# Our word → the key in hccn.conf, where it stands as KEY_CHIP=VALUE.
CONF_KEYS = {
    "address": "address",
    "netmask": "netmask",
    "gateway": "gateway",
    "detect": "netdetect",
    "tls": "tls_enable",
    "mtu": "mtu",
}
# hccn_tool's word for a question → what its answer holds (hicann/driver, hccn_tool).
QUESTIONS = {
    "-ip": {"address": r"ipaddr:\s*([\d.]+)", "netmask": r"netmask:\s*([\d.]+)"},
    "-gateway": {"gateway": r"default gateway:\s*([\d.]+)"},
    "-netdetect": {"detect": r"netdetect addr(?:ess)?:\s*([\d.]+)"},
    "-tls": {"tls": r"tls switch\[([01])\]"},
    "-mtu": {"mtu": r"mtu:\s*(\d+)"},
}
# How each setting but the address is set.
SETTERS = {
    "gateway": ("-gateway", "gateway"),
    "detect": ("-netdetect", "address"),
    "tls": ("-tls", "enable"),
    "mtu": ("-mtu", "size"),
}
NOT_SET = re.compile(r"Get \w+ failed, because no \w+ was preset there!")
NO_DETECT_ADDRESS = "0.0.0.0"  # noqa: S104  the tool's word for none
NO_DEVICE = re.compile(r"The device is not exist!|Get invalid device id\.")
ABSENT = "is not installed"


class HccnError(Exception):
    """hccn_tool did not do what it was asked for."""


class NoPortError(HccnError):
    """The chip, or the tool itself, is not there."""


class Tool:
    """hccn_tool; while it is busy it is asked again, `busy_seconds` in all."""

    def __init__(self, busy_seconds):
        self._busy_seconds = busy_seconds
        self._patience = busy_seconds

    def read(self, chip):
        """What runs on a chip's port, as text; None for what is not set."""
        found = {}
        for word, patterns in QUESTIONS.items():
            answer = self._ask(chip, [word, "-g"])
            text = answer["stdout"] + answer["stderr"]
            if NOT_SET.search(text):
                found.update(dict.fromkeys(patterns))
                continue
            if answer["rc"] != 0:
                raise failed(chip, [word, "-g"], answer)
            for key, pattern in patterns.items():
                match = re.search(pattern, text)
                if not match:
                    raise failed(chip, [word, "-g"], answer)
                value = match.group(1)
                found[key] = None if key == "detect" and value == NO_DETECT_ADDRESS else value
        return found

    def set(self, chip, key, value):
        """Set everything but the address."""
        question, name = SETTERS[key]
        self._do(chip, [question, "-s", name, value])

    def set_address(self, chip, address, netmask):
        """Set address and netmask, which the tool takes together."""
        self._do(chip, ["-ip", "-s", "address", address, "netmask", netmask])

    def _do(self, chip, words):
        answer = self._ask(chip, words)
        if answer["rc"] != 0:
            raise failed(chip, words, answer)

    def _ask(self, chip, words):
        argv = ["hccn_tool", "-i", str(chip), *words]
        answer = command.run(argv, CALL_SECONDS, [FOLDER])
        while command.says_busy(answer):
            if self._patience <= 0:
                raise HccnError(
                    f"NPU {chip}: hccn_tool stayed busy for {self._busy_seconds} s; somebody else uses it"
                    " (`ps -ef | grep hccn_tool`); run it again when he is done"
                )
            self._patience -= BUSY_PAUSE_SECONDS
            time.sleep(BUSY_PAUSE_SECONDS)
            answer = command.run(argv, CALL_SECONDS, [FOLDER])
        text = answer["stdout"] + answer["stderr"]
        if NO_DEVICE.search(text) or (answer["rc"] is None and ABSENT in text):
            raise NoPortError(f"NPU {chip}: {text.strip()}")
        return answer


def failed(chip, words, answer):
    """The error of a call that failed or said what nobody knows."""
    said = " ".join((answer["stdout"] + " " + answer["stderr"]).split()) or "nothing"
    call = " ".join(["hccn_tool", "-i", str(chip), *words])
    return HccnError(f"NPU {chip}: `{call}` said: {said[:300]} (exit code {answer['rc']})")


def read_conf():
    """Text of hccn.conf; None where there is none."""
    answer = files.text_or_reason(CONF)
    if answer.get("error") == "absent":
        return None
    if "error" in answer:
        raise HccnError("{} cannot be read: {}".format(CONF, answer["error"]))
    return answer["text"]


def saved(text, chip, key):
    """What hccn.conf gives a chip at the next boot; None where it says nothing."""
    name = f"{CONF_KEYS[key]}_{chip}"
    for line in (text or "").splitlines():
        found, equals, value = line.partition("=")
        if equals and found.strip() == name:
            return value.strip()
    return None


def with_settings(text, wanted):
    """The text with these settings; (chip, key) → value, None takes the line out. All other lines stay."""
    left = {f"{CONF_KEYS[key]}_{chip}": value for (chip, key), value in wanted.items()}
    known, lines = set(left), []
    for line in (text or "").splitlines():
        name = line.partition("=")[0].strip()
        if name not in known:
            lines.append(line)
        elif left.get(name) is not None:
            lines.append(f"{name}={left.pop(name)}")
    lines += [f"{name}={value}" for name, value in left.items() if value is not None]
    return "".join(line + "\n" for line in lines)


def write_whole(path, text, mode):
    """Write a file whole or not at all; one that is there keeps its mode and owner."""
    path = os.path.realpath(path)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fresh = path + ".npuctl"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        there = os.stat(path)
        os.chmod(fresh, there.st_mode & 0o7777)
        os.chown(fresh, there.st_uid, there.st_gid)
    except FileNotFoundError:
        os.chmod(fresh, mode)
    os.replace(fresh, path)
