"""Whole plans, as data: engines/ENGINE/CASE/{cluster.yml, facts.json, expected.json}.

expected.json is the plan's to_json(), or the error's as_data(). To make a case: write cluster.yml and
facts.json (`npuctl inspect --save`), run with --update-golden, and read the result.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from npuctl.errors import NpuctlError
from npuctl.facts.model import ClusterFacts
from npuctl.plan.build import build_plan, resolve_hosts
from npuctl.spec.parse import parse_cluster

ROOT = Path(__file__).parent / "engines"
CASES = sorted(path.parent for path in ROOT.glob("*/*/cluster.yml"))
SECRETS = {"chat_key": "correct horse battery staple"}


def outcome(case: Path) -> dict[str, Any]:
    facts = ClusterFacts.model_validate_json((case / "facts.json").read_bytes())
    names = sorted({*facts.nodes, *facts.unreachable})
    try:
        spec = parse_cluster((case / "cluster.yml").read_text(encoding="utf-8"), file="cluster.yml")
        hosts = resolve_hosts(spec, {"serving": names}, names, file="cluster.yml")
        return build_plan(spec, hosts, facts, SECRETS, file="cluster.yml").to_json()
    except NpuctlError as error:
        return error.as_data()


def test_there_are_cases() -> None:
    assert len(CASES) >= 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.relative_to(ROOT).parts))
def test_the_plan_is_the_expected_one(case: Path, update_golden: bool) -> None:  # noqa: FBT001
    made = json.dumps(outcome(case), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    file = case / "expected.json"
    if update_golden:
        file.write_text(made, encoding="utf-8")
    assert json.loads(made) == json.loads(file.read_text(encoding="utf-8"))
    assert SECRETS["chat_key"] not in made
