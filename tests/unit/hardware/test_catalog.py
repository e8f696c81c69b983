"""The catalogue answers with the product that the chips' names say."""

from __future__ import annotations

import pytest

from npuctl.hardware.catalog import A2, A3, ATLAS_310P, ATLAS_950, PRODUCTS, Product, identify


@pytest.mark.parametrize(
    ("name", "count", "product"),
    [
        ("910B3", 8, A2),
        ("910B4-1", 3, A2),
        ("910B2C", 16, A2),
        ("Ascend 910B1", 8, A2),
        ("Ascend910", 16, A3),
        ("Ascend910", 15, A3),  # a die dropped: still an A3
        ("Ascend910", 2, A3),
        ("310P3", 8, ATLAS_310P),
        ("Ascend 310P3", 1, ATLAS_310P),
        ("950DT", 8, ATLAS_950),
        ("910A", 8, None),
        ("310B4", 1, None),
        ("xxx", 1, None),
        ("910B3", 17, None),
        ("910B3", 0, None),
    ],
)
def test_names_of_chips_tell_the_product(name: str, count: int, product: Product | None) -> None:
    assert identify([name] * max(count, 1), count) is product


def test_chips_of_two_products_are_no_product() -> None:
    assert identify(["910B3", "310P3"], 2) is None
    assert identify([], 0) is None


def test_devices_are_the_chips_asked_for_and_the_managers() -> None:
    assert A3.devices([3, 12]) == (
        "/dev/davinci3",
        "/dev/davinci12",
        "/dev/davinci_manager",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
    )


def test_only_what_was_never_measured_is_unverified() -> None:
    assert [product.key for product in PRODUCTS if not product.verified] == ["950"]


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.key)
def test_idle_memory_is_far_below_what_a_chip_has(product: Product) -> None:
    assert 0 < product.idle_memory_mb < product.hbm_gib * 1024 // 8
    assert product.chips_per_server <= product.most_chips_per_server
    assert product.chips_per_server % product.chips_per_npu == 0
    assert all(path.startswith("/") for path in (*product.driver_mounts, *product.network_mounts))
