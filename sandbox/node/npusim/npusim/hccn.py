"""hccn_tool: the NPU network's queries and settings.

Wordings, streams and exit codes (the low byte of the tool's own numbers) follow the open source of
the tool, hicann/driver src/custom/network/hccn/ascend910B. What it cannot tell (the lines between
first and last of a ping, lldp of a switch that does not exist) follows published outputs.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from npusim import network
from npusim.chips import is_present
from npusim.products import SimProduct, product
from npusim.state import (
    NotInitialisedError,
    State,
    beside_state,
    changing,
    fault_value,
    faults_of,
    load,
    locked,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_SUCCESS = "Cmd executed successfully!"
_SUPER_POD_SERVERS = 48
_PINGS = 3
_MTU_RANGE = (68, 9702)
_LONGEST_ID = 2
_SEE_HELP = "Enter [ hccn_tool -h ] for more details."


class _FailedError(Exception):
    """The tool's refusal: text, exit code, and whether the text goes to stdout."""

    def __init__(self, text: str, code: int, *, to_stdout: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.to_stdout = to_stdout


class _Call(NamedTuple):
    """One command on one chip."""

    state: State
    kind: SimProduct
    device: int
    command: str
    words: list[str]

    @property
    def port(self) -> network.Port:
        """The chip's running settings."""
        port: network.Port = self.state["ports"][str(self.device)]
        return port

    @property
    def link_is_up(self) -> bool:
        """Neither shut down by a command nor broken by a fault."""
        return self.port["link"] == "up" and not faults_of(self.state, "link-down", self.device)

    def value_of(self, name: str) -> str:
        """The word after that name, in a command that has just this one pair."""
        if len(self.words) != 2:  # noqa: PLR2004  a name and its value
            raise _wrong_count(self.command)
        if self.words[0] != name:
            raise _invalid_parameters(self.command)
        return self.words[1]


class _Command(NamedTuple):
    """How a command reads, sets, and explains itself."""

    help: str
    get: Callable[[_Call], str] | None
    set: Callable[[_Call], None] | None
    takes_words: bool = False
    a3_only: bool = False


def main(arguments: list[str]) -> int:
    """Answer one call; returns the exit code."""
    try:
        with locked("hccn.lock", wait=False) as got:
            answer = _answer(arguments, busy=not got)
    except _FailedError as failure:
        print(failure, file=sys.stdout if failure.to_stdout else sys.stderr)
        return failure.code
    except NotInitialisedError:
        print("Cmd execute failed!", file=sys.stderr)
        return 1
    print(answer)
    return 0


def _answer(arguments: list[str], *, busy: bool) -> str:
    if arguments in (["-h"], ["--help"]):
        return _help()
    if not arguments:
        raise _FailedError(f"Get invalid major cmd number. Please check your input.\n{_SEE_HELP}", 2)
    if arguments[0] not in {"-i", "-a"}:
        raise _FailedError(
            'Get invalid major cmd type. The valid major cmd type should be "-a" or "-i".\n' + _SEE_HELP, 1
        )
    state = load()
    if busy or faults_of(state, "hccn-busy"):
        raise _FailedError("hccn_tool is busy, please try again.", 0x0B, to_stdout=True)
    if arguments[0] == "-a":
        return _recover_all(arguments[1:])
    if len(arguments) < 3:  # noqa: PLR2004  -i N -command
        raise _FailedError(f"Get invalid major cmd number. Please check your input.\n{_SEE_HELP}", 2)
    device, command, words = _device(arguments[1]), arguments[2], arguments[3:]
    known = _COMMANDS.get(command)
    if known is None:
        raise _FailedError(f"Get invalid major cmd.\n{_SEE_HELP}", 3)
    if not is_present(state, device):
        raise _FailedError("The device is not exist!", 4)
    kind = product(state["product"])
    if not kind.has_roce or (known.a3_only and not kind.has_hccs_network):
        raise _FailedError("The command is not supported on this product.", 0x0D, to_stdout=True)
    return _run(known, _Call(state, kind, device, command, words))


def _run(known: _Command, call: _Call) -> str:
    if not call.words:
        raise _wrong_count(call.command)
    operation, words = call.words[0], call.words[1:]
    if operation == "-g" and known.get:
        if words and not known.takes_words:
            raise _wrong_count(call.command)
        return known.get(call._replace(words=words))
    changes = known.set
    if changes is not None and (operation == "-s" or call.command == "-cfg"):
        words = call.words if call.command == "-cfg" else words
        with changing() as state:
            changes(call._replace(state=state, words=words))
        return _SUCCESS
    raise _FailedError(f"Get unknown option!\n{_needs(call.command)}", 3)


def _recover_all(arguments: list[str]) -> str:
    if arguments != ["-cfg", "recovery"]:
        raise _FailedError(f"Get invalid major cmd.\n{_SEE_HELP}", 3)
    with changing() as state:
        for device in state["ports"]:
            if is_present(state, int(device)):
                _recover(state, int(device))
    return _SUCCESS


def _device(text: str) -> int:
    if len(text) > _LONGEST_ID or not text.isdecimal():
        raise _FailedError("Get invalid device id.", 4)
    return int(text)


def _needs(command: str) -> str:
    return f"[ hccn_tool -i devid {command} ] needs the following parameters:\n{_COMMANDS[command].help}"


def _wrong_count(command: str) -> _FailedError:
    return _FailedError(f"The total count of input parameters is wrong!\n{_needs(command)}", 4)


def _invalid_parameters(command: str) -> _FailedError:
    return _FailedError(f"Get invalid parameters!\n{_needs(command)}", 1)


def _help() -> str:
    return "\n".join(f"hccn_tool -i devid {name}\n{command.help}" for name, command in _COMMANDS.items())


def _address(text: str) -> str:
    parts = text.split(".")
    good = len(parts) == 4 and all(  # noqa: PLR2004  bytes of an address
        part.isascii() and part.isdecimal() and len(part) <= 3 and int(part) <= 255  # noqa: PLR2004
        for part in parts
    )
    if not good:
        raise _FailedError("The ip address you configured is invalid!", 6)
    return text


def _number(address: str) -> int:
    number = 0
    for part in address.split("."):
        number = number << 8 | int(part)
    return number


def _same_network(port: network.Port, other: str) -> bool:
    mask = _number(port["netmask"])
    return _number(port["address"]) & mask == _number(other) & mask


def _reaches(address: str) -> bool:
    """Whether the sandbox's list of peers lets this address answer; without a list every one does."""
    try:
        with open(beside_state("peers.json"), encoding="utf-8") as file:  # noqa: PTH123
            peers: dict[str, str] = json.load(file)
    except FileNotFoundError:
        return True
    return peers.get(address) == "ok"


# -- queries ---------------------------------------------------------------------------------------


def _get_ip(call: _Call) -> str:
    if not call.port["address"]:
        raise _FailedError("Get ipconf failed, because no ip was preset there!", 0x0D)
    return f"ipaddr:{call.port['address']}\nnetmask:{call.port['netmask']}"


def _get_gateway(call: _Call) -> str:
    if not call.port["gateway"]:
        raise _FailedError("Get gateway failed, because no gateway was preset there!", 2)
    return f"default gateway:{call.port['gateway']}, Iface:eth{call.device}"


def _get_netdetect(call: _Call) -> str:
    return f"netdetect address: {call.port['netdetect'] or '0.0.0.0'}"  # noqa: S104  the tool's word for none


def _get_link(call: _Call) -> str:
    return f"link status: {'UP' if call.link_is_up else 'DOWN'}"


def _get_net_health(call: _Call) -> str:
    forced = fault_value(call.state, "net-health", call.device)
    if forced is not None:
        health = forced
    elif not call.link_is_up:
        health = "Fault"
    elif not call.port["netdetect"] or not call.port["address"]:
        health = "Init"
    else:
        health = "Success"  # the detect address is the switch's, which a list of peers does not name
    return f"net health status: {health}"


def _get_tls(call: _Call) -> str:
    return (
        f"dev_id:{call.device}, tls switch[{call.port['tls_enable']}](0:disable, 1:enable), "
        "tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days"
    )


def _get_mtu(call: _Call) -> str:
    return f"mtu:{call.port['mtu']}"


def _get_speed(call: _Call) -> str:
    return "Speed: 200000 Mb/s" if call.link_is_up else "Speed: Unknown!"


def _get_lldp(call: _Call) -> str:
    if not call.link_is_up:
        return ""
    node = call.state["node_index"]
    return (
        f"Chassis ID TLV\n\tMAC: 02:00:00:00:00:{node % 256:02x}\n"
        f"Port ID TLV\n\tIfname: 400GE1/{call.device // 2 + 1}/{node + 1}:{call.device % 2 + 1}\n"
        "Time to Live TLV\n\t120\nSystem Name TLV\n\tsimulated-switch\nEnd of LLDPDU TLV"
    )


_COUNTERS = (
    "mac_tx_mac_pause_num",
    "mac_rx_mac_pause_num",
    "mac_tx_pfc_pkt_num",
    "mac_rx_pfc_pkt_num",
    "mac_tx_total_pkt_num",
    "mac_tx_total_oct_num",
    "mac_tx_bad_pkt_num",
    "mac_tx_bad_oct_num",
    "mac_rx_total_pkt_num",
    "mac_rx_total_oct_num",
    "mac_rx_bad_pkt_num",
    "mac_rx_bad_oct_num",
    "mac_rx_fcs_err_pkt_num",
    "roce_rx_rc_pkt_num",
    "roce_rx_all_pkt_num",
    "roce_rx_err_pkt_num",
    "roce_tx_rc_pkt_num",
    "roce_tx_all_pkt_num",
    "roce_tx_err_pkt_num",
)


def _get_stat(call: _Call) -> str:
    del call
    return "\n".join(["packet statistics:", *(f"{counter}:0" for counter in _COUNTERS)])


def _get_link_stat(call: _Call) -> str:
    mark = f"[devid {call.device}]"
    since = time.asctime(time.gmtime(float(call.state["created_seconds"])))
    records = [f"{mark}    {since}    LINK UP"]
    if not call.link_is_up:
        records.insert(0, f"{mark}    {time.asctime(time.gmtime())}    LINK DOWN")  # the newest first
    return "\n".join(
        [
            f"{mark}current time        : {time.asctime(time.gmtime())}",
            f"{mark}link up count       : 1",
            f"{mark}link change records :",
            *records,
        ]
    )


def _get_vnic(call: _Call) -> str:
    # The rule stands in the tool's source: server, 2 + die, 199 - device.
    address = f"192.{call.state['node_index']}.{2 + call.device % 2}.{199 - call.device}"
    return (
        f"vnic link status: {'UP' if call.link_is_up else 'DOWN'}\n"
        f"vnic ipaddr: {address}\nvnic netmask: 255.0.0.0"
    )


def _ping(call: _Call) -> str:
    given = _pairs(call, {"address": None, "pkt": (0, 65507)})
    if "address" not in given:
        raise _invalid_parameters(call.command)
    address = _address(given["address"])
    head = f"device {call.device} PING {address}"
    if call.link_is_up and _reaches(address):
        answers = [f"recv seq={n},time=0.{137 - 41 * n:03d}000ms" for n in range(_PINGS)]
        return "\n".join(
            [head, *answers, f"{_PINGS} packets transmitted, {_PINGS} received, 0.00% packet loss"]
        )
    why = "recv time out seq" if call.link_is_up else "Destination Host Unreachable seq"
    answers = [f"{why}={n}" for n in range(_PINGS)]
    print("\n".join([head, *answers, f"{_PINGS} packets transmitted, 0 received, 100.00% packet loss"]))
    raise _FailedError("Command execute failed!", 1)


def _hccs_ping(call: _Call) -> str:
    """Ends well even when every packet was lost, and says so: the figures alone tell."""
    given = _pairs(
        call,
        {
            "address": None,
            "sdid": (0, 0xFFFFFFFF),
            "pkt": (1792, 3000),
            "cnt": (1, 1000),
            "interval": (0, 10),
            "timeout": (1, 20000),
        },
    )
    if ("address" in given) == ("sdid" in given):
        raise _invalid_parameters(call.command)
    address = _address(given["address"]) if "address" in given else _vnic_address(int(given["sdid"]))
    if not address:
        raise _invalid_parameters(call.command)
    reached = call.link_is_up and _reaches(address)
    count = int(given.get("cnt", str(_PINGS)))
    result = "This pkt ping success!" if reached else "This pkt check recv msg fail!"
    time_us = "13.120us" if reached else "0.000us"
    lines = [f"device {call.device} PING {address}", ""]
    for sequence in range(count):
        lines += [result, f"recv seq {sequence}, time = {time_us}, L1 plane check result = 0x0", ""]
    received, loss = (count, "0.00") if reached else (0, "100.00")
    lines.append(f"{count} packets transmitted, {received} received, {loss}% packets loss")
    lines += [f"{name} time {time_us}" for name in ("max", "min", "average", "TP95")]
    return "\n".join([*lines, _SUCCESS])


def _vnic_address(sdid: int) -> str:
    """The address that belongs to a super pod device id; empty when there is no such id."""
    server, card, chip, device = sdid >> 22 & 0xFF, sdid >> 18 & 0xF, sdid >> 16 & 0x3, sdid & 0xFFFF
    if server >= _SUPER_POD_SERVERS or card * 2 + chip != device:
        return ""
    return f"192.{server}.{2 + chip}.{199 - device}"


def _pairs(call: _Call, known: dict[str, tuple[int, int] | None]) -> dict[str, str]:
    """The words as names and values; a name with bounds has a whole number within them."""
    if len(call.words) % 2:
        raise _wrong_count(call.command)
    given = dict(zip(call.words[::2], call.words[1::2], strict=True))
    for name, value in given.items():
        bounds = known.get(name)
        digits = len(str(bounds[1])) if bounds else 0
        good = bounds is None or (
            value.isdecimal() and len(value) <= digits and bounds[0] <= int(value) <= bounds[1]
        )
        if name not in known or not good:
            raise _invalid_parameters(call.command)
    return given


# -- settings --------------------------------------------------------------------------------------


def _forget_faults(call: _Call, name: str) -> None:
    """A setting made anew is what runs: the drill that changed it behind the tool's back is over."""
    call.state["faults"] = [
        fault for fault in call.state["faults"] if (fault["name"], fault["chip"]) != (name, call.device)
    ]


def _set_ip(call: _Call) -> None:
    if len(call.words) != 4:  # noqa: PLR2004  two names, two values
        raise _wrong_count(call.command)
    if (call.words[0], call.words[2]) != ("address", "netmask"):
        raise _invalid_parameters(call.command)
    settings = {"address": _address(call.words[1]), "netmask": _address(call.words[3])}
    others = [port["address"] for device, port in call.state["ports"].items() if int(device) != call.device]
    if settings["address"] in others:
        raise _FailedError("The ip address configured is conflicted!", 7)
    call.port.update(settings)
    _forget_faults(call, "ip")
    network.persist(call.device, settings)


def _set_gateway(call: _Call) -> None:
    gateway = _address(call.value_of("gateway"))
    if not call.port["address"]:
        raise _FailedError("Unable to configure gateway, because ip is not configured!", 0x1A)
    if not _same_network(call.port, gateway):
        raise _FailedError(
            "The segment of configured gateway doesn't match that of the configured ip adress!", 8
        )
    call.port["gateway"] = gateway
    network.persist(call.device, {"gateway": gateway})


def _set_netdetect(call: _Call) -> None:
    address = _address(call.value_of("address"))
    call.port["netdetect"] = address
    network.persist(call.device, {"netdetect": address})


def _set_tls(call: _Call) -> None:
    enable = call.value_of("enable")
    if enable not in {"0", "1"}:
        raise _FailedError(f"Get invalid enable value!\n{_needs(call.command)}", 0x10)
    call.port["tls_enable"] = enable
    _forget_faults(call, "tls")
    network.persist(call.device, {"tls_enable": enable})


def _set_mtu(call: _Call) -> None:
    size = call.value_of("size")
    low, high = _MTU_RANGE
    if not size.isdecimal() or len(size) > len(str(high)) or not low <= int(size) <= high:
        raise _FailedError(
            f"The value of mtu you input is out of the valid range!\n{_needs(call.command)}", 0x0D
        )
    call.port["mtu"] = size
    network.persist(call.device, {"mtu": size})


def _set_link(call: _Call) -> None:
    if len(call.words) != 1:
        raise _wrong_count(call.command)
    if call.words[0] not in {"up", "down"}:
        raise _invalid_parameters(call.command)
    if call.words[0] == "up":
        _recover(call.state, call.device)  # the real tool recovers the settings after `up` as well
    else:
        call.port["link"] = "down"


def _set_cfg(call: _Call) -> None:
    if call.words != ["recovery"]:
        raise _invalid_parameters(call.command)
    _recover(call.state, call.device)


def _recover(state: State, device: int) -> None:
    network.recover(state, str(device))
    state["faults"] = [
        fault for fault in state["faults"] if not (fault["name"] in {"ip", "tls"} and fault["chip"] == device)
    ]


# Help texts as in the tool's table of commands.
_COMMANDS = {
    "-ip": _Command(
        "   [-s]                 : set ip cfg \n"
        "       address %s       : set IPv4 ip address, such as x.x.x.x\n"
        "       netmask %s       : set IPv4 ip netmask, such as x.x.x.x\n"
        "   [-g]                 : get ip address and netmask/prefix_length \n",
        _get_ip,
        _set_ip,
    ),
    "-gateway": _Command(
        "   [-s]                : set gateway cfg \n"
        "       gateway %s      : set IPv4 gateway, such as x.x.x.x\n"
        "   [-g]                : get gateway address \n",
        _get_gateway,
        _set_gateway,
    ),
    "-netdetect": _Command(
        "   [-s]                : set net detect cfg \n"
        "       address %s      : set net detect IPv4 ip address, such as x.x.x.x\n"
        "   [-g]                : get net detect cfg \n",
        _get_netdetect,
        _set_netdetect,
    ),
    "-link": _Command(
        "   [-s]                   : set the eth ports link status\n"
        "       down               : shut down eth port \n"
        "       up                 : start up eth port \n"
        "   [-g]                   : get the eth ports link status, UP or DOWN \n",
        _get_link,
        _set_link,
    ),
    "-net_health": _Command("   [-g]        : get net health status\n", _get_net_health, None),
    "-tls": _Command(
        "   [-s]        : set tls cfg\n"
        "       enable %d : set tls enable, 0: disable, 1: enable\n"
        "   [-g]        : get tls cfg\n",
        _get_tls,
        _set_tls,
    ),
    "-mtu": _Command(
        "   [-s]        : set mtu cfg \n"
        "       size %d : set mtu size, ETH from 68 to 9702\n"
        "   [-g]        : get mtu cfg\n",
        _get_mtu,
        _set_mtu,
    ),
    "-cfg": _Command("   recovery    : recovery cfg \n", None, _set_cfg),
    "-lldp": _Command("   [-g]        : get lldp cfg \n", _get_lldp, None),
    "-stat": _Command("   [-g]        : get packet statistics\n", _get_stat, None),
    "-link_stat": _Command("   [-g]        : get link history statistics\n", _get_link_stat, None),
    "-speed": _Command("   [-g]        : get the speed of eth ports\n", _get_speed, None),
    "-ping": _Command(
        "   [-g]                : get ping result\n"
        "       address %s      : set net detect IPv4 ip address, such as x.x.x.x\n"
        "      pkt %d           : ping cfg, the packet data length, [0 ~ 65507]\n",
        _ping,
        None,
        takes_words=True,
    ),
    "-vnic": _Command(
        "   [-g]        : get vnic link status, ip address and netmask \n", _get_vnic, None, a3_only=True
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
        _hccs_ping,
        None,
        takes_words=True,
        a3_only=True,
    ),
}
