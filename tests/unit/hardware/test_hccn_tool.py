"""The parsers of hccn_tool on samples of our own in the lay-outs of real ones, and on broken ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from npuctl.hardware import hccn_tool
from npuctl.hardware.hccn_tool import (
    PARSERS,
    Bandwidth,
    EthStatus,
    Gateway,
    HccnBusyError,
    HccnDeniedError,
    HccnError,
    HccnFailedError,
    HccnNoDeviceError,
    HccnNotSetError,
    HccnNotSupportedError,
    HccnSilentError,
    IpConfig,
    Lldp,
    NetHealth,
    OpticalLane,
    Vnic,
    detect_query,
    is_collected,
    parse_answer,
    split_collected,
    whole_lines,
)
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SAMPLES = Path(__file__).parent / "samples" / "hccn"
ALL = sorted(path.name for path in SAMPLES.glob("*.txt"))
COLLECTED = "collected_two_chips.txt"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


QUERIES = {
    "bandwidth": "bandwidth",
    "gateway": "gateway",
    "hccs_ping": "hccs_ping",
    "hw_stats": "hw_stats",
    "ip": "ip",
    "link_stat": "link_stat",
    "link": "link",
    "lldp_grep": "lldp_interfaces",
    "lldp": "lldp",
    "mac": "mac",
    "mtu": "mtu",
    "netdetect": "netdetect",
    "optical": "optical",
    "ping": "ping",
    "route": "route",
    "stat": "stat",
    "status": "status",
    "tls": "tls",
    "vnic": "vnic",
}


def query_of(name: str) -> str:
    """The longest of the names above that a file's begins with."""
    return QUERIES[max((start for start in QUERIES if name.startswith(start)), key=len)]


@pytest.mark.parametrize("name", [name for name in ALL if name != COLLECTED])
def test_every_sample_tells_which_query_it_answers(name: str) -> None:
    assert detect_query(sample(name)) == query_of(name)


@pytest.mark.parametrize("name", [name for name in ALL if name != COLLECTED])
def test_margins_line_ends_warnings_and_success_say_nothing(name: str) -> None:
    text = sample(name)
    expected = parse_answer(text)
    lines = text.splitlines()
    marks = "[" not in lines[0]
    for changed in (
        "\r\n".join(lines),
        "\n".join(f"   {line.strip()} \t" for line in lines),
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n" + text,
        text.rstrip("\n"),
        "\n\n" + text + "\nCmd executed successfully!\n",
    ):
        if query_of(name) != "lldp_interfaces" or not changed.startswith("Drv"):
            assert parse_answer(changed) == expected
    if marks and "device" not in text:
        assert parse_answer("".join(f"[devid 3] {line.strip()}\n" for line in lines)) == expected


def test_addresses() -> None:
    assert hccn_tool.parse_ip(sample("ip_a2.txt")) == IpConfig("10.60.3.21", "255.255.240.0")
    assert hccn_tool.parse_gateway(sample("gateway_a2.txt")) == Gateway("10.60.0.1", "eth5")
    assert hccn_tool.parse_netdetect(sample("netdetect_addr.txt")) == "10.60.0.1"
    assert hccn_tool.parse_netdetect(sample("netdetect_address.txt")) == "10.60.15.254"
    assert hccn_tool.parse_netdetect("netdetect addr: 0.0.0.0\n") is None
    assert hccn_tool.parse_vnic(sample("vnic_a3.txt")) == Vnic("UP", "192.7.3.188", "255.0.0.0")
    assert hccn_tool.parse_mtu(sample("mtu.txt")) == 4200
    assert hccn_tool.parse_mac(sample("mac.txt")) == "3c:9f:10:ab:00:07"


def test_routes() -> None:
    default, network, host = hccn_tool.parse_route(sample("route_a2.txt"))
    assert (default.destination, default.gateway, default.flags) == (
        "0.0.0.0",  # noqa: S104
        "10.60.0.1",
        "UG",
    )
    assert (network.destination, network.gateway, network.netmask) == ("10.60.0.0", None, "255.255.240.0")
    assert (network.metric, host.interface) == (2, "lo")


