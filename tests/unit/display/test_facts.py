"""Facts as people read them: a table of nodes, a block a node."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.display import fact_words as words
from npuctl.display.facts import facts_text
from npuctl.display.text import SIMULATED
from npuctl.facts.model import ChipFacts, ClusterFacts, HolderFacts, NodeFacts, Unreachable
from npuctl.facts.survey import (
    CardFacts,
    ChipSurvey,
    DiskFacts,
    DriverFiles,
    HostFacts,
    ImageFacts,
    NicFacts,
    PortFacts,
    ShardFacts,
    Survey,
    WeightsFacts,
)
from tests.making import chips, facts_of, node

GIB = 2**30


def port(chip: int, **changes: Any) -> PortFacts:
    own: dict[str, Any] = {
        "link": "UP",
        "net_health": "Success",
        "address": f"10.20.1.{11 + chip}",
        "gateway": "10.20.255.1",
        "tls_switch": 0,
        "mtu": 1500,
    }
    return PortFacts(chip=chip, **(own | changes))


def survey(**changes: Any) -> Survey:
    own: dict[str, Any] = {
        "cards": [
            CardFacts(npu=number, driver_version="25.5.2", firmware_version="7.8.0", compatibility="OK")
            for number in range(8)
        ],
        "chips": [ChipSurvey(id=number, npu=number, chip=0, health="OK") for number in range(8)],
        "ports": [port(number) for number in range(8)],
        "files": DriverFiles(driver="25.5.2", firmware="7.8.0", install_status="complete"),
        "images": [
            ImageFacts(reference="vllm-ascend:1", cann="8.5.0", torch_npu="2.7.1", size_bytes=9 * GIB)
        ],
        "host": HostFacts(
            clock_offset_seconds=0.05,
            clock_doubt_seconds=0.1,
            nics=[NicFacts(name="eth0", kind="physical", up=True, mtu=1500, addresses=["192.0.2.7"])],
            disks=[
                DiskFacts(
                    path="/", holds=["root"], filesystem="ext4", free_bytes=900 * GIB, total_bytes=1024 * GIB
                ),
                DiskFacts(
                    path="/data",
                    holds=["docker"],
                    filesystem="xfs",
                    free_bytes=50 * GIB,
                    total_bytes=99 * GIB,
                ),
            ],
            cpus=192,
        ),
    }
    return Survey(**(own | changes))


def thorough(**changes: Any) -> NodeFacts:
    own: dict[str, Any] = {
        "survey": survey(),
        "kernel": "5.10.0",
        "devices": [f"/dev/davinci{number}" for number in range(8)],
    }
    return node(**(own | changes))


def rows(text: str) -> dict[str, dict[str, str]]:
    """Node → column → cell, by the heading's places."""
    lines = text.splitlines()
    heading = next(line for line in lines if line.startswith("NODE"))
    titles = [title for title in heading.split("  ") if title.strip()]
    places = [heading.index(title.strip()) for title in titles]
    found = {}
    for line in lines[lines.index(heading) + 1 :]:
        ends = [*places[1:], len(line) + 1]
        cells = [line[begin:end].strip() for begin, end in zip(places, ends, strict=True)]
        found[cells[0]] = dict(zip([title.strip() for title in titles], cells, strict=True))
    return found


def test_nodes_in_a_table_with_what_is_the_same_said_once() -> None:
    text = facts_text(facts_of(a=thorough(), node_with_a_long_name=thorough()))
    assert text.splitlines()[0] == (
        "the same on all 2 nodes: product Atlas 800I/800T A2 (910B); driver 25.5.2; firmware 7.8.0;"
        " CANN in images 8.5.0; Docker 24.0.9; system openEuler 22.03; kernel 5.10.0"
    )
    assert rows(text)["node-with-a-long-name"] == {
        "NODE": "node-with-a-long-name",
        "NPUS": "8",
        "HEALTH": "OK",
        "HBM USED": "27 of 512 GiB",
        "NPU NETWORK": "8 of 8 up",
        "MEMORY FREE": "900 of 1024 GiB",
        "DISK FREE": "50 GiB",
        "CLOCK": "< 0.2 s",
    }


def test_what_differs_has_a_column() -> None:
    found = rows(
        facts_text(facts_of(a=thorough(), b=thorough(driver_running="24.1.0", driver_on_disk="25.5.2")))
    )
    assert found["a"]["DRIVER"] == "25.5.2"
    assert found["b"]["DRIVER"] == "24.1.0 (on disk 25.5.2)"


def test_a_node_alone_and_details_are_blocks() -> None:
    alone = facts_text(facts_of(a=thorough()))
    assert alone.splitlines()[0] == "a: Atlas 800I/800T A2 (910B), openEuler 22.03, aarch64, kernel 5.10.0"
    assert "NODE" not in alone
    many = facts_text(facts_of(a=thorough(), b=thorough()), details=True)
    assert alone in many
    assert "NODE" in many


