"""What was served, one JSON object a line: proof that a client really came here."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path


class Journal:
    """Appends to a file; safe to call from several threads. Never is a token or password written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def write(self, **entry: object) -> None:
        """Note one answer."""
        line = json.dumps({"time": round(time.time(), 3), **entry})
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
