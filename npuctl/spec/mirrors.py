"""The mirrors that a spec comes to, its preset filled in. Pure; the presets are npuctl/data/mirrors.yaml."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from npuctl.spec.machines import Mirrors
from npuctl.spec.models import ClusterSpec
from npuctl.spec.parts import Frozen


def effective_mirrors(spec: ClusterSpec) -> Mirrors:
    """The mirrors of the spec with those of its preset for each key that it does not give.

    A key that is given takes the place of the preset's, `pip.index` as well as `pip`; null turns it off. An
    address map such as `git` or `docker.images` is one key.
    """
    if spec.mirrors is None:
        return Mirrors()
    given = _given(spec.mirrors)
    preset = presets()[spec.mirrors.preset]
    return Mirrors.model_validate({**_merged(preset, given), "preset": "none"})


@cache
def presets() -> dict[str, dict[str, Any]]:
    """Preset → its keys, as a spec would write them."""
    text = files("npuctl").joinpath("data/mirrors.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


def _given(part: Frozen) -> dict[str, Any]:
    """What a person wrote of a part of the spec, and nothing that was filled in."""
    values = {name: getattr(part, name) for name in part.model_fields_set}
    return {name: _given(value) if isinstance(value, Frozen) else value for name, value in values.items()}


def _merged(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    merged = {**preset, **given}
    for name in ("pip", "docker"):
        if isinstance(preset.get(name), dict) and isinstance(given.get(name), dict):
            merged[name] = {**preset[name], **given[name]}
    return merged