def subject(node: NodeFacts, label: str) -> list[str]:
    """The lines of one subject in a node's block."""
    lines = facts_text(facts_of(a=node)).splitlines()[1:]
    begin = next(index for index, line in enumerate(lines) if line[2:].startswith(label))
    own = [lines[begin]]
    for line in lines[begin + 1 :]:
        if line[2] != " ":
            break
        own.append(line)
    return [line[16:] for line in own]


def test_a_healthy_node_in_words() -> None:
    found = thorough()
    assert subject(found, "NPUs") == ["8 x 910B3; all OK; HBM 27 of 512 GiB used"]
    assert subject(found, "driver") == ["25.5.2, firmware 7.8.0, compatibility OK, installation complete"]
    assert subject(found, "NPU network") == [
        "8 of 8 ports up; health Success; 10.20.1.11-18; gateway 10.20.255.1; TLS off; MTU 1500"
    ]
    assert subject(found, "images") == ["vllm-ascend:1: CANN 8.5.0, torch-npu 2.7.1, 9.0 GiB"]
    assert subject(found, "network") == ["eth0 192.0.2.7, MTU 1500"]
    assert subject(found, "disks")[1] == "/data 50 GiB of 99 GiB free (xfs: docker)"
    assert subject(found, "clock") == ["< 0.2 s off this machine's"]
    assert "not read" not in facts_text(facts_of(a=found))


def test_a_chip_that_is_gone_is_missed() -> None:
    seven = [chip for chip in chips() if chip.id != 3]
    found = thorough(chips=seven, survey=survey(pci_chips=7))
    assert subject(found, "NPUs")[:2] == [
        "7 of 8 x 910B3; all OK; HBM 23 of 448 GiB used",
        "npu-smi does not show NPU 3; 7 NPUs on the PCI bus",
    ]
    table = rows(facts_text(facts_of(a=found, b=thorough())))
    assert table["a"]["NPUS"] == "7 of 8"
    assert table["a"]["NOTES"] == "npu-smi does not show NPU 3; 7 NPUs on the PCI bus"
    assert table["b"]["NOTES"] == "-"


@pytest.mark.parametrize(
    ("on_bus", "note"),
    [(8, ""), (4, ""), (3, "3 NPUs on the PCI bus"), (9, "9 NPUs on the PCI bus"), (None, "")],
)
def test_the_bus_may_count_cards_or_chips(on_bus: int | None, note: str) -> None:
    found = node(
        "310p", devices=[f"/dev/davinci{number}" for number in range(8)], survey=survey(pci_chips=on_bus)
    )
    assert words.missing_chips(found) == note


def test_a_tool_that_hung_is_a_note_and_said_once() -> None:
    hung = thorough(
        chips=[],
        npu_error="npu-smi did not end within 20 s",
        driver_running="",
        survey=survey(
            cards=[], chips=[], unread={"npu-smi info -m": "not asked: npu-smi did not end within 20 s"}
        ),
    )
    table = rows(facts_text(facts_of(a=hung, b=thorough())))
    assert table["a"]["NOTES"] == "npu-smi did not end within 20 s"
    assert (table["a"]["NPUS"], table["a"]["HEALTH"], table["a"]["HBM USED"]) == ("0 of 8", "-", "-")
    assert subject(hung, "NPUs") == ["npu-smi did not end within 20 s, 8 device nodes"]
    assert subject(hung, "not read") == ["npu-smi info -m: not asked: npu-smi did not end within 20 s"]


def test_a_driver_that_cannot_be_used_is_told_by_its_number() -> None:
    error = (
        "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005\n"
    )
    found = thorough(chips=[], npu_error=error)
    assert subject(found, "NPUs") == ["dcmi module initialize failed. ret is -8005, 8 device nodes"]


def test_questions_without_an_answer_are_gathered_by_their_reason() -> None:
    busy = {"chip 0: link": "hccn_tool is busy, please try again."}
    busy |= {f"chip {number}: ip": "not asked: hccn_tool stayed busy" for number in range(8)}
    found = thorough(survey=survey(unread=busy, ports=[PortFacts(chip=number) for number in range(8)]))
    assert subject(found, "not read") == [
        "chip 0: link: hccn_tool is busy, please try again.",
        "chip 0: ip, chip 1: ip, chip 2: ip, chip 3: ip and 4 more: not asked: hccn_tool stayed busy",
    ]
    table = rows(facts_text(facts_of(a=found, b=thorough())))
    assert table["a"]["NOTES"] == "9 unread (hccn_tool is busy, please try again.)"
    assert table["a"]["NPU NETWORK"] == "0 of 8 up, 8 unread"
    assert subject(found, "NPU network") == ["0 of 8 ports up; 8 unread"]


