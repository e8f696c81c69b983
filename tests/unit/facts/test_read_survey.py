"""What a thorough look brought → typed facts; what could not be read is said with its reason."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from npuctl.facts.model import ChipFacts, ClusterFacts, NodeFacts
from npuctl.facts.read_survey import read_survey
from npuctl.facts.survey import ConfiguredPort, PortFacts, Survey
from tests.making import chips, facts_of, node

BOARD = """\
	NPU ID                         : {0}
	Product Name                   : IT21HMDA01-B2
	Model                          : NA
	Manufacturer                   : Huawei
	Serial Number                  : SN{0}
	Software Version               : 25.5.2
	Firmware Version               : 7.8.0.7.220
	Compatibility                  : OK
	Board ID                       : 0x34
	Chip Count                     : 1
"""
HEALTHY = """\
	Health Status                  : OK
	Error Code                     : NA
	Error Information              : NA
"""
ALARM = """\
	Health Status                  : Alarm
	Error Code                     : 80E01801
	Error Information              : HBM multi bit ECC
"""
KINDS = (
    "Single Bit Error Count",
    "Double Bit Error Count",
    "Single Bit Isolated Pages Count",
    "Double Bit Isolated Pages Count",
)
ECC = "".join(
    f"	{memory} {kind} : {value}\n"
    for memory in ("DDR", "HBM")
    for kind, value in zip(KINDS, (7, 2, 1, 3), strict=True)
)
SUPER_POD = "	SDID : 167837697\n	Super Pod Size : 384\n	Super Pod ID : 2\n	Server Index : 40\n"
PORT = {
    "link": "link status: UP\n",
    "net_health": "net health status: Success\n",
    "ip": "ipaddr:10.20.1.11\nnetmask:255.255.0.0\n",
    "gateway": "default gateway:10.20.255.1, Iface:eth0\n",
    "netdetect": "netdetect address: 10.20.255.1\n",
    "tls": "dev_id:0, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset),"
    " tls alarm time threshold[60]days\n",
    "mtu": "mtu:1500\n",
    "vnic": "vnic link status: UP\nvnic ipaddr:192.168.0.1\nvnic netmask:255.255.0.0\n",
    "lldp": "Port ID TLV\n\tIfname: 400GE1/1/2:1\nEnd of LLDPDU TLV\n",
}
FILES = {
    "/etc/hccn.conf": "address_0=10.20.1.11\nnetmask_0=255.255.0.0\ngateway_0=10.20.255.1\ntls_enable_0=0\n",
    "/usr/local/Ascend/driver/version.info": (
        "Version=25.5.2\nascendhal_version=7.35.23\ncompatible_version_fw=[7.0.0,7.8.99]\npackage_version=25.5.2\n"
    ),
    "/usr/local/Ascend/firmware/version.info": (
        "Version=7.8.0.7.220\nfirmware_version=1.0\ncompatible_version_drv=[25.5,25.5.]\npackage_version=25.5.2\n"
    ),
    "/etc/ascend_install.info": "UserName=HwHiAiUser\nUserGroup=HwHiAiUser\nDriver_Install_Status=complete\n",
    "/etc/docker/daemon.json": "{}",
}


def ok(text: str) -> dict[str, Any]:
    return {"rc": 0, "stdout": text, "stderr": ""}


def refused(text: str, rc: int = 1) -> dict[str, Any]:
    return {"rc": rc, "stdout": text, "stderr": ""}


def silent(why: str) -> dict[str, Any]:
    return {"rc": None, "stdout": "", "stderr": why}


def raw(*, super_pod: bool = False, **changes: Any) -> dict[str, Any]:
    """What one node with one chip sends; `changes` are of its NPUs."""
    answers = {"health": ok(HEALTHY), "ecc": ok(ECC)} | ({"spod-info": ok(SUPER_POD)} if super_pod else {})
    npus: dict[str, Any] = {
        "mapping": ok("NPU ID  Chip ID  Chip Name\n0       0        910B3\n"),
        "listing": None,
        "chips": [{"npu": 0, "chip": 0, "phy": 0, "answers": answers}],
        "boards": {"0": ok(BOARD.format(0))},
        "has_hccn_tool": True,
        "ports": {"0": {word: ok(text) for word, text in PORT.items() if super_pod or word != "vnic"}},
        "bus": {"lspci": ok("3d:00.0 1200: 19e5:d802 (rev 20)\n"), "sysfs": None},
        "files": {path: {"text": text} for path, text in FILES.items()},
    }
    host = {
        "clock_synchronized": True,
        "nics": [],
        "addresses": ok(""),
        "hostname_addresses": [],
        "hostname_error": "",
        "disks": [],
        "disks_error": "",
        "device_nodes": [],
        "sysctl": {},
        "transparent_hugepages": "",
        "governors": [],
        "firewalls": ok("inactive\n"),
        "firewall_names": ["firewalld"],
        "ufw_enabled": False,
        "cpus": 4,
        "uid": 0,
    }
    return {
        "npus": npus | changes,
        "host": host,
        "engine": {"error": "", "root": "/var/lib/docker"},
        "images": [{"error": "", "images": []}, ""],
        "weights": {},
        "second_opinions": [],
        "seconds": 1.23456,
    }


def read(data: dict[str, Any], known: list[ChipFacts] | None = None, *, simulated: bool = False) -> Survey:
    return read_survey(
        json.loads(json.dumps(data)), chips(count=1) if known is None else known, simulated=simulated
    )


def with_answers(**answers: dict[str, Any]) -> dict[str, Any]:
    """The same node where some questions about its chip or its port were answered otherwise."""
    data = copy.deepcopy(raw(super_pod=True))
    for question, answer in answers.items():
        word = question.replace("spod_info", "spod-info")
        place = data["npus"]["ports"]["0"] if word in PORT else data["npus"]["chips"][0]["answers"]
        place[word] = answer
    return data


def test_a_healthy_chip_and_its_port() -> None:
    found = read(raw())
    assert found.unread == {}
    (chip,) = found.chips
    assert (chip.health, chip.error_codes, chip.ecc_uncorrectable, chip.ecc_isolated_pages) == (
        "OK",
        [],
        4,
        8,
    )
    assert (chip.sdid, chip.super_pod_id) == (None, None)
    assert found.ports == [
        PortFacts(
            chip=0,
            link="UP",
            net_health="Success",
            address="10.20.1.11",
            netmask="255.255.0.0",
            gateway="10.20.255.1",
            detect_address="10.20.255.1",
            tls_switch=0,
            mtu=1500,
            switch_port="400GE1/1/2:1",
        )
    ]
    assert found.configured_ports == [
        ConfiguredPort(
            chip=0, address="10.20.1.11", netmask="255.255.0.0", gateway="10.20.255.1", tls_switch=0
        )
    ]
    (card,) = found.cards
    assert (card.driver_version, card.firmware_version, card.compatibility) == ("25.5.2", "7.8.0.7.220", "OK")
    assert (found.files.compatible_firmware, found.files.compatible_driver) == (
        "[7.0.0,7.8.99]",
        "[25.5,25.5.]",
    )
    assert (found.files.install_status, found.files.install_user) == ("complete", "HwHiAiUser")
    assert (found.pci_chips, found.seconds, found.host.clock_synchronized) == (1, 1.235, True)


def test_a_die_in_a_super_pod() -> None:
    found = read(raw(super_pod=True))
    assert (found.chips[0].sdid, found.chips[0].super_pod_id) == (167837697, 2)
    assert (found.ports[0].vnic_address, found.ports[0].vnic_link) == ("192.168.0.1", "UP")


def test_a_chip_has_the_number_that_the_table_gave_it() -> None:
    """On a 310P the table knows the device; the mapping does not."""
    data = raw()
    data["npus"]["chips"][0] |= {"npu": 320, "chip": 1, "phy": 7}
    known = chips(count=1)[0].model_copy(update={"id": 3, "npu": 320, "chip": 1})
    assert read(data, [known]).chips[0].id == 3
    assert read(data, []).chips[0].id == 7
    data["npus"]["chips"][0]["phy"] = None
    nobody = read(data, [])
    assert (nobody.chips, nobody.unread) == ([], {"card 320 chip 1": "its device node is not known"})


def test_an_alarm_has_its_code_and_its_words() -> None:
    chip = read(with_answers(health=ok(ALARM))).chips[0]
    assert (chip.health, chip.error_codes, chip.error_texts) == ("Alarm", ["80E01801"], ["HBM multi bit ECC"])


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("health", silent("npu-smi did not end within 20 s"), "npu-smi did not end within 20 s"),
        ("health", silent("not asked: npu-smi hung before"), "not asked: npu-smi hung before"),
        ("health", ok("what?\n"), "cannot read the answer: "),
        ("health", ok(""), "cannot read the answer: "),
        ("health", refused("Invalid card id.\nUsage: npu-smi\n"), "Invalid card id."),
        ("health", refused(HEALTHY), "ended with 1: "),
        ("health", ok(HEALTHY.replace("OK", "NA")), "npu-smi says NA"),
        ("ecc", refused("dcmi module initialize failed. ret is -8005\n"), "dcmi module initialize failed. ret is -8005"),
        ("link", refused("hccn_tool is busy, please try again.\n"), "hccn_tool is busy, please try again."),
        ("link", ok("hccn_tool is busy, please try again.\n"), "hccn_tool is busy, please try again."),
        ("link", refused("The device is not exist!\n"), "The device is not exist!"),
        ("link", ok(""), "cannot read the answer: "),
        ("ip", ok("ipaddr:10.20.1\n"), "cannot read the answer: "),
        ("tls", refused("permission denied\n"), "permission denied"),
        ("mtu", silent("hccn_tool did not end within 10 s"), "hccn_tool did not end within 10 s"),
        ("mtu", refused("", rc=139), "cannot read the answer: "),
    ],
)  # fmt: skip
def test_a_question_without_an_answer_has_its_reason(question: str, answer: dict[str, Any], why: str) -> None:
    found = read(with_answers(**{question: answer}))
    assert list(found.unread) == [f"chip 0: {question}"]
    assert found.unread[f"chip 0: {question}"].startswith(why)
    assert len(found.chips) == len(found.ports) == 1


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("spod_info", refused("This device does not support querying spod-info.\n")),
        ("vnic", refused("The command is not supported on this product.\n")),
        ("ip", refused("Get ipconf failed, because no ip was preset there!\n")),
        ("ip", ok("")),
        ("gateway", ok("Get gateway failed, because no gateway was preset there!\n")),
        ("netdetect", ok("netdetect address: 0.0.0.0\n")),
        ("lldp", ok("")),
    ],
)
def test_what_nobody_set_and_what_a_product_has_not_is_no_question(
    question: str, answer: dict[str, Any]
) -> None:
    found = read(with_answers(**{question: answer}))
    assert found.unread == {}
    empty = {
        "spod_info": found.chips[0].sdid is None,
        "vnic": found.ports[0].vnic_address == "",
        "ip": found.ports[0].address == "",
        "gateway": found.ports[0].gateway == "",
        "netdetect": found.ports[0].detect_address == "",
        "lldp": found.ports[0].switch_port == "",
    }
    assert empty[question]


def test_chips_without_ports_have_none() -> None:
    ports = {"0": {"link": refused("The command is not supported on this product.\n")}}
    found = read(raw(ports=ports))
    assert (found.ports, found.unread) == ([], {})
    busy = {"0": {"link": refused("hccn_tool is busy, please try again.\n")}}
    assert read(raw(ports=busy)).ports == [PortFacts(chip=0)]


def test_no_npu_smi_and_no_hccn_tool() -> None:
    why = "not asked: npu-smi is not installed"
    found = read(raw(mapping=silent(why), chips=[], boards={}, has_hccn_tool=False, ports={}), [])
    assert found.unread == {"npu-smi info -m": why, "hccn_tool": "hccn_tool is not installed"}
    assert (found.chips, found.cards, found.ports) == ([], [], [])


@pytest.mark.parametrize(
    ("bus", "simulated", "count", "why"),
    [
        ({"lspci": ok(""), "sysfs": None}, False, 0, None),
        ({"lspci": silent("lspci is not installed"), "sysfs": 8}, False, 8, None),
        ({"lspci": ok(""), "sysfs": None}, True, None, "simulated NPUs are on no bus"),
        ({"lspci": ok("3d:00.0 1200: 19e5:d802\n"), "sysfs": None}, True, 1, None),
        ({"lspci": ok("garbage\n"), "sysfs": None}, False, None, "cannot read the answer: "),
    ],
)
def test_npus_on_the_bus(bus: dict[str, Any], simulated: bool, count: int | None, why: str | None) -> None:  # noqa: FBT001
    found = read(raw(bus=bus), simulated=simulated)
    assert found.pci_chips == count
    assert found.unread.get("PCI bus", "").startswith(why or "")
    assert ("PCI bus" in found.unread) == (why is not None)


def test_files_that_are_absent_or_damaged() -> None:
    files = {path: {"error": "absent"} for path in FILES}
    found = read(raw(files=files))
    assert found.unread == {path: "absent" for path in FILES if path != "/etc/docker/daemon.json"}
    assert (found.configured_ports, found.hccn_conf_error, found.files.driver) == ([], "", "")
    found = read(raw(files={path: {"text": "what?"} for path in FILES}))
    assert found.hccn_conf_error.startswith("line 1: ")
    assert all(
        found.unread[path].startswith("cannot read it: ") for path in FILES if path != "/etc/hccn.conf"
    )


def test_a_model_that_could_not_be_read_is_not_taken_for_an_absent_one() -> None:
    data = raw() | {
        "weights": {"/a": [None, "no answer within 60 s"], "/b": [{"path": "/b", "exists": False}, ""]}
    }
    found = read(data)
    assert list(found.weights) == ["/b"]
    assert not found.weights["/b"].exists
    assert found.unread == {"model /a": "no answer within 60 s"}


def test_a_survey_survives_its_file() -> None:
    facts = facts_of(a=node(survey=read(raw(super_pod=True))))
    assert ClusterFacts.model_validate_json(facts.model_dump_json(by_alias=True)) == facts
    assert ClusterFacts.model_validate({"schema": 1, "nodes": {"n": {}}}).nodes["n"].survey is None


def test_recorded_facts_of_the_examples_are_read() -> None:
    recorded = sorted((Path(__file__).parents[3] / "inventories/facts").glob("*.json"))
    assert recorded
    for path in recorded:
        facts = ClusterFacts.model_validate_json(path.read_bytes())
        assert all(isinstance(node, NodeFacts) for node in facts.nodes.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    text=st.text() | st.sampled_from([*PORT.values(), HEALTHY, ECC, BOARD]).flatmap(
        lambda whole: st.integers(0, len(whole)).map(lambda end: whole[:end])
    ),
    rc=st.sampled_from([None, 0, 1]),
)  # fmt: skip
def test_whatever_a_tool_says_nothing_breaks_and_nothing_is_lost(text: str, rc: int | None) -> None:
    answer = {"rc": rc, "stdout": text if rc is not None else "", "stderr": text}
    data = raw(super_pod=True)
    npus = data["npus"]
    for place in (npus["ports"]["0"], npus["chips"][0]["answers"], npus["boards"]):
        for question in place:
            place[question] = answer
    npus["files"] = {path: {"text": text} for path in FILES}
    npus["bus"]["lspci"] = data["host"]["addresses"] = answer
    found = read_survey(data, chips(count=1), simulated=False)
    json.dumps(found.model_dump(mode="json"))
    chip = found.chips[0]
    assert chip.health or "chip 0: health" in found.unread
    assert chip.ecc_uncorrectable is not None or "chip 0: ecc" in found.unread
    assert found.ports[0].link or "chip 0: link" in found.unread or rc == 0