def test_tls_of_several_chips_and_its_certificates() -> None:
    chips = hccn_tool.parse_tls(sample("tls_loop_four_chips.txt"))
    assert [chip.enabled for chip in chips] == [False, False, True, False]
    assert {(chip.preconfigured, chip.alarm_days) for chip in chips} == {(True, 90)}
    (chip,) = hccn_tool.parse_tls(sample("tls_certificates.txt"))
    assert (chip.device, chip.enabled, chip.preconfigured, chip.alarm_days) == (5, True, False, 30)
    assert [(one.name, one.state) for one in chip.certificates] == [
        ("pub cert", "normal"),
        ("ca1 cert", None),  # "has expired" is said on another stream
        ("crl", "near expiration"),
    ]
    assert chip.certificates[0].subject == "/C=CN/O=Example/CN=node-5"
    assert chip.certificates[1].end == "Sun Mar  3 08:00:00 2024 GMT"
    assert hccn_tool.parse_tls(sample("tls_950.txt"))[0].device == 1


def test_tls_of_drivers_that_say_less() -> None:
    text = (
        "dev_id:0, tls switch[0](0:disable, 1:enable), tls alarm time threshold[60]days\n"
        "dev_id:0, [pub cert] info:\n\tissuer[/C=XX/O=Example/CN=CA]\n\tstart_time[Wed Feb 19 03:19:21 2020 GMT]\n"
        "\tend_time[Sat Feb 16 03:19:21 2030 GMT]\n"
    )
    (chip,) = hccn_tool.parse_tls(text)
    assert (chip.enabled, chip.preconfigured, chip.certificates[0].subject) == (False, None, None)
    assert chip.certificates[0].end == "Sat Feb 16 03:19:21 2030 GMT"


def test_link_and_its_history() -> None:
    assert hccn_tool.parse_link(sample("link_up.txt")) == "UP"
    assert hccn_tool.parse_link(sample("link_950_partial.txt")) == "PARTIAL LINK"
    history = hccn_tool.parse_link_stat(sample("link_stat_a2_flapping.txt"))
    assert (history.device, history.link_ups, history.link_downs, history.up) == (6, 14, 14, False)
    assert history.now == datetime(2026, 3, 7, 18, 2, 11)  # noqa: DTZ001
    assert [(change.time.second, change.up) for change in history.changes] == [
        (40, False),
        (9, True),
        (7, False),
    ]
    never = hccn_tool.parse_link_stat(sample("link_stat_never.txt"))
    assert (never.device, never.changes, never.up) == (1, (), None)


@pytest.mark.parametrize(
    ("word", "healthy", "known"),
    [
        ("Success", True, True),
        ("Init", None, True),
        ("Socket fail", False, True),
        ("Socket failed", False, True),
        ("Receive timeout", False, True),
        ("Unreachable", False, True),
        ("Time exceeded", False, True),
        ("Fault", False, True),
        ("Thread error", False, True),
        ("Detect ip set", False, True),
        ("Unknown", False, True),
        ("Succes", False, False),
        ("Some new word", False, False),
    ],
)
def test_net_health(word: str, healthy: bool | None, known: bool) -> None:  # noqa: FBT001
    text = f"net health status: {word}\n"
    assert hccn_tool.parse_net_health(text) == NetHealth(word, healthy, known)


def test_speed_duplex_and_fec() -> None:
    assert hccn_tool.parse_speed("Speed: 200000 Mb/s\n") == 200000
    assert hccn_tool.parse_speed("Speed: Unknown!\n") is None
    assert hccn_tool.parse_duplex("Duplex: Full\n") == "Full"
    assert hccn_tool.parse_duplex("Duplex: Unknown!\n") is None
    assert [hccn_tool.parse_fec(f"fec mode: {word} FEC mode") for word in ("rs", "no", "auto")] == [
        "rs",
        "no",
        "auto",
    ]
    assert hccn_tool.parse_bandwidth(sample("bandwidth_a2.txt")) == Bandwidth(217.05, 0.4)


