"""hccn_tool: the NPU network's queries and settings.

Wordings, streams and exit codes (the low byte of the tool's own numbers) follow the open source of
the tool, hicann/driver src/custom/network/hccn/ascend910B. What it cannot tell (the lines between
first and last of a ping, lldp of a switch that does not exist) follows published outputs.
"""

from __future__ import annotations

import sys

from npusim import hccn_pings, hccn_queries, hccn_settings
from npusim.chips import is_present
from npusim.hccn_call import SUCCESS, Call, FailedError
from npusim.products import product
from npusim.state import NotInitialisedError, changing, faults_of, load, locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NamedTuple
else:
    from npusim.record import NamedTuple

_LONGEST_ID = 2
_SEE_HELP = "Enter [ hccn_tool -h ] for more details."


class _Command(NamedTuple):
    """How a command reads, sets, and explains itself."""

    help: str
    get: Callable[[Call], str] | None
    set: Callable[[Call], None] | None
    takes_words: bool = False
    a3_only: bool = False


def main(arguments: list[str]) -> int:
    """Answer one call; returns the exit code."""
    try:
        with locked(_lock_of(arguments), wait=False) as got:
            answer = _answer(arguments, busy=not got)
    except FailedError as failure:
        print(failure, file=sys.stdout if failure.to_stdout else sys.stderr)
        return failure.code
    except NotInitialisedError:
        print("Cmd execute failed!", file=sys.stderr)
        return 1
    print(answer)
    return 0


def _lock_of(arguments: list[str]) -> str:
    """One call at a time on each chip; the real tool's busy comes from the chip's side, too."""
    device = arguments[1] if len(arguments) > 1 else ""
    good = device.isdecimal() and len(device) <= _LONGEST_ID
    return f"hccn-{int(device)}.lock" if good else "hccn.lock"


def _answer(arguments: list[str], *, busy: bool) -> str:
    if arguments in (["-h"], ["--help"]):
        return _help()
    if not arguments:
        raise FailedError(f"Get invalid major cmd number. Please check your input.\n{_SEE_HELP}", 2)
    if arguments[0] not in {"-i", "-a"}:
        raise FailedError(
            'Get invalid major cmd type. The valid major cmd type should be "-a" or "-i".\n' + _SEE_HELP, 1
        )
    state = load()
    if busy or faults_of(state, "hccn-busy"):
        raise FailedError("hccn_tool is busy, please try again.", 0x0B, to_stdout=True)
    if arguments[0] == "-a":
        return _recover_all(arguments[1:])
    if len(arguments) < 3:  # noqa: PLR2004  -i N -command
        raise FailedError(f"Get invalid major cmd number. Please check your input.\n{_SEE_HELP}", 2)
    device, command, words = _device(arguments[1]), arguments[2], arguments[3:]
    known = _COMMANDS.get(command)
    if known is None:
        raise FailedError(f"Get invalid major cmd.\n{_SEE_HELP}", 3)
    if not is_present(state, device):
        raise FailedError("The device is not exist!", 4)
    kind = product(state["product"])
    if not kind.has_roce or (known.a3_only and not kind.has_hccs_network):
        raise FailedError("The command is not supported on this product.", 0x0D, to_stdout=True)
    return _run(known, Call(state, kind, device, command, known.help, words))


def _run(known: _Command, call: Call) -> str:
    if not call.words:
        raise call.wrong_count()
    operation, words = call.words[0], call.words[1:]
    if operation == "-g" and known.get:
        if words and not known.takes_words:
            raise call.wrong_count()
        return known.get(call._replace(words=words))
    changes = known.set
    if changes is not None and (operation == "-s" or call.command == "-cfg"):
        words = call.words if call.command == "-cfg" else words
        if faults_of(call.state, "hccn-ignores", call.device):
            return SUCCESS
        with changing() as state:
            changes(call._replace(state=state, words=words))
        return SUCCESS
    raise FailedError(f"Get unknown option!\n{call.needs}", 3)


def _recover_all(arguments: list[str]) -> str:
    if arguments != ["-cfg", "recovery"]:
        raise FailedError(f"Get invalid major cmd.\n{_SEE_HELP}", 3)
    with changing() as state:
        for device in state["ports"]:
            if is_present(state, int(device)):
                hccn_settings.recover(state, int(device))
    return SUCCESS


