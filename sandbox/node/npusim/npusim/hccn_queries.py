"""hccn_tool's queries of one port: settings, link, health, neighbours and statistics."""

from __future__ import annotations

import time

from npusim import network
from npusim.hccn_call import Call, FailedError
from npusim.state import fault_value, faults_of


def get_ip(call: Call) -> str:
    """The address and its mask."""
    if not call.port["address"]:
        raise FailedError("Get ipconf failed, because no ip was preset there!", 0x0D)
    return f"ipaddr:{call.port['address']}\nnetmask:{call.port['netmask']}"


def get_gateway(call: Call) -> str:
    """The default gateway."""
    if not call.port["gateway"]:
        raise FailedError("Get gateway failed, because no gateway was preset there!", 2)
    return f"default gateway:{call.port['gateway']}, Iface:eth{call.device}"


def get_netdetect(call: Call) -> str:
    """The address whose answers make the port's net health."""
    return f"netdetect address: {call.port['netdetect'] or '0.0.0.0'}"  # noqa: S104  the tool's word for none


def get_link(call: Call) -> str:
    """UP or DOWN."""
    return f"link status: {'UP' if call.link_is_up else 'DOWN'}"


def get_net_health(call: Call) -> str:
    """What a fault forces, else what follows from the link and the settings."""
    forced = fault_value(call.state, "net-health", call.device)
    if forced is not None:
        health = forced
    elif not call.link_is_up:
        health = "Fault"
    elif not call.port["netdetect"] or not call.port["address"]:
        health = "Init"
    elif not network.leads_to(call.port, call.port["netdetect"]):
        health = "Unreachable"
    else:
        health = "Success"  # the detect address is the switch's, which answers whoever has a way to it
    return f"net health status: {health}"


def get_tls(call: Call) -> str:
    """The TLS switch; the other two figures never change here."""
    return (
        f"dev_id:{call.device}, tls switch[{call.port['tls_enable']}](0:disable, 1:enable), "
        "tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days"
    )


def get_mtu(call: Call) -> str:
    """The port's MTU."""
    return f"mtu:{call.port['mtu']}"


def get_speed(call: Call) -> str:
    """That of a 200G port, as long as the link is up."""
    return "Speed: 200000 Mb/s" if call.link_is_up else "Speed: Unknown!"


def get_lldp(call: Call) -> str:
    """The neighbour: a switch that does not exist; nothing while the link is down."""
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


def get_stat(call: Call) -> str:
    """Packet counters, all of them 0."""
    del call
    return "\n".join(["packet statistics:", *(f"{counter}:0" for counter in _COUNTERS)])


def get_link_stat(call: Call) -> str:
    """When the link came up and whether it is down now."""
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


def get_vnic(call: Call) -> str:
    """The chip's address inside a super pod."""
    is_down = faults_of(call.state, "vnic-down", call.device)
    return (
        f"vnic link status: {'DOWN' if is_down else 'UP'}\n"
        f"vnic ipaddr: {network.address_on(call.state, 'hccs', call.device)}\nvnic netmask: 255.0.0.0"
    )
