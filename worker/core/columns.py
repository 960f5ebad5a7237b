# ruff: noqa: TRY004 - a wrong type is the answer's fault here, not a caller's
"""A value of an answer as the type of its column, or the reason why it is none."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from worker.core.area import Column, ColumnType
from worker.core.model import ColumnValue, Drift
from worker.core.times import parse_time

_INTEGER_BITS: Final = 63
"""What a signed 64-bit column of a database holds."""


def typed(value: Any, column: Column, path: str, drift: set[Drift]) -> ColumnValue:
    """A value as its column's type.

    Raises:
        ValueError: it has another type, or no meaning in it; the message does not hold it.
    """
    return _READ[column.type](value, column, path, drift)


def _as_text(value: Any, column: Column, _path: str, _drift: set[Drift]) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text with a NUL character, which databases do not keep")
        return value
    if column.loose:
        return _as_json(value)
    raise ValueError("not a text")


def _as_integer(value: Any, *_: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not a whole number")
    if value.bit_length() > _INTEGER_BITS:
        raise ValueError("a number too large to keep")
    return value


def _as_boolean(value: Any, *_: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _as_json(value: Any, *_: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _as_time(value: Any, _column: Column, path: str, drift: set[Drift]) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not a time")
    at, naive = parse_time(value)
    if naive:
        drift.add(Drift(field=f"[].{path}", kind="naive_time"))
    return at


_READ: Final[Mapping[ColumnType, Callable[[Any, Column, str, set[Drift]], ColumnValue]]] = {
    ColumnType.TEXT: _as_text,
    ColumnType.INTEGER: _as_integer,
    ColumnType.BOOLEAN: _as_boolean,
    ColumnType.TIME: _as_time,
    ColumnType.JSON: _as_json,
}
