"""The engines: every module of this package but those with a leading underscore. No table to edit."""

from __future__ import annotations

import importlib
import pkgutil

from npuctl.engines._contract import Engine


def names() -> list[str]:
    """Names of all engines."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def load(name: str) -> Engine:
    """The engine of that name.

    Raises:
        KeyError: when there is none.
    """
    if name not in names():
        raise KeyError(name)
    engine: Engine = importlib.import_module(f"npuctl.engines.{name}").ENGINE
    return engine
