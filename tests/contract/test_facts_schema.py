"""Facts are read by others: keys may come, none may go or change its type without a new schema number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from npuctl.facts.model import SCHEMA, facts_schema

RECORDED = Path(__file__).with_name("facts_keys.json")


def keys(schema: dict[str, Any]) -> dict[str, str]:
    """TYPE.KEY → what stands there."""
    kinds = {"ClusterFacts": schema, **schema["$defs"]}
    return {
        f"{kind}.{key}": _type(entry)
        for kind, definition in kinds.items()
        for key, entry in definition.get("properties", {}).items()
    }


def _type(entry: dict[str, Any]) -> str:
    if "anyOf" in entry:
        return " | ".join(_type(part) for part in entry["anyOf"])
    if "$ref" in entry:
        return str(entry["$ref"].rpartition("/")[2])
    inner = entry.get("items") or entry.get("additionalProperties") or {}
    kind = str(entry.get("type", "any"))
    return f"{kind} of {_type(inner)}" if isinstance(inner, dict) and inner else kind


def test_no_key_of_the_facts_goes_or_changes() -> None:
    """A key that was added belongs into the record: `python -m tests.contract.test_facts_schema` writes it."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert recorded["schema"] == SCHEMA
    now = keys(facts_schema())
    gone = {name: kind for name, kind in recorded["keys"].items() if now.get(name) != kind}
    assert gone == {}
    assert sorted(set(now) - set(recorded["keys"])) == []


if __name__ == "__main__":
    record = {"schema": SCHEMA, "keys": keys(facts_schema())}
    RECORDED.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
