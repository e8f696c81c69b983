"""What other tools found is shown under their own name, and never refuses anything."""

from __future__ import annotations

from npuctl.facts.survey import SecondOpinion, Survey
from npuctl.plan.checks import second_opinion
from npuctl.plan.checks._contract import Checked, CheckedNode
from tests.making import node, service_data, spec_of


def checked(*opinions: SecondOpinion, survey: bool = True) -> Checked:
    own = Survey(second_opinions=list(opinions)) if survey else None
    return Checked(spec_of(service_data()), (CheckedNode("node-1", node(survey=own), None),))


def test_a_finding_of_another_tool_is_a_warning_with_its_own_words() -> None:
    opinion = SecondOpinion(
        tool="msprechecker",
        tool_version="0.4.0",
        severity="NOK",
        what="release",
        seen="4.19",
        expected="5.10",
        advice="升级内核",
    )
    (finding,) = second_opinion.findings(checked(opinion))
    assert (finding.id, finding.severity) == ("second_opinion.msprechecker", "warning")
    assert (finding.node, finding.origin) == ("node-1", "msprechecker 0.4.0")
    assert (finding.seen, finding.expected, finding.remedy) == ("release: 4.19 [NOK]", "5.10", "升级内核")


def test_a_tool_that_did_not_tell_its_version_is_named_alone() -> None:
    (finding,) = second_opinion.findings(checked(SecondOpinion(tool="msprechecker")))
    assert finding.origin == "msprechecker"


def test_without_another_tool_nothing_is_said() -> None:
    assert list(second_opinion.findings(checked())) == []
    assert list(second_opinion.findings(checked(survey=False))) == []