def test_status() -> None:
    status = EthStatus("eth5", 200000, "Full", link_detected=True, complete=True)
    assert hccn_tool.parse_status(sample("status_a2.txt")) == status
    down = EthStatus("eth5", None, None, link_detected=False, complete=True)
    assert hccn_tool.parse_status(sample("status_link_down.txt")) == down
    assert not hccn_tool.parse_status(sample("status_a2.txt").replace("\tPort: FIBRE", "...")).complete


def test_lldp() -> None:
    whole = sample("lldp_a3.txt")
    assert hccn_tool.parse_lldp(whole) == Lldp("200GE2/0/17", "leaf-04", complete=True)
    assert not hccn_tool.parse_lldp(whole.replace("\t120", "...")).complete
    assert hccn_tool.parse_lldp("\tIfname: 200GE2/0/17\n") == Lldp("200GE2/0/17", None, complete=False)
    ports = hccn_tool.parse_lldp_interfaces(sample("lldp_grep_three_chips.txt"))
    assert ports == ("200GE2/0/17", "200GE2/0/18", "200GE2/0/19")


def test_the_name_of_an_interface_below_another_heading_is_not_the_neighbours_port() -> None:
    text = sample("lldp_a3.txt").replace("\tMAC: 02:11:22:33:44:00", "\tIfname: GE0/0/0")
    assert hccn_tool.parse_lldp(text).interface == "200GE2/0/17"


def test_counters() -> None:
    packets = hccn_tool.parse_stat(sample("stat_a2.txt"))
    assert len(packets) == 24
    assert (packets["roce_rx_err_pkt_num"], packets["roce_new_pkt_rty_num"]) == (4, 31)
    assert packets["mac_tx_total_oct_num"] == 2**64 - 1
    rdma = hccn_tool.parse_hw_stats(sample("hw_stats_a2.txt"))
    assert (len(rdma), rdma["ceqe"], rdma["qp_active"]) == (9, 55021, 4)


def test_an_optical_module_of_four_lanes() -> None:
    module = hccn_tool.parse_optical(sample("optical_a2_four_lanes.txt"))
    assert (module.present, module.temperature_c, module.vcc_mv) == (True, 51, 3301.4)
    assert (module.vendor, module.part_number, module.serial_number, module.wavelength_nm) == (
        "EXAMPLE OPTICS",
        "EX-400-SR4",
        "SN00417",
        1310,
    )
    assert len(module.lanes) == 4
    assert module.lanes[1] == OpticalLane(1.2875, 0.0, 7.416, 21.75, 0.0)
    assert (module.tx_los, module.rx_los, module.tx_lol, module.rx_lol) == (0, 2, 0, 2)
    assert (module.limits.temperature_low_c, module.limits.rx_power_low_mw) == (-5, 0.0794)


def test_other_optical_modules() -> None:
    shared = hccn_tool.parse_optical(sample("optical_a3_shared_module.txt"))
    assert shared.lanes[1] == OpticalLane(2.088, 1.8442, 60.88, None, 20.7)
    assert shared.lanes[3] == OpticalLane(None, None, None, None, None)
    (lane,) = hccn_tool.parse_optical(sample("optical_one_lane.txt")).lanes
    assert lane == OpticalLane(0.912, 0.8455, 6.662, None, None)
    without = hccn_tool.parse_optical(sample("optical_no_module.txt"))
    assert (without.present, without.temperature_c, without.lanes, without.rx_los) == (False, None, (), None)


