"""Faults on request: a control file that is read again each time it matters."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Faults:
    """The faults that hold for a server of these model names."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self._path = path
        self._names = names
        self._lock = threading.Lock()
        self._due = 0.0

    def get(self, name: str) -> dict[str, Any] | None:
        """The parameters of a fault that is on, else None."""
        for found, parameters in self._read():
            if found == name and parameters.get("model", self._names[0]) in self._names:
                return parameters
        return None

    def strikes(self) -> bool:
        """Whether this request gets a 500: evenly spread over the requests, `share` of them."""
        fault = self.get("http-500")
        if fault is None:
            return False
        with self._lock:
            self._due += float(fault.get("share", 1))
            struck = self._due >= 1 - 1e-9
            self._due -= 1 if struck else 0
        return struck

    def _read(self) -> list[tuple[str, dict[str, Any]]]:
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        if isinstance(data, dict):
            return [(name, value if isinstance(value, dict) else {}) for name, value in data.items()]
        found: list[tuple[str, dict[str, Any]]] = []
        for entry in data if isinstance(data, list) else []:
            if isinstance(entry, str):
                found.append((entry, {}))
            elif isinstance(entry, dict) and isinstance(entry.get("fault"), str):
                found.append((entry["fault"], entry))
        return found
