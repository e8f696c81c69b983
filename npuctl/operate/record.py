"""A change with its record: lock, run folder, journal; true whatever ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from npuctl.remote.inventory import Inventory
from npuctl.state.journal import Run, begin_run


@contextlib.contextmanager
def recorded(inventory: Inventory, verb: str, **details: Any) -> Iterator[Run]:
    """Note the beginning, and the end however it comes; the block writes its own results.

    The caller holds the cluster's lock.
    """
    run = begin_run(inventory.state, verb, details)
    try:
        yield run
    except KeyboardInterrupt:
        run.write("interrupted")
        raise
    except BaseException as error:
        run.write("failed", error=f"{type(error).__name__}: {error}")
        raise
    run.write("ended")
