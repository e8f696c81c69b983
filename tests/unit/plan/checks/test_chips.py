"""The chips: what is missing, unwell, held or unknown is said of that chip, and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.facts.model import ChipFacts, ClusterFacts, HolderFacts, NodeFacts
from npuctl.facts.survey import ChipSurvey, Survey
from npuctl.hardware.catalog import A2
from npuctl.plan.model import Finding
from tests.making import chips, facts_of, node, plan_of, service_data, spec_of


def asked(product: str = "a2", **of_chip: dict[str, Any]) -> list[ChipSurvey]:
    """Every chip's answers; `c3={...}` changes those of chip 3."""
    return [
        ChipSurvey(
            **{"id": chip.id, "npu": chip.npu, "chip": chip.chip, "health": "OK"}
            | {"ecc_uncorrectable": 0, "ecc_isolated_pages": 0}
            | of_chip.get(f"c{chip.id}", {})
        )
        for chip in chips(product)
    ]


def surveyed(product: str = "a2", *, survey: dict[str, Any] | None = None, **changes: Any) -> NodeFacts:
    """A healthy node that was looked at thoroughly; `survey` and `changes` say what is otherwise."""
    own = {"chips": asked(product), "pci_chips": len(chips(product)), **(survey or {})}
    devices = [f"/dev/davinci{chip.id}" for chip in chips(product)]
    return node(product, **{"devices": devices, "survey": Survey(**own), **changes})


def npu_findings(facts: ClusterFacts, spec: dict[str, Any] | None = None) -> list[Finding]:
    found = plan_of(spec_of(service_data(**({"chips": [0]} | (spec or {})))), facts).findings
    return [finding for finding in found if finding.id.startswith("npu.")]


def findings(found: NodeFacts, **spec: Any) -> list[Finding]:
    return npu_findings(facts_of(node_1=found), spec)


def said(found: list[Finding]) -> list[tuple[str, str, int | None]]:
    return [(finding.id, finding.severity, finding.npu) for finding in found]


def without(*gone: int, product: str = "a2") -> list[ChipFacts]:
    return [chip for chip in chips(product) if chip.id not in gone]


@pytest.mark.parametrize("product", ["a2", "a3"])
def test_a_healthy_node_has_nothing_to_say(product: str) -> None:
    assert findings(surveyed(product)) == []


def test_facts_without_a_survey_are_judged_by_the_table_and_for_planned_chips_alone() -> None:
    unwell = [chip.model_copy(update={"health": "Alarm"}) if chip.id in {0, 3} else chip for chip in chips()]
    assert said(findings(node(chips=unwell))) == [("npu.health", "error", 0)]


# -- missing ---------------------------------------------------------------------------------------


def test_a_chip_that_lspci_and_its_device_node_know_is_named() -> None:
    (finding,) = findings(surveyed(chips=without(5)))
    assert said([finding]) == [("npu.missing", "error", 5)]
    assert finding.seen == (
        "npu-smi does not list it; /dev/davinci5 is there, lspci counts 8 NPUs, npu-smi lists 7 chips"
    )
    assert "dmesg" in finding.remedy


def test_a_chip_without_a_device_node_is_named_by_the_gap_that_it_left() -> None:
    (finding,) = findings(surveyed(chips=without(2), devices=[]))
    assert said([finding]) == [("npu.missing", "error", 2)]
    assert "lspci counts 8 NPUs, npu-smi lists 7 chips" in finding.seen


def test_a_chip_that_only_a_device_node_shows_is_named_without_lspci() -> None:
    (finding,) = findings(surveyed(chips=without(7), survey={"pci_chips": None}))
    assert said([finding]) == [("npu.missing", "error", 7)]
    assert "/dev/davinci7 is there" in finding.seen


def test_every_missing_chip_is_a_finding() -> None:
    assert [finding.npu for finding in findings(surveyed(chips=without(3, 6)))] == [3, 6]


def test_missing_chips_whose_numbers_cannot_be_told_are_one_finding() -> None:
    sparse = [chip.model_copy(update={"id": chip.id + 40}) for chip in chips()]
    (finding,) = findings(surveyed(chips=sparse, devices=[], survey={"pci_chips": 9}), chips=[40])
    assert said([finding]) == [("npu.missing", "error", None)]
    assert finding.seen == "lspci counts 9 NPUs, npu-smi lists 8 chips"


@pytest.mark.parametrize("on_bus", [4, 8])
def test_the_two_chips_of_a_duo_may_be_one_or_two_devices_of_the_bus(on_bus: int) -> None:
    duo = [chip.model_copy(update={"bus_id": f"0000:0{chip.npu}:00.0"}) for chip in chips("310p")]
    whole = surveyed("310p", chips=duo, survey={"pci_chips": on_bus})
    spec = {"chips": [0], "args": {"dtype": "float16"}}
    assert findings(whole, **spec) == []
    half = whole.model_copy(update={"chips": duo[2:], "devices": whole.devices[2:]})
    assert {finding.id for finding in findings(half, **(spec | {"chips": [2]}))} == {"npu.missing"}


