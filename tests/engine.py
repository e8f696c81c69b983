"""Whether nodes can be had on this machine, for the tests that need them."""

from __future__ import annotations

import os

import pytest

from npuctl.errors import UsageError
from npuctl.sandbox import preflight

# tools/run-tests sets it, with the reason, where an engine is there but may not start nodes.
WITHOUT = "NPUCTL_TESTS_WITHOUT_NODES"


def skip_without_engine() -> None:
    """Count the test as not run, with the reason, where no container engine can be used."""
    if os.environ.get(WITHOUT):
        pytest.skip(f"not run: {os.environ[WITHOUT]}")
    try:
        preflight.require_engine()
    except UsageError as error:
        pytest.skip(f"not run: {error}")
