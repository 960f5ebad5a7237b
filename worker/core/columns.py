# ruff: noqa: TRY004 - a wrong type is an error of the response, not of the caller
"""Reads the typed columns of a record."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from worker.core import exact_json
from worker.core.area import Column, ColumnType
from worker.core.authors import role_and_organisation
from worker.core.exact_json import LargeInteger
from worker.core.fields import Absent, parse_path
from worker.core.lookup import Lookup
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


def type_reader(column: Column) -> TypeReader:
    """The function that converts the values of a column."""
    return _READ[column.type]


class _Place(NamedTuple):
    """A path of a column: its first field, the index of its value in ``Lookup``, and its text."""

    first: str
    position: int
    text: str


class _Source(NamedTuple):
    """A column, its number, its type reader and its paths."""

    number: int
    column: Column
    read: TypeReader
    places: tuple[_Place, ...]


class ColumnReader:
    """Reads the columns of an area's records."""

    def __init__(self, columns: Sequence[Column]) -> None:
        paths = {text: parse_path(text) for column in columns for text in column.paths}
        self._lookup = Lookup(paths.values())
        indexes = self._lookup.indexes
        places = {text: _Place(str(path[0]), indexes[path], text) for text, path in paths.items()}
        self._sources = tuple(
            _Source(n, column, type_reader(column), tuple(places[text] for text in column.paths))
            for n, column in enumerate(columns)
            if column.paths
        )
        names = [column.name for column in columns]
        self._never_of = [
            (number, names.index(column.never_of))
            for number, column in enumerate(columns)
            if column.never_of
        ]
        self._blank: list[ColumnValue] = [None] * len(columns)
        self._sources_by_names = RememberedNames(self._sources_of)

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
        looked_up = self._lookup.values(document)
        values = self._blank.copy()
        for number, column, read, places in self._sources_by_names[tuple(document)]:
            for place in places:
                value = looked_up[place.position]
                if value is not None and value.__class__ is not Absent:
                    break
            else:
                _refuse_wrong(places, looked_up, where)
                continue
            try:
                values[number] = read(value, column, place.text, drift)
            except ValueError as error:
                raise ContractError(str(error), field=f"{where}.{place.text}") from None
        for number, source in self._never_of:
            at = values[source]
            values[number] = None if at is None else at == END_OF_TIME
        return tuple(values)

    def _sources_of(self, names: tuple[str, ...]) -> list[_Source]:
        """The columns that a document with these fields can have, each with its possible paths.

        A path whose first field is missing yields neither a value nor a wrong type.
        """
        there = {name.lower() for name in names}
        narrowed = [
            source._replace(places=tuple(place for place in source.places if place.first in there))
            for source in self._sources
        ]
        return [source for source in narrowed if source.places]


def _refuse_wrong(places: Sequence[_Place], looked_up: Sequence[Any], where: str) -> None:
    """Refuse a column if every path leads through a value that is not an object or array."""
    for place in places:
        if looked_up[place.position] is not Absent.WRONG_TYPE:
            return
    raise ContractError("not an object or array", field=f"{where}.{places[0].text}")


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


_READ: Final[Mapping[ColumnType, TypeReader]] = {
    ColumnType.TEXT: _as_text,
    ColumnType.INTEGER: _as_integer,
    ColumnType.BOOLEAN: _as_boolean,
    ColumnType.TIME: _as_time,
    ColumnType.JSON: _as_json,
}
