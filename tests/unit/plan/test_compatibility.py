"""What npuctl/data/compatibility/ says, and how its versions are compared."""

from __future__ import annotations

from typing import Any

import pytest

from npuctl.engines import load
from npuctl.engines._release_numbers import release_numbers
from npuctl.hardware.catalog import PRODUCTS
from npuctl.hardware.versions import release_key
from npuctl.plan.compatibility import before, compatibility, on_line
from tests.making import service

KNOWN = compatibility()
KEYS = {product.key for product in PRODUCTS}


@pytest.mark.parametrize(
    ("version", "line", "expected"),
    [
        ("25.5.2", "25.5", True),
        ("25.5.1.3", "25.5", True),
        ("25.3.rc1.2", "25.3", True),
        ("25.3.rc1", "25.3.RC1", True),
        ("25.3.rc1.2", "25.3.RC1", True),
        ("25.5.2", "25.5.2", True),
        ("25.5.2", "25.5.1", False),
        ("25.50.1", "25.5", False),
        ("25.3.rc12", "25.3.RC1", False),
        ("8.5.0.alpha001", "8.5.0", False),
        ("8.5.0.alpha001", "8.5.0.alpha001", True),
        ("9.1.0.beta1", "9.1.0-beta.1", True),
        ("9.1.0-beta.1", "9.1", False),
        ("24.1.rc3.b999", "24.1.RC3", False),
        ("", "25.5", False),
    ],
)
def test_a_version_is_on_a_line_or_not(version: str, line: str, *, expected: bool) -> None:
    assert on_line(version, line) is expected


@pytest.mark.parametrize(
    ("version", "floor", "expected"),
    [
        ("25.0.rc1.1", "25.1.RC1", True),
        ("24.1.rc3.7", "25.0.RC1", True),
        ("25.0.rc1", "25.0.RC1", False),
        ("25.5.1", "25.5.1", False),
        ("25.5.0", "25.5.1", True),
        ("26.0.rc1", "25.5.1", False),
        ("V100R001C23", "25.0.RC1", False),
        ("", "25.0.RC1", False),
    ],
)
def test_a_version_is_before_a_floor_or_not(version: str, floor: str, *, expected: bool) -> None:
    assert before(version, floor) is expected


@pytest.mark.parametrize(
    ("cann", "driver", "rule"),
    [
        ("8.5.1", "24.1.rc3.7", "cann-8.5-needs-hdk-25.0"),
        ("8.5.0", "23.0.7", "cann-8.5-needs-hdk-25.0"),
        ("8.3.RC2", "24.1.0", "cann-8.3-needs-hdk-25.0"),
        ("9.0.0", "24.1.0.3", "cann-9.0-needs-hdk-25.0"),
        ("9.1.0", "25.0.rc1.1", "cann-9.1-needs-hdk-25.2"),
        ("9.1.1", "24.1.0", "cann-9.1-needs-hdk-25.2"),
        ("9.1.0", "25.2.0", None),
        ("9.0.1", "25.0.rc1", None),
        ("8.5.1", "25.0.rc1", None),
        ("8.2.RC1", "24.1.rc2", None),
        ("8.0.0", "23.0.7", None),
    ],
)
def test_a_pair_is_refused_by_a_rule_or_not(cann: str, driver: str, rule: str | None) -> None:
    found = KNOWN.refusal(cann, driver, "a2")
    assert (found.rule if found else None) == rule