@pytest.mark.parametrize(
    ("name", "device", "address", "sent", "received", "loss", "unreachable", "timeouts"),
    [
        ("ping_ok.txt", 2, "10.60.4.30", 3, 3, 0.0, 0, 0),
        ("ping_lossy.txt", 2, "10.60.4.30", 3, 2, 33.33, 0, 1),
        ("ping_unreachable.txt", 11, "10.61.4.30", 3, 0, 100.0, 3, 0),
        ("ping_950_ub.txt", 4, "::60:10:0:aa01:b0", 2, 1, 50.0, 0, 1),
        ("hccs_ping_ok.txt", 9, "192.7.3.188", 3, 3, 0.0, 0, 0),
        ("hccs_ping_lossy.txt", 9, "192.7.3.188", 4, 3, 25.0, 0, 1),
        ("hccs_ping_lost.txt", 9, "192.7.3.188", 3, 0, 100.0, 0, 3),
    ],
)
def test_pings(
    name: str,
    device: int,
    address: str,
    sent: int,
    received: int,
    loss: float,
    unreachable: int,
    timeouts: int,
) -> None:
    query, ping = parse_answer(sample(name))
    assert isinstance(ping, hccn_tool.Ping)
    assert query == ("hccs_ping" if name.startswith("hccs") else "ping")
    assert (ping.device, ping.address) == (device, address)
    assert (ping.transmitted, ping.received, ping.loss_percent) == (sent, received, loss)
    assert (ping.unreachable, ping.timeouts, len(ping.times_ms)) == (unreachable, timeouts, received)
    assert ping.lossless == (sent == received)


def test_times_of_both_pings_are_milliseconds() -> None:
    assert hccn_tool.parse_ping(sample("ping_ok.txt")).times_ms == (0.211, 0.061, 0.058)
    assert hccn_tool.parse_hccs_ping(sample("hccs_ping_ok.txt")).times_ms == (0.01425,) * 3


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("hccn_tool is busy, please try again.", HccnBusyError),
        ("hccn_tool is busy, please try again", HccnBusyError),
        ("The device is not exist!", HccnNoDeviceError),
        ("Get invalid device id.", HccnNoDeviceError),
        ("permission denied: pls check this cmd run permission.", HccnDeniedError),
        ("bash: /usr/local/Ascend/driver/tools/hccn_tool: Permission denied", HccnDeniedError),
        ("The command is not supported on this product.", HccnNotSupportedError),
        ("Get ipconf failed, because no ip was preset there!", HccnNotSetError),
        ("Get gateway failed, because no gateway was preset there!", HccnNotSetError),
        ("No certificate found, please set certs firstly!", HccnNotSetError),
        ("Cmd execute failed!", HccnFailedError),
        ("Command execute failed!", HccnFailedError),
        ("The cmd line execute timeout!", HccnFailedError),
        ("Control link unreachable.", HccnFailedError),
        ("Get invalid parameters!\n[ hccn_tool -i devid -mtu ] needs", HccnFailedError),
        ("", HccnSilentError),
        ("\n \n", HccnSilentError),
    ],
)
def test_every_query_raises_the_refusal_that_it_was_answered_with(text: str, error: type[HccnError]) -> None:
    for parse in (parse_answer, *PARSERS.values()):
        with pytest.raises(error):
            parse(text)


def test_a_refusal_beside_an_answer_is_still_one() -> None:
    with pytest.raises(HccnFailedError):
        hccn_tool.parse_ip(sample("ip_a2.txt") + "Cmd execute failed!\n")


