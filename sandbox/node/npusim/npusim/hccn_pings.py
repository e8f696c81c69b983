"""hccn_tool's pings: to another port over the NPU network, and inside a super pod."""

from __future__ import annotations

import time

from npusim import wire
from npusim.hccn_call import SUCCESS, Call, FailedError, address_of
from npusim.state import beside_state

_SUPER_POD_SERVERS = 48
_PINGS = 3
_USUAL_MS = 1.0


def ping(call: Call) -> str:
    """Three packets; fails when they are lost."""
    began = time.monotonic()
    given = call.pairs({"address": None, "pkt": (0, 65507)})
    if "address" not in given:
        raise call.invalid_parameters()
    address = address_of(given["address"])
    head = f"device {call.device} PING {address}"
    reached = wire.passes(call.state, wire.ROCE, call.device, address)
    _last(began)
    if reached:
        answers = [f"recv seq={n},time=0.{137 - 41 * n:03d}000ms" for n in range(_PINGS)]
        return "\n".join(
            [head, *answers, f"{_PINGS} packets transmitted, {_PINGS} received, 0.00% packet loss"]
        )
    why = "recv time out seq" if call.link_is_up else "Destination Host Unreachable seq"
    answers = [f"{why}={n}" for n in range(_PINGS)]
    print("\n".join([head, *answers, f"{_PINGS} packets transmitted, 0 received, 100.00% packet loss"]))
    raise FailedError("Command execute failed!", 1)


def hccs_ping(call: Call) -> str:
    """Ends well even when every packet was lost, and says so: the figures alone tell."""
    began = time.monotonic()
    given = call.pairs(
        {
            "address": None,
            "sdid": (0, 0xFFFFFFFF),
            "pkt": (1792, 3000),
            "cnt": (1, 1000),
            "interval": (0, 10),
            "timeout": (1, 20000),
        }
    )
    if ("address" in given) == ("sdid" in given):
        raise call.invalid_parameters()
    address = address_of(given["address"]) if "address" in given else _vnic_address(int(given["sdid"]))
    if not address:
        raise call.invalid_parameters()
    reached = wire.passes(call.state, wire.HCCS, call.device, address)
    _last(began)
    count = int(given.get("cnt", str(_PINGS)))
    result = "This pkt ping success!" if reached else "This pkt check recv msg fail!"
    time_us = "13.120us" if reached else "0.000us"
    lines = [f"device {call.device} PING {address}", ""]
    for sequence in range(count):
        lines += [result, f"recv seq {sequence}, time = {time_us}, L1 plane check result = 0x0", ""]
    received, loss = (count, "0.00") if reached else (0, "100.00")
    lines.append(f"{count} packets transmitted, {received} received, {loss}% packets loss")
    lines += [f"{name} time {time_us}" for name in ("max", "min", "average", "TP95")]
    return "\n".join([*lines, SUCCESS])


def _vnic_address(sdid: int) -> str:
    """The address that belongs to a super pod device id; empty when there is no such id."""
    server, card, chip, device = sdid >> 22 & 0xFF, sdid >> 18 & 0xF, sdid >> 16 & 0x3, sdid & 0xFFFF
    if server >= _SUPER_POD_SERVERS or card * 2 + chip != device:
        return ""
    return f"192.{server}.{2 + chip}.{199 - device}"


def _last(began: float) -> None:
    """Take as long as a ping takes: the file ping-ms beside the state says how many milliseconds."""
    try:
        with open(beside_state("ping-ms"), encoding="utf-8") as file:  # noqa: PTH123
            wanted = float(file.read())
    except (FileNotFoundError, ValueError):
        wanted = _USUAL_MS
    time.sleep(max(0.0, began + wanted / 1000 - time.monotonic()))