def test_chips_and_ports_that_are_not_well() -> None:
    sick = ChipSurvey(
        id=2, npu=2, chip=0, health="Alarm", error_codes=["80E01801", "80C98009"], error_texts=["hbm error"],
        ecc_uncorrectable=4,
    )  # fmt: skip
    found = thorough(
        survey=survey(
            chips=[sick],
            ports=[port(0), port(1, link="DOWN", net_health="Fault", tls_switch=1), port(2, gateway="")],
        )
    )
    tls = "TLS off (NPU 0,2), on (NPU 1)"
    assert subject(found, "NPUs") == [
        "8 x 910B3; not OK: Alarm: 2; HBM 27 of 512 GiB used",
        "NPU 2: 80E01801 hbm error; 80C98009",
        "NPU 2: 4 uncorrectable ECC errors",
    ]
    assert subject(found, "NPU network") == [
        f"2 of 3 ports up; health Fault, Success; 10.20.1.11-13; gateway 10.20.255.1; {tls}; MTU 1500",
        "down: NPU 1",
    ]


def test_who_holds_chips_and_what_a_model_is() -> None:
    weights = WeightsFacts(
        path="/data/m",
        config={"architectures": ["Qwen3ForCausalLM"], "torch_dtype": "bfloat16"},
        shards={
            "a": ShardFacts(size_bytes=GIB, tensor_bytes=GIB),
            "b": ShardFacts(size_bytes=5, error="cut"),
        },
    )
    found = thorough(
        holders=[
            HolderFacts(chip=number, pid=7, command="VLLM::Worker", container="npuctl-prod-chat-0")
            for number in (0, 1)
        ],
        survey=survey(weights={"/data/m": weights, "/no": WeightsFacts(path="/no", exists=False)}),
    )
    assert subject(found, "held") == ["NPU 0-1 by container npuctl-prod-chat-0"]
    assert subject(found, "models") == [
        "/data/m: 1.0 GiB in 2 files, Qwen3ForCausalLM, bfloat16, cannot read b: cut",
        "/no: not there",
    ]


def test_facts_of_an_older_file_have_no_survey() -> None:
    text = facts_text(
        ClusterFacts(
            nodes={"a": node(driver_on_disk="25.5.1"), "b": node(images=[])},
            unreachable={"d": Unreachable(reason="off", hint="turn it on")},
        ),
        details=True,
    )
    assert rows(text.split("\n\n")[0])["a"]["DRIVER"] == "25.5.2 (on disk 25.5.1)"
    assert text.endswith("d: unreachable: off\n    hint: turn it on")


@pytest.mark.parametrize(
    "empty",
    [
        NodeFacts(),
        NodeFacts(npu_error="\n"),
        NodeFacts(survey=Survey()),
        NodeFacts(
            chips=[ChipFacts(id=0, npu=0, chip=0, name="?", health="", memory_used_mb=0, memory_total_mb=0)]
        ),
    ],
)
def test_a_node_of_which_nothing_is_known_is_shown(empty: NodeFacts) -> None:
    assert "a: " in facts_text(ClusterFacts(nodes={"a": empty}))
    assert "NODE" in facts_text(ClusterFacts(nodes={"a": empty, "b": empty}))
    assert facts_text(ClusterFacts()) == ""
    assert "a: unreachable: off" in facts_text(ClusterFacts(unreachable={"a": Unreachable(reason="off")}))


def test_a_sandbox_is_called_one() -> None:
    assert facts_text(facts_of(a=node(simulated=True))).startswith(SIMULATED)
    assert SIMULATED not in facts_text(facts_of(a=node()))


def test_sixty_four_nodes_are_sixty_four_lines() -> None:
    nodes = {f"node_{number}": thorough() for number in range(64)}
    assert len(facts_text(facts_of(**nodes)).splitlines()) == 64 + 2


@pytest.mark.parametrize(
    ("addresses", "text"),
    [
        (["10.0.0.2", "10.0.0.1", "10.0.0.3"], "10.0.0.1-3"),
        (["10.0.0.255", "10.0.1.0"], "10.0.0.255, 10.0.1.0"),
        (["10.0.0.1", "", "10.0.0.5"], "10.0.0.1-5 (2)"),
        (
            [f"10.0.{number}.1" for number in range(6)],
            "10.0.0.1, 10.0.1.1, 10.0.2.1, 10.0.3.1 and 2 networks more",
        ),
        ([], ""),
    ],
)
def test_addresses_in_runs(addresses: list[str], text: str) -> None:
    assert words.addresses_text(addresses) == text


@pytest.mark.parametrize(
    ("offset", "doubt", "text"),
    [
        (None, 0.0, ""),
        (0.0, 0.25, "< 0.3 s"),
        (0.001, 0.002, "< 0.1 s"),
        (-7.0, 0.2, "-7.0 s"),
        (3.25, 0.1, "+3.2 s"),
    ],
)
def test_clocks(offset: float | None, doubt: float, text: str) -> None:
    assert words.clock(HostFacts(clock_offset_seconds=offset, clock_doubt_seconds=doubt)) == text
