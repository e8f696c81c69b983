"""A stand-in for typing.NamedTuple and for json's reader: importing those takes longer than most calls last.

`import typing` costs 8 ms of CPU and `import json` 6, half of what a call of npu-smi or hccn_tool took
with them; a cluster's survey makes 80 such calls a node.
"""

from __future__ import annotations

from _json import make_scanner
from _operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self


class _Fields(type):
    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Fields:
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        own = {field: property(itemgetter(position)) for position, field in enumerate(fields)}
        return super().__new__(
            cls, name, bases, {**namespace, **own, "__slots__": (), "_fields": fields, "_defaults": defaults}
        )


class NamedTuple(tuple, metaclass=_Fields):  # type: ignore[type-arg]  # noqa: SLOT001  the metaclass gives them
    """What a subclass annotates are its fields, in their order, as with typing.NamedTuple."""

    _fields: tuple[str, ...]
    _defaults: dict[str, Any]

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Fields by place or by name."""
        values = {**cls._defaults, **dict(zip(cls._fields, given, strict=False)), **named}
        if len(values) != len(cls._fields) or len(given) > len(cls._fields):
            raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
        return tuple.__new__(cls, [values[field] for field in cls._fields])

    def _replace(self, **changes: Any) -> Self:
        return type(self)(**{**dict(zip(self._fields, self, strict=True)), **changes})


class _Plain:
    """How the C scanner behind json.loads is to read: strictly, and into plain dicts."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = None

    def __init__(self) -> None:
        self.memo: dict[str, str] = {}


def parse_json(text: str) -> Any:
    """The JSON value that the text begins with, as json.loads reads it.

    Raises:
        json.JSONDecodeError: it is none.
    """
    try:
        return make_scanner(_Plain())(text.lstrip(), 0)[0]
    except (StopIteration, SystemError):  # the latter: it wanted to raise what json, not imported, defines
        import json  # noqa: PLC0415  only a broken file needs it

        return json.loads(text)
