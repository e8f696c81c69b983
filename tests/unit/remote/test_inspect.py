"""What nodes are asked for, and what their clocks say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from npuctl.facts.model import NodeFacts
from npuctl.facts.survey import Survey
from npuctl.remote import inspect
from npuctl.remote.inspect import inspect_nodes
from npuctl.remote.ssh import Answer
from tests.making import inventory_of, service_data, spec_of


class Asked:
    """What `ask` was given, and what it answers."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.requests: dict[str, dict[str, Any]] = {}
        self.seconds = 0.0
        self.clock = {"began": 104.0, "ended": 109.0}

    def __call__(
        self,
        _inventory: object,
        program: Any,
        requests: dict[str, dict[str, Any]],
        *,
        seconds: float,
        **_more: Any,
    ) -> Iterator[Answer]:
        self.modules = [name.rpartition(".")[2] for name, _source in program.modules]
        self.requests, self.seconds = requests, seconds
        for node, request in requests.items():
            data = {"replicas": [], "survey": request["survey"], "clock": self.clock}
            yield Answer(node, data=data, sent=100.0, received=110.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(inspect, "ask", made)
    survey = {True: Survey(), False: None}
    monkeypatch.setattr(
        inspect, "read_node", lambda data: NodeFacts(hostname="x", survey=survey[data["survey"] is not None])
    )
    return made


def services() -> Any:
    return spec_of(
        service_data("a", image="own:1", cache="/data/cache"),
        service_data("b", model={"id": "x", "path": "/data/models/b"}),
        service_data("c", model={"id": "x", "source": "modelscope"}),
    )


def test_a_survey_asks_for_what_the_services_name(asked: Asked, tmp_path: Path) -> None:
    inspect_nodes(inventory_of(tmp_path, services(), "n1", "n2"), ["n1", "n2"], survey=True)
    survey = asked.requests["n2"]["survey"]
    assert survey["models"] == ["/data/models/Qwen3-0.6B", "/data/models/b"]
    assert survey["images"] == ["own:1"]
    assert survey["caches"] == ["/data/cache", "/root/.cache"]
    assert (survey["engines"], survey["packages"]) == (["vllm"], ["vllm_ascend"])
    assert "npuctl_survey" in asked.modules


def test_a_look_without_a_survey_carries_and_asks_none(asked: Asked, tmp_path: Path) -> None:
    facts = inspect_nodes(inventory_of(tmp_path, services(), "n1"), ["n1"])
    assert asked.requests["n1"]["survey"] is None
    assert facts.nodes["n1"].survey is None
    assert "npuctl_survey" not in asked.modules
    quick = asked.seconds
    inspect_nodes(inventory_of(tmp_path, services(), "n1"), ["n1"], survey=True)
    assert asked.seconds > quick


@pytest.mark.parametrize(
    ("began", "ended", "offset", "doubt"),
    [
        (104.0, 109.0, 1.5, 2.5),  # between 109-110 and 104-100
        (100.5, 109.9, 0.2, 0.3),
        (3700.5, 3709.9, 3600.2, 0.3),
        (40.0, 49.0, -60.5, 0.5),
        (104.0, 200.0, 47.0, 0.0),  # its clock jumped meanwhile
    ],
)
def test_the_clock_lies_between_what_the_beginning_and_the_end_allow(
    asked: Asked, tmp_path: Path, began: float, ended: float, offset: float, doubt: float
) -> None:
    asked.clock = {"began": began, "ended": ended}
    facts = inspect_nodes(inventory_of(tmp_path, services(), "n1"), ["n1"], survey=True)
    survey = facts.nodes["n1"].survey
    assert survey is not None
    assert survey.host.clock_offset_seconds == pytest.approx(offset)
    assert survey.host.clock_doubt_seconds == pytest.approx(doubt)
