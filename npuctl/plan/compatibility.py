"""What is published of versions that work together, or do not: npuctl/data/compatibility/, as types.

Nothing here judges a node; npuctl/plan/checks/versions.py does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from npuctl.hardware.unreadable import UnreadableError
from npuctl.hardware.versions import ReleaseKey, release_key
from npuctl.plan.model import Severity

# What may follow a line: numbers, and a candidate ("25.3" has 25.3.rc1.2); nothing that came before it.
_REPAIRS = re.compile(r"(\.(rc)?[0-9]+)+")


@dataclass(frozen=True, slots=True)
class Pairs:
    """CANN versions and the drivers that a source names with them."""

    cann: tuple[str, ...]
    drivers: tuple[str, ...]
    source: str
    products: tuple[str, ...] = ()

    def names(self, cann: str, product: str) -> bool:
        """Whether it is about this CANN on this product."""
        return _about(self.products, product) and on_any_line(cann, self.cann)


@dataclass(frozen=True, slots=True)
class Refusal:
    """CANN versions that do not work with drivers before `below`."""

    rule: str
    cann: tuple[str, ...]
    below: str
    reason: str
    source: str
    products: tuple[str, ...] = ()

    def hits(self, cann: str, driver: str, product: str) -> bool:
        """Whether this CANN on this driver is such a pair."""
        about = _about(self.products, product) and on_any_line(cann, self.cann)
        return about and before(driver, self.below)


@dataclass(frozen=True, slots=True)
class Floor:
    """A feature that needs at least some driver or CANN; npuctl/data/compatibility/floors.yaml says more."""

    feature: str
    severity: Severity
    says: str
    otherwise: str
    source: str
    argument: str = ""
    environment: str = ""
    default_since: str = ""
    unless: str = ""
    products: tuple[str, ...] = ()
    driver: str = ""
    cann: str = ""

    def concerns(self, product: str) -> bool:
        """Whether the feature is one of this product."""
        return _about(self.products, product)


@dataclass(frozen=True, slots=True)
class OfficialImages:
    """Official images of releases that hold other versions than the release's table."""

    releases: tuple[str, ...]
    source: str
    products: tuple[str, ...] = ()
    cann: tuple[str, ...] = ()
    torch_npu: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Everything that is known.

    Attributes:
        soc_versions: beginning of an image's SOC_VERSION → product.
        tag_suffixes: of official tags, without "-openeuler" → product.
        first_releases: product → the first release with images for it.
    """

    listed: tuple[Pairs, ...]
    refused: tuple[Refusal, ...]
    reported: tuple[Pairs, ...]
    floors: tuple[Floor, ...]
    images: tuple[OfficialImages, ...]
    soc_versions: dict[str, str]
    tag_suffixes: dict[str, str]
    first_releases: dict[str, str]

    def refusal(self, cann: str, driver: str, product: str) -> Refusal | None:
        """The rule that refuses the pair, if one does."""
        return next((rule for rule in self.refused if rule.hits(cann, driver, product)), None)

    def partners(self, cann: str, product: str) -> tuple[Pairs, ...]:
        """Every row about this CANN."""
        return tuple(row for row in self.listed if row.names(cann, product))

    def report(self, cann: str, driver: str, product: str) -> Pairs | None:
        """Where somebody said that the pair runs, if anybody did."""
        named = (row for row in self.reported if row.names(cann, product))
        return next((row for row in named if on_any_line(driver, row.drivers)), None)

    def soc_product(self, soc_version: str) -> str:
        """The product that an image with this SOC_VERSION is for; "" when that is not known."""
        fitting = [start for start in self.soc_versions if soc_version.lower().startswith(start)]
        return self.soc_versions[max(fitting, key=len)] if fitting else ""

    def tag_product(self, suffix: str) -> str:
        """The product that an official tag with this suffix is for; "" when that is not known."""
        return self.tag_suffixes.get(suffix.removesuffix("-openeuler"), "")

    def cann_of(self, release: str, product: str, table: str) -> tuple[str, ...]:
        """What the official image of a release may hold; `table` is what the release's table says."""
        return _expected([(rule, rule.cann) for rule in self._rules(release, product)], table)

    def torch_npu_of(self, release: str, product: str, table: str) -> tuple[str, ...]:
        """As `cann_of`, for torch_npu."""
        return _expected([(rule, rule.torch_npu) for rule in self._rules(release, product)], table)

    def _rules(self, release: str, product: str) -> list[OfficialImages]:
        return [rule for rule in self.images if release in rule.releases and _about(rule.products, product)]


def on_line(version: str, line: str) -> bool:
    """Whether a version is the one that a line names, or repairs it: 25.5.2 is on the line 25.5."""
    text, start = version.lower(), line.lower()
    if text.startswith(start) and (text == start or _REPAIRS.fullmatch(text, len(start))):
        return True
    key = _key(version)
    return key is not None and key == _key(line)


def on_any_line(version: str, lines: Sequence[str]) -> bool:
    """Whether a version is on one of the lines."""
    return any(on_line(version, line) for line in lines)


def before(version: str, floor: str) -> bool:
    """Whether a version is older; a version that cannot be read is not."""
    key, least = _key(version), _key(floor)
    return key is not None and least is not None and key < least


@cache
def compatibility() -> Compatibility:
    """What npuctl/data/compatibility/ says."""
    drivers, images = _load("cann_driver"), _load("images")
    return Compatibility(
        listed=tuple(Pairs(**_tuples(row)) for row in drivers["listed"]),
        refused=tuple(Refusal(**_tuples(row)) for row in drivers["refused"]),
        reported=tuple(Pairs(**_tuples(row)) for row in drivers["reported"]),
        floors=tuple(Floor(**_tuples(row)) for row in _load("floors")["floors"]),
        images=tuple(OfficialImages(**_tuples(row)) for row in images["images"]),
        soc_versions=images["soc_versions"],
        tag_suffixes=images["tag_suffixes"],
        first_releases=images["first_releases"],
    )


def _load(name: str) -> dict[str, Any]:
    text = files("npuctl").joinpath(f"data/compatibility/{name}.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


def _about(products: Sequence[str], product: str) -> bool:
    return not products or product in products


def _expected(rules: Sequence[tuple[OfficialImages, tuple[str, ...]]], table: str) -> tuple[str, ...]:
    named = [(rule, versions) for rule, versions in rules if versions]
    own = [version for rule, versions in named if rule.products for version in versions]
    more = [version for rule, versions in named if not rule.products for version in versions]
    return tuple(own or [table, *more])


def _key(version: str) -> ReleaseKey | None:
    try:
        return release_key(version)
    except UnreadableError:
        return None
