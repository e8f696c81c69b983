"""The matrix: what a person sees of the NPUs' probes, and the same as data."""

from __future__ import annotations

from npuctl.display.reach import reach_result, reach_text
from npuctl.facts.reach import Outcome, Reach
from npuctl.plan.reach import Card
from tests.making import network_of, node, on_network, reach_of

BAD: Card = ("node-2", 3)


def probed(count: int, bad: Outcome = "lost", *, chips: int = 8) -> Reach:
    facts = network_of(*(on_network(index + 1, count=chips) for index in range(count)))
    return reach_of(facts, lambda source, peer: bad if BAD in (source, peer) else "ok")


def test_a_healthy_network_is_one_line() -> None:
    assert reach_text(probed(4, "ok")) == (
        "NPU network: 768 of 768 probes ok, in 1.9 s (32 NPUs of 4 nodes; hccn_tool -ping)"
    )


def test_a_healthy_network_can_be_seen_whole() -> None:
    text = reach_text(probed(2, "ok", chips=2), whole=True)
    assert text.splitlines()[2:] == [
        "                n1 n2".replace("n1", "-1").replace("n2", "-2"),
        "                01 01",
        "  node-1 NPU  0    ..",
        "         NPU  1    ..",
        "  node-2 NPU  0 ..",
        "         NPU  1 ..",
    ]


def test_a_bad_card_stands_out_in_its_row_and_its_column() -> None:
    lines = reach_text(probed(4)).splitlines()
    assert lines[0].startswith("NPU network: 720 of 768 probes ok")
    assert lines[2:4] == [
        "                node-1   node-2   node-3   node-4",
        "                01234567 01234567 01234567 01234567",
    ]
    assert "  node-1 NPU  0          ...X.... ........ ........" in lines
    assert "         NPU  3 XXXXXXXX          XXXXXXXX XXXXXXXX  < bad" in lines
    assert "  node-4 NPU  0 ........ ...X.... ........" in lines
    (marks,) = [line for line in lines if "^" in line]
    assert marks.index("^") == lines[3].index("01234567", 20) + 3
    assert lines[-1] == "  bad: NPU 3 of node-2: 24 of 24 probes to it and 24 of 24 from it lost"
    assert max(map(len, lines)) <= 100


def test_what_was_lost_in_part_and_what_gave_no_figures_have_marks_of_their_own() -> None:
    assert "  node-1 NPU  0          ...~...." in reach_text(probed(2, "partly")).splitlines()
    unread = reach_text(probed(2, "unread"))
    assert "         NPU  3 ????????" in unread.splitlines()
    assert "bad" not in unread


def test_of_a_large_cluster_only_what_lost_something_is_shown() -> None:
    text = reach_text(probed(64))
    lines = text.splitlines()
    assert "4080 of 4096 probes ok" in lines[0]
    assert "a sample of 258048 pairs" in lines[0]
    assert len(lines) < 20
    assert any(line.startswith("  node-2  NPU  3") and line.endswith("< bad") for line in lines)
    assert "9 of 512 rows" in text


def test_a_cluster_that_lost_everything_still_fits_a_screen() -> None:
    facts = network_of(*(on_network(index + 1) for index in range(20)))
    lines = reach_text(reach_of(facts, lambda _source, _peer: "lost")).splitlines()
    assert len(lines) < 60
    assert "nothing passes between" in lines[-1]


def test_nodes_that_took_no_part_are_named() -> None:
    facts = network_of(on_network(1), on_network(2), node("310p"))
    text = reach_text(reach_of(facts, lambda _source, _peer: "ok"))
    assert "  node-3 took no part: its ports were not read" in text


def test_without_any_probe_there_is_nothing_to_show() -> None:
    assert reach_text(Reach()) == ""


def test_as_data_every_lost_probe_is_there_and_what_it_points_at() -> None:
    data = reach_result(probed(4))
    assert (data["asked"], data["ok"], len(data["probes"])) == (768, 720, 48)
    assert data["broken"] == [
        {"kind": "card", "nodes": ["node-2"], "npu": 3, "to_lost": 24, "to_asked": 24}
        | {"from_lost": 24, "from_asked": 24}
    ]


def test_where_no_npu_has_a_network_it_is_said_once() -> None:
    facts = network_of(node("310p"), node("310p"))
    text = reach_text(reach_of(facts, lambda _source, _peer: "ok"))
    assert text == "NPU network: nothing to probe: its ports were not read"
