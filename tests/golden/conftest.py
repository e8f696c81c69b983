"""--update-golden: write what is made now over what was expected; read the difference before committing it."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write expected.json of golden cases anew")


@pytest.fixture(scope="session")
def update_golden(pytestconfig: pytest.Config) -> bool:
    """Whether to write in place of comparing."""
    return bool(pytestconfig.getoption("--update-golden", default=False))