BROKEN = [
    ("ip", "ipaddr:10.60.3.21\n"),
    ("ip", "netmask:255.255.240.0\n"),
    ("ip", "ipaddr:10.60.3.256\nnetmask:255.255.240.0\n"),
    ("ip", "ipaddr:10.60.3\nnetmask:255.255.240.0\n"),
    ("ip", "ipaddr:010.60.3.1\nnetmask:255.255.240.0\n"),
    ("ip", "ipaddr:10.60.3.21\nnetmask:255.255.24.0\n"),
    ("ip", "ipaddr:10.60.3.21\nnetmask:0.0.0.255\n"),
    ("ip", "ipaddr:10.60.3.21\nnetmask:255.255.240.0\nipaddr:10.60.3.22\nnetmask:255.255.240.0\n"),
    ("ip", "ipaddr:10.60.3.21\n...\nnetmask:255.255.240.0\n"),
    ("ip", "ipaddr:xx.60.3.21\nnetmask:255.255.240.0\n"),
    ("gateway", "default gateway:10.60.0.1\n"),
    ("gateway", "default gateway:10.60.0.1, Iface:\n"),
    ("netdetect", "netdetect address:\n"),
    ("vnic", "vnic link status: UP\nvnic ipaddr: 192.7.3.188\n"),
    ("vnic", "vnic link status: ON\nvnic ipaddr: 192.7.3.188\nvnic netmask: 255.0.0.0\n"),
    ("link", "link status: U\n"),
    ("link", "link status: UP\nlink status: DOWN\n"),
    ("link", "link status : PARTIAL LINK\nport 0 : UNKNOWN\n"),
    ("net_health", "net health status: \n"),
    ("net_health", "net health status: 5\n"),
    ("mtu", "mtu:0\n"),
    ("mtu", "mtu:65536\n"),
    ("mtu", "mtu:1500 bytes\n"),
    ("mac", "mac addr: 3c:9f:10:ab:00\n"),
    ("speed", "Speed: 200000 Mb\n"),
    ("speed", "Speed: 200 G\n"),
    ("fec", "fec mode: rs FEC\n"),
    ("duplex", "Duplex: Ful\n"),
    ("bandwidth", "Bandwidth TX: 217.05 MB/sec\n"),
    ("bandwidth", "Bandwidth TX: 217.05 MB/sec\nBandwidth RX: nan MB/sec\n"),
    ("status", "Netdev status:Settings for eth5:\n"),
    ("status", "Netdev status:Settings for eth5:\nSpeed: fast\n"),
    ("route", "Routing table:\n"),
    ("stat", "packet statistics:\n"),
    ("stat", "packet statistics:\nroce_rx_err_pkt_num:\n"),
    ("stat", "packet statistics:\nroce_rx_err_pkt_num:-1\n"),
    ("stat", "packet statistics:\nroce_rx_err_pkt_num:18446744073709551616\n"),
    ("stat", "packet statistics:\nroce_rx_err_pkt_num:1\nroce_rx_err_pkt_num:1\n"),
    ("hw_stats", "[devid 3] qp_alloc: 1\n[devid 4] qp_active: 1\n"),
    ("hw_stats", "mtu:1500\n"),
    ("tls", "dev_id:0, tls switch[2](0:disable, 1:enable)\n"),
    ("ping", "3 packets transmitted, 4 received, 0.00% packet loss\n"),
    ("ping", "3 packets transmitted, 3 received, 33.33% packet loss\n"),
    ("ping", "3 packets transmitted, 2 received, 0.00% packet loss\n"),
    ("ping", "3 packets transmitted, 3 received, 0.0\n"),
    ("ping", "recv time out seq=0\n1 packets transmitted, 1 received, 0.00% packet loss\n"),
    ("ping", "device 0 PING here\n1 packets transmitted, 1 received, 0.00% packet loss\n"),
    ("ping", "1 packets transmitted, 1 received, 0.00% packets loss\n"),
    ("hccs_ping", "1 packets transmitted, 1 received, 0.00% packet loss\n"),
]


