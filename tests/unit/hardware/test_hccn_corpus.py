"""Everything of the corpus's npu/ that is not npu-smi's; needs the corpus (NPUCTL_CORPUS)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from npuctl.hardware import hccn_tool
from npuctl.hardware.daemon_json import parse_daemon_json
from npuctl.hardware.driver_files import (
    VersionRange,
    parse_driver_version,
    parse_firmware_version,
    parse_toolkit_info,
)
from npuctl.hardware.hccn_conf import parse_hccn_conf
from npuctl.hardware.hccn_tool import (
    HccnNotSetError,
    IpConfig,
    NetHealth,
    Vnic,
    detect_query,
    parse_answer,
    split_collected,
)
from npuctl.hardware.lspci import npus, parse_lspci
from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from pathlib import Path

# Records that are told whole.
ANSWERS: dict[str, tuple[str, object]] = {
    "hccn-fec_none.txt": ("fec", "no"),
    "hccn-fec_rs.txt": ("fec", "rs"),
    "hccn-ip_910b1_npu3.txt": ("ip", IpConfig("29.1.112.213", "255.255.0.0")),
    "hccn-ip_a3_die1.txt": ("ip", IpConfig("10.0.244.11", "255.255.255.0")),
    "hccn-link_950_doc.txt": ("link", "DOWN"),
    "hccn-link_up.txt": ("link", "UP"),
    "hccn-lldp_grep-ifname_8npu.txt": (
        "lldp_interfaces",
        tuple(f"400GE1/{card}/5:{half}" for card in range(1, 5) for half in (1, 2)),
    ),
    "hccn-net-health_fault.txt": ("net_health", NetHealth("Fault", healthy=False, known=True)),
    "hccn-net-health_init.txt": ("net_health", NetHealth("Init", healthy=None, known=True)),
    "hccn-net-health_socket-failed.txt": (
        "net_health",
        NetHealth("Socket failed", healthy=False, known=True),
    ),
    "hccn-stat_errors_npu6.txt": ("stat", {"roce_rx_err_pkt_num": 13, "roce_tx_err_pkt_num": 77}),
    "hccn-vnic_950_doc.txt": ("vnic", Vnic("UP", "192.168.2.199", "255.255.255.0")),
}
# Records of which the index tells a part.
PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "hccn-link-stat_910a_up.txt": ("link_stat", {"device": 0, "link_ups": 2, "link_downs": None}),
    "hccn-lldp_910b1_npu3_elided.txt": ("lldp", {"interface": "400GE1/1/20:2", "complete": False}),
    "hccn-ping_a2_ok_3of3.txt": (
        "ping",
        {"device": 3, "address": "10.20.11.16", "transmitted": 3, "received": 3, "loss_percent": 0.0},
    ),
    "hccn-status_910b1_eth3_elided.txt": (
        "status",
        {"interface": "eth3", "speed_mbps": 200000, "link_detected": None, "complete": False},
    ),
}
# Files with a test of their own below.
OTHERS = {
    "cann-toolkit-install-info.txt",
    "dev-davinci_a3_ls.txt",
    "docker-daemon-json_ascend-default-runtime.json",
    "driver-version-info_23.0.7.txt",
    "firmware-version-info_7.1.0.11.220.txt",
    "hccn-conf_8npu_address-only.txt",
    "hccn-conf_8npu_elided.txt",
    "hccn-conf_8npu_with-tls-and-arp-status.txt",
    "hccn-gateway_not-preset.txt",
    "hccn-hw-stats_910b1.txt",
    "hccn-ip-all_8npu_four-subnets.txt",
    "hccn-optical_910a_four-lanes.txt",
    "hccn-tls-switch_disabled.txt",
    "lspci_910a_8cards.txt",
}


def _read(corpus: Path, name: str) -> str:
    return (corpus / "npu" / name).read_text(encoding="utf-8")


def test_every_file_has_its_case(corpus: Path) -> None:
    found = {
        path.name
        for path in (corpus / "npu").iterdir()
        if not path.name.startswith("npu-smi") and path.name not in {"INDEX.md", "expected.json"}
    }
    assert found == {*ANSWERS, *PARTS, *OTHERS}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_reads_as_its_index_says(name: str, corpus: Path) -> None:
    assert parse_answer(_read(corpus, name)) == ANSWERS[name]


@pytest.mark.parametrize("name", PARTS)
def test_a_longer_answer_reads_as_its_index_says(name: str, corpus: Path) -> None:
    query, expected = PARTS[name]
    text = _read(corpus, name)
    assert detect_query(text) == query
    record: Any = hccn_tool.PARSERS[query](text)
    assert {key: value for key, value in asdict(record).items() if key in expected} == expected


def test_the_newest_change_of_the_link_is_up(corpus: Path) -> None:
    history = hccn_tool.parse_link_stat(_read(corpus, "hccn-link-stat_910a_up.txt"))
    assert history.up
    assert [change.up for change in history.changes] == [True, False, True]


def test_a_gateway_that_was_never_set(corpus: Path) -> None:
    with pytest.raises(HccnNotSetError):
        parse_answer(_read(corpus, "hccn-gateway_not-preset.txt"))


def test_rdma_counters(corpus: Path) -> None:
    counters = hccn_tool.parse_hw_stats(_read(corpus, "hccn-hw-stats_910b1.txt"))
    assert len(counters) == 14
    assert {name for name, count in counters.items() if count} == {
        *("pd_alloc", "cq_alloc", "qp_alloc", "pd_active", "cq_active", "qp_active"),
    }


def test_addresses_of_all_chips(corpus: Path) -> None:
    answers = split_collected(_read(corpus, "hccn-ip-all_8npu_four-subnets.txt"))
    assert [(answer.phy_id, answer.query) for answer in answers] == [(chip, "ip") for chip in range(8)]
    configs = [hccn_tool.parse_ip(answer.text) for answer in answers]
    assert {config.netmask for config in configs} == {"255.255.0.0"}
    networks = [config.address.rsplit(".", 2)[0] for config in configs]
    assert networks[:4] == networks[4:] == [f"192.{number}" for number in (1, 2, 3, 4)]
    assert len({config.address for config in configs}) == 8


def test_an_optical_module(corpus: Path) -> None:
    module = hccn_tool.parse_optical(_read(corpus, "hccn-optical_910a_four-lanes.txt"))
    assert (module.present, module.temperature_c, module.vcc_mv) == (False, 47, 3262.9)
    assert [lane.tx_power_mw for lane in module.lanes] == [4.4035, 1.3968, 1.4140, 1.4988]
    assert [lane.rx_power_mw for lane in module.lanes] == [1.0189, 0.0054, 0.9907, 1.0213]
    assert [lane.tx_bias_ma for lane in module.lanes] == [7.936, 7.928, 7.936, 7.924]
    assert [lane.host_snr_db for lane in module.lanes] == [None] * 4
    assert [lane.media_snr_db for lane in module.lanes] == [23.1211, 22.6289, 22.1875, 23.2969]
    assert (module.tx_los, module.rx_los, module.tx_lol, module.rx_lol) == (0, 0xFF, 0, 0xFF)


def test_the_tls_switch(corpus: Path) -> None:
    (tls,) = hccn_tool.parse_tls(_read(corpus, "hccn-tls-switch_disabled.txt"))
    assert (tls.device, tls.enabled, tls.preconfigured, tls.alarm_days) == (0, False, True, 60)


def test_hccn_conf_with_addresses_alone(corpus: Path) -> None:
    ports = parse_hccn_conf(_read(corpus, "hccn-conf_8npu_address-only.txt")).ports
    assert [port.address for port in ports.values()] == [f"10.20.11.{host}" for host in range(11, 19)]
    assert {(port.netmask, port.gateway, port.netdetect) for port in ports.values()} == {
        ("255.255.255.0", None, None)
    }


def test_hccn_conf_with_tls_and_arp(corpus: Path) -> None:
    ports = parse_hccn_conf(_read(corpus, "hccn-conf_8npu_with-tls-and-arp-status.txt")).ports
    assert list(ports) == list(range(8))
    for port in ports.values():
        assert (port.netmask, port.netdetect, port.gateway) == ("255.255.0.0", "127.0.0.1", "127.0.0.1")
        assert (port.send_arp_status, port.tls_enable, port.others) == (True, False, {})
    assert ports[6].address == "127.0.0.118"


def test_an_elided_hccn_conf_is_refused_at_its_line(corpus: Path) -> None:
    with pytest.raises(UnreadableError) as caught:
        parse_hccn_conf(_read(corpus, "hccn-conf_8npu_elided.txt"))
    assert (caught.value.line, caught.value.line_number) == ("...", 6)


def test_versions_on_disk(corpus: Path) -> None:
    driver = parse_driver_version(_read(corpus, "driver-version-info_23.0.7.txt"))
    assert (driver.version, driver.package_version) == ("23.0.7", "23.0.7")
    assert driver.compatible_firmware == (VersionRange("7.0.0", "7.1.99"),)
    firmware = parse_firmware_version(_read(corpus, "firmware-version-info_7.1.0.11.220.txt"))
    assert (firmware.version, firmware.package_version) == ("7.1.0.11.220", "23.0.7")
    assert [span.first for span in firmware.compatible_drivers] == ["23.0.rc3", "23.0.0"]
    toolkit = parse_toolkit_info(_read(corpus, "cann-toolkit-install-info.txt"))
    assert (toolkit.version, toolkit.arch) == ("7.0.T10", "aarch64")


def test_docker(corpus: Path) -> None:
    config = parse_daemon_json(_read(corpus, "docker-daemon-json_ascend-default-runtime.json"))
    assert config.runtimes == {"ascend": "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"}
    assert (config.default_runtime, config.default_shm_size, config.rest) == ("ascend", "8G", {})


def test_chips_on_the_bus(corpus: Path) -> None:
    chips = npus(parse_lspci(_read(corpus, "lspci_910a_8cards.txt")))
    assert [chip.device_id for chip in chips] == ["d801"] * 8
    assert {chip.product for chip in chips} == {"910A"}
