"""The JSON Schema of cluster.yml."""

from __future__ import annotations

from typing import Any

from npuctl.spec.models import ClusterSpec
from npuctl.spec.parse import KEY


def cluster_schema() -> dict[str, Any]:
    """Schema of the whole file: the one key npuctl_cluster and what is below it."""
    inner = ClusterSpec.model_json_schema()
    definitions = inner.pop("$defs", {})
    definitions["ClusterSpec"] = inner
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "npuctl cluster spec",
        "type": "object",
        "properties": {KEY: {"$ref": "#/$defs/ClusterSpec"}},
        "required": [KEY],
        "additionalProperties": False,
        "$defs": definitions,
    }