@pytest.mark.parametrize(("query", "text"), BROKEN)
def test_what_is_broken_is_refused(query: str, text: str) -> None:
    with pytest.raises(UnreadableError):
        PARSERS[query](text)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("optical_a2_four_lanes.txt", "Rx Power3            : 1.1030 mW\n", ""),
        ("optical_a2_four_lanes.txt", "Tx Bias2             : 7.6020 mA\n", ""),
        ("optical_a2_four_lanes.txt", "Media SNR Lane3      : 22.4000 dB\n", ""),
        ("optical_a2_four_lanes.txt", "Rx LoL Flag          : 0x2\n", ""),
        ("optical_a2_four_lanes.txt", "1.3000 mW", "1.1394 dBm"),
        ("optical_a2_four_lanes.txt", "1.3000 mW", "1.3"),
        ("optical_a2_four_lanes.txt", "Tx Bias3", "Tx Bias2"),
        ("optical_a2_four_lanes.txt", ": present", ": maybe"),
        ("optical_a2_four_lanes.txt", "51 C", "51"),
        ("optical_a2_four_lanes.txt", ": 0x2\n", ": 2\n"),
        ("link_stat_a2_flapping.txt", "18:02:11", "18:62:11"),
        ("link_stat_a2_flapping.txt", "Feb 27", "Feb 30"),
        ("link_stat_a2_flapping.txt", "LINK UP", "LINK"),
        ("link_stat_a2_flapping.txt", "[devid 6]link up count       : 14\n", ""),
        ("link_stat_a2_flapping.txt", "count       : 14", "count       : many"),
        ("tls_certificates.txt", "dev_id:5, [crl]", "dev_id:6, [crl]"),
        ("tls_certificates.txt", "status[1]", "status[3]"),
        ("tls_loop_four_chips.txt", "dev_id:3", "dev_id:2"),
        ("lldp_a3.txt", "Ifname: 200GE2/0/17", "Local: 17"),
        ("lldp_a3.txt", "\t120\nSystem Name TLV\n", "System Name TLV\n\t120\n"),
        ("ping_ok.txt", "recv seq=1,time=0.061000ms\n", ""),
        ("ping_ok.txt", "recv seq=1,time=0.061", "recv seq=1,time=0.O61"),
        ("ping_lossy.txt", "recv time out seq=0\n", ""),
        ("hccs_ping_lossy.txt", "msg fail!", "msg gone!"),
        ("route_a2.txt", "255.255.240.0   U ", "255.255.240.0 "),
        ("route_a2.txt", "10.60.0.0 ", "10.60.0 "),
    ],
)
def test_a_sample_that_was_damaged_is_refused(name: str, old: str, new: str) -> None:
    text = sample(name)
    assert old in text
    with pytest.raises(UnreadableError):
        PARSERS[query_of(name)](text.replace(old, new, 1))


def test_two_answers_in_one_text_are_refused() -> None:
    with pytest.raises(UnreadableError, match="gateway, ip"):
        detect_query(sample("ip_a2.txt") + sample("gateway_a2.txt"))
    with pytest.raises(UnreadableError):
        parse_answer(sample("ping_ok.txt") * 2)


def test_an_endless_line_takes_no_time() -> None:
    calls = "hccn_tool -i 0 -x " * 100_000
    for text in (calls, f"hccn_tool -i 0 -link -g\n{calls}"):
        assert not is_collected(calls)
        with pytest.raises(UnreadableError, match="characters"):
            parse_answer(split_collected(text)[0].text if text != calls else text)


def test_what_is_no_answer_is_refused() -> None:
    for text in ("hello", "+---+\n| NPU |\n+---+", "NPU ID : 1"):
        with pytest.raises(UnreadableError):
            parse_answer(text)


def test_a_collected_file_is_taken_apart() -> None:
    answers = split_collected(sample(COLLECTED))
    assert [(answer.phy_id, answer.query) for answer in answers] == [
        (0, "ip"),
        (0, "link"),
        (1, "ip"),
        (1, "ping"),
    ]
    assert parse_answer(answers[0].text) == ("ip", IpConfig("10.60.3.11", "255.255.240.0"))
    assert parse_answer(answers[1].text) == ("link", "UP")
    with pytest.raises(HccnNotSetError):
        parse_answer(answers[2].text)
    with pytest.raises(UnreadableError):
        split_collected(sample("ip_a2.txt"))


def test_prompts_above_and_below_answers() -> None:
    calls = (
        "[root@node-1 ~]# hccn_tool -i 2 -link -g\nlink status: UP\n"
        "[root@node-1 ~]# hccn_tool -i 3 -ip -g\nipaddr:10.1.2.3\nnetmask:255.255.0.0\n"
        "[root@node-1 ~]# date\nMon Nov 16 10:00:01 2026\n[root@node-1 ~]#"
    )
    assert [(call.phy_id, parse_answer(call.text)[1]) for call in split_collected(whole_lines(calls))] == [
        (2, "UP"),
        (3, IpConfig("10.1.2.3", "255.255.0.0")),
    ]
    assert parse_answer("\x1b[01;31m\x1b[Klink\x1b[m\x1b[K status: UP\nroot@node-1:~# \n") == ("link", "UP")


