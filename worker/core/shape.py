"""The shape of a JSON document: names of fields and kinds of values, never a value."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from worker.core.exact_json import LargeInteger
from worker.core.fields import safe_name
from worker.core.times import parse_time

_DEPTH_MAX: Final = 12
_PATHS_MAX: Final = 400


def shape_of(document: Any) -> Mapping[str, tuple[str, ...]]:
    """The kinds of value at each path, e.g. ``{"[].id": ("text",)}``; ``$`` is the document.

    Elements of an array share one path. A name that does not look like a name is ``?``: it could
    be a personal value. At most 400 paths, twelve levels deep.
    """
    found: dict[str, dict[str, None]] = {}
    for path, kind in _walk(document, "", 0):
        if path in found or len(found) < _PATHS_MAX:
            found.setdefault(path, {})[kind] = None
    return {path or "$": tuple(kinds) for path, kinds in found.items()}


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    yield path, _kind(value)
    if depth >= _DEPTH_MAX:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _walk(item, f"{path}.{safe_name(name)}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, f"{path}[]", depth + 1)


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