def test_a_virtual_machine_with_fewer_chips_than_a_server_is_no_fault() -> None:
    four = {"chips": asked()[:4], "pci_chips": 4}
    small = surveyed(chips=chips(count=4), devices=[f"/dev/davinci{n}" for n in range(4)], survey=four)
    assert findings(small) == []


def test_a_table_that_was_cut_counts_no_chips() -> None:
    cut = surveyed(chips=without(7), npu_table_complete=False)
    assert [finding.id for finding in findings(cut)] == ["npu.table"]


def peers(*counts: int) -> ClusterFacts:
    """Nodes with so many chips, on the bus as in the table."""
    return facts_of(
        **{
            f"node_{position}": surveyed(
                chips=chips(count=count),
                devices=[],
                survey={"chips": asked()[:count], "pci_chips": count},
            )
            for position, count in enumerate(counts, 1)
        }
    )


def of_peers(*counts: int) -> list[tuple[str, str, int | None]]:
    hosts = [f"node-{position}" for position in range(1, len(counts) + 1)]
    found = npu_findings(peers(*counts), {"hosts": hosts, "replicas": len(hosts)})
    assert {finding.id for finding in found} <= {"npu.missing"}
    return [(finding.node, finding.severity, finding.npu) for finding in found]


def test_an_odd_node_among_equal_ones_is_named() -> None:
    assert of_peers(8, 7, 8) == [("node-2", "warning", 7)]
    assert of_peers(8, 8, 8) == []


@pytest.mark.parametrize("counts", [(8, 7), (8, 4, 2), (8, 8, 4, 4)])
def test_nodes_of_several_sizes_have_no_odd_one(counts: tuple[int, ...]) -> None:
    assert of_peers(*counts) == []


# -- health ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "severity"),
    [("Warning", "warning"), ("Alarm", "error"), ("Critical", "error"), ("UNKNOWN", "error")],
)
def test_an_unwell_chip_refuses_where_it_is_planned_and_warns_elsewhere(word: str, severity: str) -> None:
    sick = surveyed(survey={"chips": asked(c4={"health": word})})
    assert said(findings(sick, chips=[4])) == [("npu.health", severity, 4)]
    (elsewhere,) = findings(sick, chips=[0])
    assert said([elsewhere]) == [("npu.health", "warning", 4)]
    assert elsewhere.service == ""


def test_the_chips_own_answer_beats_the_table_which_may_be_its_controllers() -> None:
    alarm = {"health": "Alarm", "error_codes": ["80C98001"], "error_texts": ["node type=AIC"]}
    (finding,) = findings(surveyed(survey={"chips": asked(c0=alarm)}))
    assert (finding.id, finding.severity, finding.npu) == ("npu.health", "error", 0)
    assert finding.seen == (
        "health Alarm when asked by its number; the table of npu-smi info says OK;"
        " 80C98001: the AI core could not be reset"
    )
    assert "npu-smi set -t reset -i 0 -c 0" in finding.remedy
    assert "RestartNPU" in finding.remedy


def test_a_table_that_is_worse_than_the_chips_answer_warns() -> None:
    table = [chip.model_copy(update={"health": "Alarm"}) if chip.id == 0 else chip for chip in chips()]
    (finding,) = findings(surveyed(chips=table))
    assert said([finding]) == [("npu.health", "warning", 0)]
    assert "asked by its number it says OK" in finding.seen


def test_a_chip_that_did_not_answer_is_judged_by_the_table() -> None:
    table = [chip.model_copy(update={"health": "Critical"}) if chip.id == 0 else chip for chip in chips()]
    assert said(findings(surveyed(chips=table, survey={"chips": asked(c0={"health": ""})}))) == [
        ("npu.health", "error", 0)
    ]


def test_of_several_codes_the_gravest_says_what_to_do() -> None:
    codes = {"health": "Alarm", "error_codes": ["80E18401", "80E18402", "A4025021"], "error_texts": ["x"] * 3}
    (finding,) = findings(surveyed(survey={"chips": asked(c0=codes)}))
    assert "SeparateNPU" in finding.remedy
    assert "reset" not in finding.remedy
    assert finding.seen.count(";") == 4
    assert "80E18402: 64 rows of HBM" in finding.seen


def test_a_code_that_nobody_published_keeps_the_tools_own_words() -> None:
    codes = {"health": "Alarm", "error_codes": ["DEADBEEF"], "error_texts": ["something broke"]}
    (finding,) = findings(surveyed(survey={"chips": asked(c0=codes)}))
    assert "DEADBEEF: unknown code; npu-smi's own text: something broke" in finding.seen
    assert "ask the vendor" in finding.remedy


