"""Docker's daemon.json, to see what is set before anything is added to it.

Key names: Docker's dockerd reference. Whoever writes the file has to merge: `rest` holds what has no
attribute here, and Runtime drops nothing either.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from npuctl.hardware.unreadable import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """The file; None or empty for what is not in it.

    Attributes:
        runtimes: their paths by name; None for one that is a containerd shim and has no path.
        default_shm_size: as it stands, such as "8G" or "8589934592".
        rest: every other key, "log-driver" and "exec-opts" among them, as JSON says it.
    """

    runtimes: Mapping[str, str | None]
    default_runtime: str | None
    default_shm_size: str | None
    data_root: str | None
    registry_mirrors: tuple[str, ...]
    log_opts: Mapping[str, str]
    rest: Mapping[str, Any]


def parse_daemon_json(text: str) -> DaemonConfig:
    """Read /etc/docker/daemon.json.

    Raises:
        UnreadableError: not JSON, not an object, a key twice (which Docker would let pass, and take
            the last), or a value of a type that Docker refuses. An empty text is refused as well:
            Docker takes such a file, but it may be one that could not be read.
    """
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except UnreadableError:
        raise
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 0
        raise UnreadableError(f"not JSON: {error}", line_number=line) from None
    if not isinstance(data, dict):
        raise UnreadableError("not a JSON object")
    shm_size = data.pop("default-shm-size", None)
    if isinstance(shm_size, int) and not isinstance(shm_size, bool):
        shm_size = str(shm_size)
    runtimes = _optional(data.pop("runtimes", None), dict, "runtimes") or {}
    mirrors = _optional(data.pop("registry-mirrors", None), list, "registry-mirrors") or []
    options = _optional(data.pop("log-opts", None), dict, "log-opts") or {}
    return DaemonConfig(
        runtimes={name: _path(name, runtime) for name, runtime in runtimes.items()},
        default_runtime=_text(data.pop("default-runtime", None), "default-runtime"),
        default_shm_size=_text(shm_size, "default-shm-size"),
        data_root=_text(data.pop("data-root", None), "data-root"),
        registry_mirrors=tuple(_typed(mirror, str, "registry-mirrors") for mirror in mirrors),
        log_opts={name: _typed(value, str, f"log-opts.{name}") for name, value in options.items()},
        rest=data,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UnreadableError(f"the key {key!r} stands twice")
        found[key] = value
    return found


def _constant(word: str) -> None:
    raise UnreadableError(f"{word} is not JSON")


def _path(name: str, runtime: Any) -> str | None:
    path = _typed(runtime, dict, f"runtimes.{name}").get("path")
    return _text(path, f"runtimes.{name}.path")


def _text(value: Any, key: str) -> str | None:
    found: str | None = _optional(value, str, key)
    return found


def _optional(value: Any, kind: type, key: str) -> Any:
    return None if value is None else _typed(value, kind, key)


def _typed(value: Any, kind: type, key: str) -> Any:
    if not isinstance(value, kind):
        raise UnreadableError(f"{key} is not of type {kind.__name__}")
    return value
