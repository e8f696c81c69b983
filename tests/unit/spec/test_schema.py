"""The JSON Schema of cluster.yml says the same as the parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from npuctl.spec.schema import cluster_schema
from tests.making import REPOSITORY, service_data

EXAMPLES = sorted(REPOSITORY.glob("inventories/example-*/group_vars/all/cluster.yml"))


def validator() -> Any:
    schema = cluster_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parents[2].name)
def test_the_schema_takes_every_example(file: Path) -> None:
    validator().validate(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "change", [{"prot": 1}, {"port": 0}, {"port": "8000"}, {"topology": {"tensor": 2}}, {"model": {"id": ""}}]
)
def test_the_schema_refuses_what_the_parser_refuses(change: dict[str, Any]) -> None:
    data = {"npuctl_cluster": {"name": "prod", "services": [service_data(**change)]}}
    assert not validator().is_valid(data)


def test_the_schema_refuses_a_second_top_level_key() -> None:
    data = {"npuctl_cluster": {"name": "prod", "services": []}}
    assert validator().is_valid(data)
    assert not validator().is_valid({**data, "other": 1})
    assert not validator().is_valid({})


def test_every_key_says_what_it_means() -> None:
    schema = cluster_schema()
    silent = [
        f"{name}.{key}"
        for name, model in schema["$defs"].items()
        for key, value in model.get("properties", {}).items()
        if not value.get("description") and "$ref" not in value
    ]
    assert silent == []


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(cluster_schema())) == cluster_schema()
