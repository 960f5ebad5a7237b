"""Describes the shape of a JSON document: field names and value types, never values."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from worker.core.exact_json import LargeInteger
from worker.core.fields import safe_name
from worker.core.times import parse_time

_DEPTH_MAX: Final = 12
_PATHS_MAX: Final = 400


def shape_of(document: Any) -> Mapping[str, tuple[str, ...]]:
    """The value types at each path, e.g. ``{"[].id": ("text",)}``; ``$`` is the document.

    All elements of an array share one path. A name that could be a personal value is shown as
    ``?``. At most 400 paths and twelve levels.
    """
    shape: dict[str, dict[str, None]] = {}
    for path, kind in _kinds(document, "", 0):
        if path in shape or len(shape) < _PATHS_MAX:
            shape.setdefault(path, {})[kind] = None
    return {path or "$": tuple(kinds) for path, kinds in shape.items()}


def _kinds(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    yield path, _kind(value)
    if depth >= _DEPTH_MAX:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _kinds(item, f"{path}.{safe_name(name)}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _kinds(item, f"{path}[]", depth + 1)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float() | LargeInteger():
            return "number"
        case str():
            return "time" if _is_time(value) else "text"
        case dict():
            return "object"
        case _:
            return "array"


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True