def test_a_second_die_is_asked_about_by_its_own_number() -> None:
    alarm = {"health": "Alarm", "error_codes": ["80C98001"]}
    (finding,) = findings(surveyed("a3", survey={"chips": asked("a3", c5=alarm)}), chips=[5])
    assert finding.npu == 5
    assert "-i 2 -c 1" in finding.remedy


# -- memory errors, temperature --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "pages", "remedy"),
    [
        (1, 0, "watch the number"),
        (0, 1, "watch the number"),
        (3, 16, "checked soon"),
        (9, 64, "replaced"),
    ],
)
def test_uncorrectable_errors_warn_wherever_they_are(errors: int, pages: int, remedy: str) -> None:
    counted = {"ecc_uncorrectable": errors, "ecc_isolated_pages": pages}
    (finding,) = findings(surveyed(survey={"chips": asked(c6=counted)}))
    assert said([finding]) == [("npu.ecc", "warning", 6)]
    assert f"{errors} uncorrectable" in finding.seen
    assert f"{pages} isolated" in finding.seen
    assert remedy in finding.remedy


def test_counters_that_were_not_read_are_not_judged() -> None:
    unread = {"ecc_uncorrectable": None, "ecc_isolated_pages": None}
    assert findings(surveyed(survey={"chips": asked(c6=unread)})) == []


@pytest.mark.parametrize(("celsius", "hot"), [(104, False), (105, True), (None, False)])
def test_a_chip_is_hot_from_the_published_threshold_on(celsius: int | None, *, hot: bool) -> None:
    table = [chip.model_copy(update={"temperature_c": celsius if chip.id == 2 else 40}) for chip in chips()]
    assert said(findings(surveyed(chips=table))) == ([("npu.temperature", "warning", 2)] if hot else [])


# -- held, used ------------------------------------------------------------------------------------


def test_all_holders_of_a_chip_are_one_finding_that_names_the_first() -> None:
    holders = [
        HolderFacts(chip=0, pid=pid, command=f"python train.py --rank {pid}", container="somebodys")
        for pid in range(100, 105)
    ]
    (finding,) = findings(surveyed(holders=holders))
    assert said([finding]) == [("npu.held", "error", 0)]
    assert "pid 100 in container somebodys: python train.py --rank 100" in finding.seen
    assert finding.seen.endswith("and 2 more")


def test_memory_in_use_without_a_holder_says_who_may_be_behind_it() -> None:
    table = chips()
    table[0] = table[0].model_copy(update={"memory_used_mb": A2.idle_memory_mb + 1})
    (finding,) = findings(surveyed(chips=table))
    assert said([finding]) == [("npu.memory", "error", 0)]
    assert "container or virtual machine that hides its processes" in finding.remedy
    assert "npu-smi set -t reset -i 0 -c 0" in finding.remedy


# -- readable, unread ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("npu-smi did not end within 20 s", "reboot the node if npu-smi hangs still"),
        ("npu-smi is not installed", "install the NPU driver"),
        ("dcmi module initialize failed. ret is -8005", "not usable from here"),
    ],
)
def test_an_npu_smi_that_does_not_answer_is_told_apart(error: str, remedy: str) -> None:
    survey = {"chips": [], "unread": {"npu-smi info -m": "not asked: npu-smi hung before"}}
    (finding,) = findings(surveyed(chips=[], npu_error=error, survey=survey))
    assert (finding.id, finding.seen) == ("npu.readable", error)
    assert remedy in finding.remedy


def test_questions_without_an_answer_are_one_finding_a_node() -> None:
    failed = 'Failed to query "ecc" info.'
    unread = {f"chip {number}: ecc": failed for number in (0, 1, 2, 5)}
    unread |= {"card 3: board": "npu-smi did not end within 20 s", "PCI bus": "lspci is not installed"}
    (finding,) = findings(surveyed(survey={"unread": unread}))
    assert said([finding]) == [("npu.unread", "warning", None)]
    assert finding.seen == (
        f"ecc of chip 0-2,5: {failed}; board of card 3: npu-smi did not end within 20 s;"
        " PCI bus: lspci is not installed"
    )


def test_what_a_missing_chip_and_other_checks_explain_is_not_said_again() -> None:
    unread = {
        "chip 5: health": "Invalid card id.",
        "card 5: board": "Invalid card id.",
        "chip 1: link": "hccn_tool is busy, please try again.",
        "/etc/hccn.conf": "absent",
        "weights": "no answer within 60 s",
    }
    found = findings(surveyed(chips=without(5), survey={"unread": unread}))
    assert [finding.id for finding in found] == ["npu.missing"]
