"""Combinations of flags, environment and product that are known to fail: rules as data, judged here. Pure.

A rule holds where all its conditions hold. A condition names one thing and what must be true of it:

    {arg: max-num-batched-tokens, below: max-model-len}   another argument's number is greater
    {arg: additional-config.torchair_graph_config}        present, also inside a JSON argument
    {arg: enable-chunked-prefill, is: false}
    {arg: max-model-len, is_not: 4096}                    present with another value, or absent
    {env: PYTORCH_NPU_ALLOC_CONF, contains: expandable_segments:True}
    {topology: pipeline_parallel, above: 1}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from npuctl.engines._arguments import ABSENT, argument_or_absent, readable_count
from npuctl.engines._contract import SpecProblem
from npuctl.engines._release_numbers import release_numbers
from npuctl.spec.models import Service


@dataclass(frozen=True, slots=True)
class Rule:
    """One combination.

    Attributes:
        refuses: it ends the engine, or worse; else it starts and does not do what is written.
        since: first release that it is about; () from the first.
        before: first release that it is not about any more; () to the last.
        products: keys of products; empty: all.
        when: its conditions.
        key: of the service, for the message.
        source: where it is published.
    """

    name: str
    refuses: bool
    since: tuple[int, ...]
    before: tuple[int, ...]
    products: tuple[str, ...]
    when: tuple[Mapping[str, Any], ...]
    key: str
    message: str
    hint: str
    source: str


def read_rules(text: str) -> tuple[Rule, ...]:
    """The rules of a file."""
    return tuple(
        Rule(
            name=name,
            refuses=data.get("refuses", True),
            since=release_numbers(data.get("since", "")),
            before=release_numbers(data.get("before", "")),
            products=tuple(data.get("products", ())),
            when=tuple(data["when"]),
            key=data["key"],
            message=" ".join(data["message"].split()),
            hint=" ".join(data["hint"].split()),
            source=data["source"],
        )
        for name, data in yaml.safe_load(text).items()
    )


def broken(
    rules: Sequence[Rule], service: Service, env: Mapping[str, str], *, product: str = "", refuses: bool
) -> list[SpecProblem]:
    """The rules that this service breaks.

    Args:
        rules: all of them.
        service: what a person wrote.
        env: the environment that the engine gets in the end.
        product: its key; "" asks for the rules about every product, a key for the rules about that one.
        refuses: which kind of rules.
    """
    release = release_numbers(service.version)
    return [
        SpecProblem(rule.key, rule.message, rule.hint)
        for rule in rules
        if rule.refuses == refuses
        and (product in rule.products if product else not rule.products)
        and rule.since <= release
        and (not rule.before or release < rule.before)
        and all(_holds(condition, service, env) for condition in rule.when)
    ]


def _holds(condition: Mapping[str, Any], service: Service, env: Mapping[str, str]) -> bool:
    found = _subject(condition, service, env)
    if "is_not" in condition:
        return bool(found != condition["is_not"])
    if found is ABSENT:
        return False
    if "is" in condition:
        return bool(found == condition["is"])
    if "contains" in condition:
        return str(condition["contains"]) in str(found)
    if "above" in condition or "below" in condition:
        return _compares(condition, readable_count(found), service)
    return found is not False


def _compares(condition: Mapping[str, Any], number: int | None, service: Service) -> bool:
    other = condition.get("above", condition.get("below"))
    limit = readable_count(argument_or_absent(service, other) if isinstance(other, str) else other)
    if limit is None or number is None:
        return False
    return number > limit if "above" in condition else number < limit


def _subject(condition: Mapping[str, Any], service: Service, env: Mapping[str, str]) -> Any:
    if "arg" in condition:
        return argument_or_absent(service, condition["arg"])
    if "env" in condition:
        return env.get(condition["env"], ABSENT)
    return getattr(service.topology, condition["topology"])
