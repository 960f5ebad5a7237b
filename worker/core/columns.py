# ruff: noqa: TRY004 - a wrong type is an error of the response, not of the caller
"""Reads the typed columns of a record."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from worker.core import exact_json
from worker.core.area import Column, ColumnType
from worker.core.authors import role_and_organisation
from worker.core.exact_json import LargeInteger
from worker.core.fields import Absent, Place, find, places_of
from worker.core.model import ColumnValue, Drift
from worker.core.remembered import RememberedNames
from worker.core.times import END_OF_TIME, parse_time
from worker.errors import ContractError

_INTEGER_BITS: Final = 63
"""The range of a signed 64-bit database column."""


TypeReader: TypeAlias = Callable[[Any, Column, str, set[Drift]], ColumnValue]
"""Converts the value at a path to its column's type, and may add drift.

It raises ``ValueError`` if the value cannot be converted; the message does not hold the value.
"""


class _Source(NamedTuple):
    """A column that a record can have, its number, its type reader, and where its value may be."""

    number: int
    column: Column
    read: TypeReader
    places: tuple[Place, ...]


class ColumnReader:
    """Reads the columns of an area's records."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        names = [column.name for column in columns]
        self._never_of = [
            (number, names.index(column.never_of))
            for number, column in enumerate(columns)
            if column.never_of
        ]
        self._sources = RememberedNames(self._sources_of)

    def read(
        self, document: Mapping[str, Any], where: str, drift: set[Drift]
    ) -> tuple[ColumnValue, ...]:
        """The values of all columns, in order; None for a missing value.

        Args:
            where: its location, for messages.
            drift: receives tolerated deviations.

        Raises:
            ContractError: a value does not have its column's type.
        """
        values: list[ColumnValue] = [None] * len(self._columns)
        for number, column, read, places in self._sources[tuple(document)]:
            value, text = _first_value(document, places, where)
            if value is not None:
                try:
                    values[number] = read(value, column, text, drift)
                except ValueError as error:
                    raise ContractError(str(error), field=f"{where}.{text}") from None
        for number, source in self._never_of:
            at = values[source]
            values[number] = None if at is None else at == END_OF_TIME
        return tuple(values)

    def _sources_of(self, names: tuple[str, ...]) -> list[_Source]:
        """The columns that a record with these fields can have."""
        sources = [
            _Source(number, column, TYPE_READERS[column.type], places_of(column.paths, names))
            for number, column in enumerate(self._columns)
        ]
        return [source for source in sources if source.places]


def _first_value(
    document: Mapping[str, Any], places: Sequence[Place], where: str
) -> tuple[Any, str]:
    """The value at the first path that has one, and the path's text; None if no path has one.

    Every path is followed, so that an ambiguous object on any of them is found.

    Raises:
        ContractError: every path leads through a value that is not an object or array; or as
            ``fields.spelling``, for an object on any of the paths.
    """
    found = [(find(document[name], rest), text) for name, rest, text in places]
    for value, text in found:
        if value is not None and value.__class__ is not Absent:
            return value, text
    if all(value is Absent.WRONG_TYPE for value, _ in found):
        raise ContractError("not an object or array", field=f"{where}.{places[0].text}")
    return None, ""


def _as_text(value: Any, column: Column, _path: str, _drift: set[Drift]) -> str | None:
    if column.is_author:
        value = role_and_organisation(value)
        if value is None:
            return None
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("a text with a NUL character, which databases cannot store")
        return value
    if column.loose:
        return _as_json(value)
    raise ValueError("not a text")


def _as_integer(value: Any, *_: object) -> int:
    if isinstance(value, LargeInteger):
        raise ValueError("a number too large to store")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("not an integer")
    if value.bit_length() > _INTEGER_BITS:
        raise ValueError("a number too large to store")
    return value


def _as_boolean(value: Any, *_: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _as_json(value: Any, *_: object) -> str:
    return exact_json.canonical(value).decode()


def _as_time(value: Any, _column: Column, path: str, drift: set[Drift]) -> datetime:
    if not isinstance(value, str):
        raise ValueError("not a time")
    at, naive = parse_time(value)
    if naive:
        drift.add(Drift(field=f"[].{path}", kind="naive_time"))
    return at


TYPE_READERS: Final[Mapping[ColumnType, TypeReader]] = {
    ColumnType.TEXT: _as_text,
    ColumnType.INTEGER: _as_integer,
    ColumnType.BOOLEAN: _as_boolean,
    ColumnType.TIME: _as_time,
    ColumnType.JSON: _as_json,
}
