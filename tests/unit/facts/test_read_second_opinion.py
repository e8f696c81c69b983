"""Reports of msprechecker, in its lay-out and in our own words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npuctl.facts.read_second_opinion import read_second_opinions
from npuctl.facts.survey import SecondOpinion
from npuctl.facts.unread import Unread


def title(word: str) -> str:
    return f" {word} CHECK REPORT ".center(80, "=")


def row(what: str, severity: str, seen: str, expected: str, advice: str) -> str:
    return (
        f"\x1b[96m-- {what}\x1b[0m \x1b[93m[{severity}]\x1b[0m\n"
        f"    - \x1b[1;91m{seen}\x1b[0m \x1b[1;97m->\x1b[0m \x1b[1;92m{expected}\x1b[0m"
        f" \x1b[38;5;247m<-- {advice}\x1b[0m\n"
    )


def answer(stderr: str = "", **changes: Any) -> dict[str, Any]:
    own = {"tool": "msprechecker", "version": "0.4.0", "rc": 0, "stdout": "", "stderr": stderr}
    return {**own, **changes}


def read(*answers: dict[str, Any]) -> tuple[list[SecondOpinion], dict[str, str]]:
    unread = Unread()
    return read_second_opinions(answers, unread), unread.reasons


def test_every_row_of_every_block_becomes_an_opinion() -> None:
    report = "\n".join(
        [
            "\x1b[33mWARNING: it would rather not be root.\n\nSo it says.\x1b[0m",
            title("SYSTEM"),
            row("pages", "RECOMMEND", "madvise", "always", "更稳定"),
            row("clock", "NOK", "2", "3", "faster -> better"),
            title("ASCEND"),
            row("driver.version", "WARNING", "<missing>", "24.1", "newer is quicker"),
        ]
    )
    opinions, reasons = read(answer(report))
    assert [(o.what, o.severity, o.seen, o.expected, o.advice) for o in opinions] == [
        ("clock", "NOK", "2", "3", "faster -> better"),
        ("driver.version", "WARNING", "<missing>", "24.1", "newer is quicker"),
        ("pages", "RECOMMEND", "madvise", "always", "更稳定"),
    ]
    assert {(o.tool, o.tool_version) for o in opinions} == {("msprechecker", "0.4.0")}
    assert reasons == {}


def test_the_order_of_blocks_says_nothing_and_a_row_that_comes_twice_counts_once() -> None:
    rows = [row("a", "NOK", "1", "2", "x"), row("b", "NOK", "1", "2", "x")]
    forth = "\n".join([title("SYSTEM"), rows[0], title("ASCEND"), rows[1], rows[1]])
    back = "\n".join([title("ASCEND"), rows[1], title("SYSTEM"), rows[0]])
    assert read(answer(forth))[0] == read(answer(back))[0]
    assert len(read(answer(forth))[0]) == 2


def test_what_a_tool_printed_over_several_lines_is_one_opinion() -> None:
    report = f"{title('SYSTEM')}\n" + row("port", "NOK", "link status: DOWN\nand more", "UP", "look\nat it")
    (opinion,) = read(answer(report))[0]
    assert (opinion.seen, opinion.advice) == ("link status: DOWN and more", "look at it")


def test_the_findings_of_several_tools_stand_side_by_side() -> None:
    report = f"{title('SYSTEM')}\n" + row("a", "NOK", "1", "2", "x")
    opinions, _ = read(answer(report), answer(report, tool="another"))
    assert [opinion.tool for opinion in opinions] == ["msprechecker", "another"]


def test_a_clean_report_has_no_opinion_and_no_reason() -> None:
    assert read(answer(f"{title('SYSTEM')}\n\x1b[92mAll checks passed\x1b[0m")) == ([], {})


def test_a_link_of_which_it_knows_nothing_is_no_opinion() -> None:
    report = f"{title('SYSTEM')}\n" + row("HCCL", "WARNING", "未知协议", "-", "perhaps a direct cable")
    assert read(answer(report)) == ([], {})
    report = f"{title('SYSTEM')}\n" + row("HCCL", "WARNING", "fiber", "-", "a direct cable")
    assert [opinion.seen for opinion in read(answer(report))[0]] == ["fiber"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rc": None, "stderr": "msprechecker did not end within 30 s"}, "did not end within 30 s"),
        ({"rc": 1, "stderr": "Traceback\nKeyError: 'x'"}, "ended with 1: KeyError: 'x'"),
        ({"rc": 0, "stderr": "something else"}, "no report in its answer: something else"),
        ({"rc": 0, "stderr": ""}, "no report in its answer: no word"),
    ],
)
def test_a_tool_that_gave_no_report_is_said_to_be_unread(changes: dict[str, Any], why: str) -> None:
    opinions, reasons = read({**answer(), **changes})
    assert opinions == []
    assert why in reasons["second opinion of msprechecker"]


def test_what_it_said_before_it_broke_counts() -> None:
    report = (
        f"{title('ASCEND')}\n"
        + row("a", "NOK", "1", "2", "x")
        + "Traceback (most recent call last):\nKeyError"
    )
    opinions, reasons = read(answer(report, rc=1))
    assert [(opinion.what, opinion.advice) for opinion in opinions] == [("a", "x")]
    assert reasons == {"second opinion of msprechecker": "ended with 1: KeyError"}


def test_without_the_tool_there_is_nothing() -> None:
    assert read() == ([], {})


def test_a_very_long_text_is_cut() -> None:
    report = f"{title('SYSTEM')}\n" + row("a", "NOK", "x" * 5000, "2", "y" * 5000)
    (opinion,) = read(answer(report))[0]
    assert len(opinion.seen) == len(opinion.advice) == 300


@given(
    st.lists(
        st.sampled_from([title("SYSTEM"), row("a", "NOK", "1", "2", "x"), "-- a [NOK]", "\x1b[0m"])
        | st.text()
    )
)
def test_any_text_is_read_without_an_exception(parts: list[str]) -> None:
    read(answer("\n".join(parts)))
