"""What a node answered → typed facts; what could not be read is said, never guessed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.model import SCHEMA, ClusterFacts, NodeFacts, Unreachable
from npuctl.facts.read import read_node
from tests.making import facts_of, node

SAMPLES = Path(__file__).parents[1] / "hardware" / "samples"
CONTAINER = "ab" * 32


def raw(sample: str = "a2_idle", **changes: Any) -> dict[str, Any]:
    text = (SAMPLES / f"{sample}.txt").read_text(encoding="utf-8")
    own: dict[str, Any] = {
        "hostname": "server-1",
        "simulated": False,
        "os": "openEuler",
        "version_info": "Version=25.5.2\nascendhal_version=7.35\n",
        "npu_smi": {"rc": 0, "stdout": text, "stderr": ""},
        "docker": {"version": "24.0.9", "error": ""},
        "images": [],
        "containers": [],
        "container_names": {CONTAINER: "npuctl-prod-chat-0"},
        "holders": [],
        "listeners": [],
        "files": {},
        "paths": {"/usr/local/dcmi": "directory"},
        "free_bytes": {"/": 10},
    }
    return own | changes


def test_an_idle_a2_server() -> None:
    facts = read_node(raw())
    assert [chip.id for chip in facts.chips] == list(range(8))
    assert (facts.driver_on_disk, facts.driver_running, facts.npu_error) == ("25.5.2", "25.5.2", "")
    assert (facts.hostname, facts.docker.version) == ("server-1", "24.0.9")
    assert facts.chips[1].memory_used_mb == 3401


def test_a_die_of_an_a3_has_its_physical_id() -> None:
    facts = read_node(raw("a3_26_wide"))
    assert [chip.id for chip in facts.chips] == list(range(16))
    assert (facts.chips[3].npu, facts.chips[3].chip) == (1, 1)


def test_a_chip_of_a_310p_has_the_number_of_its_device() -> None:
    facts = read_node(raw("310p_duo"))
    assert [(chip.id, chip.npu) for chip in facts.chips] == [(0, 64), (1, 64), (2, 320), (3, 320)]


def test_an_unusable_driver_is_told_in_its_own_words() -> None:
    facts = read_node(raw("driver_unusable"))
    assert facts.chips == []
    assert "npu-smi cannot use the driver" in facts.npu_error


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"rc": None, "stdout": "", "stderr": "npu-smi is not installed"}, "npu-smi is not installed"),
        ({"rc": 3, "stdout": "", "stderr": ""}, "npu-smi info ended with 3"),
        ({"rc": 1, "stdout": "out", "stderr": "err"}, "out\nerr"),
        ({"rc": 0, "stdout": "what?", "stderr": ""}, "cannot read npu-smi info"),
        ({"rc": 0, "stdout": "", "stderr": ""}, "cannot read npu-smi info"),
    ],
)
def test_a_tool_that_fails_is_an_error_and_no_chips(answer: dict[str, Any], words: str) -> None:
    facts = read_node(raw(npu_smi=answer))
    assert words in facts.npu_error
    assert (facts.chips, facts.driver_running) == ([], "")


def test_processes_get_the_name_of_their_container() -> None:
    entry = {"pid": 7, "command": "python", "container_id": CONTAINER}
    other = {"pid": 8, "command": "bash", "container_id": ""}
    facts = read_node(
        raw(holders=[{**entry, "chip": 3}, {**other, "chip": 4}], listeners=[{**entry, "port": 80}])
    )
    assert [(holder.chip, holder.container) for holder in facts.holders] == [
        (3, "npuctl-prod-chat-0"),
        (4, ""),
    ]
    assert (facts.listeners[0].port, facts.listeners[0].container) == (80, "npuctl-prod-chat-0")


def test_a_port_whose_process_is_hidden_is_a_fact_too() -> None:
    assert read_node(raw(listeners=[{"port": 80}])).listeners[0].pid is None


@pytest.mark.parametrize(("text", "version"), [("", ""), ("a=b", ""), (" Version = 1.2 \n", "1.2")])
def test_the_version_of_the_driver_on_disk(text: str, version: str) -> None:
    assert read_node(raw(version_info=text)).driver_on_disk == version


def test_facts_survive_their_file() -> None:
    facts = facts_of(node_1=node("a3"), node_2=read_node(raw("310p_duo")))
    facts = facts.model_copy(update={"unreachable": {"node-3": Unreachable(reason="off")}})
    text = facts.model_dump_json(by_alias=True)
    assert f'"schema":{SCHEMA}' in text
    assert ClusterFacts.model_validate_json(text) == facts


def test_a_newer_file_of_the_same_schema_is_read() -> None:
    assert (
        ClusterFacts.model_validate({"schema": 1, "nodes": {"n": {"color": "red"}}}).nodes["n"] == NodeFacts()
    )


def test_one_simulated_node_makes_a_simulated_cluster() -> None:
    assert not facts_of(a=node(), b=node()).simulated
    assert facts_of(a=node(), b=node(simulated=True)).simulated