@pytest.mark.parametrize(
    ("cann", "driver", "product", "expected"),
    [
        ("8.5.1", "25.5.2", "a2", True),
        ("8.5.0", "25.2.0", "a3", True),
        ("8.5.1", "26.0.rc1", "a2", False),
        ("8.5.2", "26.0.rc1", "a2", True),
        ("9.0.0", "26.0.rc1", "a2", True),
        ("9.0.1", "26.0.rc3", "a2", True),
        ("9.0.0", "26.0.rc3", "a2", False),
        ("9.1.0", "26.1.0", "a2", True),
        ("9.1.0", "25.6.rc1", "950", True),
        ("9.1.0", "25.6.rc1", "a2", False),
        ("8.2.RC1", "24.1.rc3.7", "a2", True),
        ("8.3.RC1", "25.3.rc1", "a2", True),
        ("8.3.RC2", "25.3.rc1", "a2", False),
    ],
)
def test_a_pair_is_listed_or_not(cann: str, driver: str, product: str, *, expected: bool) -> None:
    rows = KNOWN.partners(cann, product)
    assert any(on_line(driver, line) for row in rows for line in row.drivers) is expected


def test_no_pair_is_both_listed_and_refused() -> None:
    for row in KNOWN.listed:
        for cann in row.cann:
            for driver in row.drivers:
                # The oldest of a line: its candidate.
                oldest = driver if driver.count(".") > 1 else f"{driver}.RC1"
                whole = cann if cann.count(".") > 1 else f"{cann}.0"
                for product in row.products or KEYS:
                    assert KNOWN.refusal(whole, oldest, product) is None, (cann, driver, product)


def test_every_row_names_its_source_and_known_products() -> None:
    rows: list[Any] = [*KNOWN.listed, *KNOWN.refused, *KNOWN.reported, *KNOWN.images, *KNOWN.floors]
    for row in rows:
        assert row.source
        assert set(row.products) <= KEYS
    assert {*KNOWN.soc_versions.values(), *KNOWN.tag_suffixes.values(), *KNOWN.first_releases} <= KEYS
    for rule in KNOWN.refused:
        assert rule.reason
        release_key(rule.below)
    for floor in KNOWN.floors:
        assert bool(floor.argument) != bool(floor.environment)
        assert floor.driver or floor.cann


def test_official_images_have_the_suffixes_of_the_catalogue() -> None:
    for product in PRODUCTS:
        assert KNOWN.tag_product(product.image_suffix) == product.key
        assert KNOWN.tag_product(f"{product.image_suffix}-openeuler") == product.key


@pytest.mark.parametrize(
    ("soc_version", "product"),
    [
        ("ascend910b1", "a2"),
        ("Ascend910B3", "a2"),
        ("ascend910_9391", "a3"),
        ("ascend310p1", "310p"),
        ("ascend950dt_9582", "950"),
        ("ascend310b4", ""),
        ("", ""),
    ],
)
def test_the_product_of_an_image_by_its_soc_version(soc_version: str, product: str) -> None:
    assert KNOWN.soc_product(soc_version) == product


@pytest.mark.parametrize(
    ("release", "product", "table", "expected"),
    [
        ("v0.18.0", "a2", "8.5.1", ("8.5.1", "9.0.0")),
        ("v0.17.0rc1", "a2", "8.5.1", ("8.5.1",)),
        ("v0.21.0rc1", "a2", "9.0.0", ("9.0.0",)),
        ("v0.21.0rc1", "310p", "9.0.0", ("9.1.0-beta.1",)),
    ],
)
def test_what_the_official_image_of_a_release_may_hold(
    release: str, product: str, table: str, expected: tuple[str, ...]
) -> None:
    assert KNOWN.cann_of(release, product, table) == expected


def test_releases_are_ordered_by_their_numbers() -> None:
    assert release_numbers("v0.9.1") < release_numbers("v0.10.0rc1") == release_numbers("v0.10.0")


def test_the_engine_tells_what_its_release_is_made_of() -> None:
    release = load("vllm").release(service(version="v0.11.0"))
    assert release is not None
    assert (release.cann, release.torch_npu) == ("8.3.RC2", "2.7.1.post1")
    assert (release.image, release.tag) == ("ascend/vllm-ascend", "v0.11.0")
    assert load("vllm").release(service(version="v0.11.9")) is None
