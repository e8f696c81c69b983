"""hccn_tool's settings: they run from now on, and stand in hccn.conf for the next boot."""

from __future__ import annotations

from npusim import network
from npusim.hccn_call import Call, FailedError, address_of
from npusim.state import State, faults_of

_MTU_RANGE = (68, 9702)


def _forget_faults(call: Call, name: str) -> None:
    """A setting made anew is what runs: the drill that changed it behind the tool's back is over."""
    call.state["faults"] = [
        fault for fault in call.state["faults"] if (fault["name"], fault["chip"]) != (name, call.device)
    ]


def _persist(call: Call, settings: network.Port) -> None:
    """Write into hccn.conf, unless a fault keeps the tool from it."""
    if not faults_of(call.state, "hccn-unsaved"):
        network.persist(call.device, settings)


def set_ip(call: Call) -> None:
    """Set address and mask; no two chips of a node may have the same address."""
    if len(call.words) != 4:  # noqa: PLR2004  two names, two values
        raise call.wrong_count()
    if (call.words[0], call.words[2]) != ("address", "netmask"):
        raise call.invalid_parameters()
    settings = {"address": address_of(call.words[1]), "netmask": address_of(call.words[3])}
    others = [port["address"] for device, port in call.state["ports"].items() if int(device) != call.device]
    if settings["address"] in others:
        raise FailedError("The ip address configured is conflicted!", 7)
    call.port.update(settings)
    _forget_faults(call, "ip")
    _persist(call, settings)


def set_gateway(call: Call) -> None:
    """Set the gateway, which must be in the address's network."""
    gateway = address_of(call.value_of("gateway"))
    if not call.port["address"]:
        raise FailedError("Unable to configure gateway, because ip is not configured!", 0x1A)
    if not network.same_network(call.port, gateway):
        raise FailedError(
            "The segment of configured gateway doesn't match that of the configured ip adress!", 8
        )
    call.port["gateway"] = gateway
    _forget_faults(call, "gateway")
    _persist(call, {"gateway": gateway})


def set_netdetect(call: Call) -> None:
    """Set the address that net health is judged by."""
    address = address_of(call.value_of("address"))
    call.port["netdetect"] = address
    _forget_faults(call, "detect")
    _persist(call, {"netdetect": address})


def set_tls(call: Call) -> None:
    """Switch TLS on or off."""
    enable = call.value_of("enable")
    if enable not in {"0", "1"}:
        raise FailedError(f"Get invalid enable value!\n{call.needs}", 0x10)
    call.port["tls_enable"] = enable
    _forget_faults(call, "tls")
    _persist(call, {"tls_enable": enable})


def set_mtu(call: Call) -> None:
    """Set the MTU."""
    size = call.value_of("size")
    low, high = _MTU_RANGE
    if not size.isdecimal() or len(size) > len(str(high)) or not low <= int(size) <= high:
        raise FailedError(f"The value of mtu you input is out of the valid range!\n{call.needs}", 0x0D)
    call.port["mtu"] = size
    _forget_faults(call, "npu-mtu")
    _persist(call, {"mtu": size})


def set_link(call: Call) -> None:
    """Bring the link up, and the settings of hccn.conf with it, or shut it down."""
    if len(call.words) != 1:
        raise call.wrong_count()
    if call.words[0] not in {"up", "down"}:
        raise call.invalid_parameters()
    if call.words[0] == "up":
        recover(call.state, call.device)  # the real tool recovers the settings after `up` as well
    else:
        call.port["link"] = "down"


def set_cfg(call: Call) -> None:
    """`-cfg recovery` for one chip."""
    if call.words != ["recovery"]:
        raise call.invalid_parameters()
    recover(call.state, call.device)


def recover(state: State, device: int) -> None:
    """Run with the settings of hccn.conf; drills that changed them behind its back are over."""
    network.recover(state, str(device))
    state["faults"] = [
        fault
        for fault in state["faults"]
        if not (fault["name"] in network.RUNNING_FAULTS and fault["chip"] == device)
    ]