def test_a_collected_file_of_a_950() -> None:
    text = (
        "hccn_tool -g -vnic -i 0\nvnic link status: UP\nvnic ipaddr: 10.1.2.3\nvnic netmask: 255.255.255.0\n"
        "hccn_tool -g -link -i 3 -u 0 -p 1\nlink status: DOWN\n"
    )
    answers = split_collected(text)
    assert [(answer.phy_id, answer.query) for answer in answers] == [(0, "vnic"), (3, "link")]
    assert parse_answer(answers[1].text) == ("link", "DOWN")


def test_a_ping_of_which_the_figures_alone_are_left() -> None:
    _, ping = parse_answer("3 packets transmitted, 2 received, 33.33% packet loss\n")
    assert isinstance(ping, hccn_tool.Ping)
    assert (ping.received, ping.unreachable, ping.timeouts) == (2, None, None)


def test_a_text_whose_last_line_is_not_ended_can_be_refused() -> None:
    assert whole_lines("mtu:1500\n") == "mtu:1500\n"
    for cut in (
        "mtu:150",
        "ipaddr:10.1.2.3\nnetmask:255.255.255.12",
        "net health status: Succ",
        "link status: D",
    ):
        with pytest.raises(UnreadableError, match="add the missing line end") as caught:
            whole_lines(cut)
        assert caught.value.line == cut.splitlines()[-1]
        assert caught.value.line_number == len(cut.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        "link status: UP",
        "link status: DOWN\n    \t",
        "net health status: Receive timeout",
        "ipaddr:10.1.2.3\nnetmask:255.255.255.128",
        "3 packets transmitted, 3 received, 0.00% packet loss",
        "Speed: 200000 Mb/s",
        "mtu:1500\nroot@node-1:~# ",
    ],
)
def test_a_last_line_that_no_cut_can_leave_is_whole(text: str) -> None:
    assert whole_lines(text) == text


@pytest.fixture
def simulated(npusim_module: Callable[[str], ModuleType]) -> Callable[..., object]:
    """What the simulator's query prints for chip 3 of the second A3, read by the parser of that query."""
    call = npusim_module("hccn_call")
    products, network = npusim_module("products"), npusim_module("network")
    queries = npusim_module("hccn_queries")

    def ask(query: str, **changes: str) -> object:
        kind = products.product("a3")
        ports = network.factory_ports(kind, 2)
        ports["3"].update(changes)
        state = {"ports": ports, "faults": [], "node_index": 2, "created_seconds": 1.7e9, "product": "a3"}
        text = getattr(queries, f"get_{query}")(call.Call(state, kind, 3, f"-{query}", "", []))
        assert detect_query(text) == query
        return PARSERS[query](text)

    return ask


def test_the_simulated_tool_is_read_as_the_real_one(simulated: Callable[..., object]) -> None:
    assert simulated("ip") == IpConfig("10.21.2.14", "255.255.0.0")
    assert simulated("gateway") == Gateway("10.21.255.1", "eth3")
    assert simulated("netdetect") == "10.21.255.1"
    assert simulated("netdetect", netdetect="") is None
    assert (simulated("link"), simulated("link", link="down")) == ("UP", "DOWN")
    assert simulated("net_health") == NetHealth("Success", healthy=True, known=True)
    assert simulated("mtu") == 1500
    assert (simulated("speed"), simulated("speed", link="down")) == (200000, None)
    assert simulated("vnic") == Vnic("UP", "192.2.3.196", "255.0.0.0")
    assert simulated("tls") == (
        hccn_tool.Tls(3, enabled=False, preconfigured=True, alarm_days=60, certificates=()),
    )
    lldp = simulated("lldp")
    assert isinstance(lldp, Lldp)
    assert (lldp.interface, lldp.complete) == ("400GE1/2/3:2", True)
    history = simulated("link_stat", link="down")
    assert isinstance(history, hccn_tool.LinkStat)
    assert (history.up, history.link_ups, len(history.changes)) == (False, 1, 2)
    stat = simulated("stat")
    assert isinstance(stat, dict)
    assert set(stat.values()) == {0}