def _device(text: str) -> int:
    if len(text) > _LONGEST_ID or not text.isdecimal():
        raise FailedError("Get invalid device id.", 4)
    return int(text)


def _help() -> str:
    return "\n".join(f"hccn_tool -i devid {name}\n{command.help}" for name, command in _COMMANDS.items())


# Help texts as in the tool's table of commands.
_COMMANDS = {
    "-ip": _Command(
        "   [-s]                 : set ip cfg \n"
        "       address %s       : set IPv4 ip address, such as x.x.x.x\n"
        "       netmask %s       : set IPv4 ip netmask, such as x.x.x.x\n"
        "   [-g]                 : get ip address and netmask/prefix_length \n",
        hccn_queries.get_ip,
        hccn_settings.set_ip,
    ),
    "-gateway": _Command(
        "   [-s]                : set gateway cfg \n"
        "       gateway %s      : set IPv4 gateway, such as x.x.x.x\n"
        "   [-g]                : get gateway address \n",
        hccn_queries.get_gateway,
        hccn_settings.set_gateway,
    ),
    "-netdetect": _Command(
        "   [-s]                : set net detect cfg \n"
        "       address %s      : set net detect IPv4 ip address, such as x.x.x.x\n"
        "   [-g]                : get net detect cfg \n",
        hccn_queries.get_netdetect,
        hccn_settings.set_netdetect,
    ),
    "-link": _Command(
        "   [-s]                   : set the eth ports link status\n"
        "       down               : shut down eth port \n"
        "       up                 : start up eth port \n"
        "   [-g]                   : get the eth ports link status, UP or DOWN \n",
        hccn_queries.get_link,
        hccn_settings.set_link,
    ),
    "-net_health": _Command("   [-g]        : get net health status\n", hccn_queries.get_net_health, None),
    "-tls": _Command(
        "   [-s]        : set tls cfg\n"
        "       enable %d : set tls enable, 0: disable, 1: enable\n"
        "   [-g]        : get tls cfg\n",
        hccn_queries.get_tls,
        hccn_settings.set_tls,
    ),
    "-mtu": _Command(
        "   [-s]        : set mtu cfg \n"
        "       size %d : set mtu size, ETH from 68 to 9702\n"
        "   [-g]        : get mtu cfg\n",
        hccn_queries.get_mtu,
        hccn_settings.set_mtu,
    ),
    "-cfg": _Command("   recovery    : recovery cfg \n", None, hccn_settings.set_cfg),
    "-lldp": _Command("   [-g]        : get lldp cfg \n", hccn_queries.get_lldp, None),
    "-stat": _Command("   [-g]        : get packet statistics\n", hccn_queries.get_stat, None),
    "-link_stat": _Command(
        "   [-g]        : get link history statistics\n", hccn_queries.get_link_stat, None
    ),
    "-speed": _Command("   [-g]        : get the speed of eth ports\n", hccn_queries.get_speed, None),
    "-ping": _Command(
        "   [-g]                : get ping result\n"
        "       address %s      : set net detect IPv4 ip address, such as x.x.x.x\n"
        "      pkt %d           : ping cfg, the packet data length, [0 ~ 65507]\n",
        hccn_pings.ping,
        None,
        takes_words=True,
    ),
    "-vnic": _Command(
        "   [-g]        : get vnic link status, ip address and netmask \n",
        hccn_queries.get_vnic,
        None,
        a3_only=True,
    ),
    "-hccs_ping": _Command(
        "   [-g]                : get the supernodes ping result\n"
        "       address   %s    : set net detect IPv4 ip address, such as x.x.x.x\n"
        "       or\n"
        "       sdid      %s    : set net detect device sdid value. "
        "this value conflicts with address, one of the two is used\n"
        "       pkt       %d    : ping cfg, the packet data length, [1792 ~ 3000] (byte) (default 1792)\n"
        "       cnt       %d    : ping cfg, the total count of packet send, [1 ~ 1000] (default 3)\n"
        "       interval  %d    : ping cfg, the interval, [0 ~ 10] (ms) (default 0)\n"
        "       timeout   %d    : ping cfg, the timeout waiting time for each packet, [1 ~ 20000] (ms)\n",
        hccn_pings.hccs_ping,
        None,
        takes_words=True,
        a3_only=True,
    ),
}
