"""The typed columns of a record by their names, for tests to write and to read."""

from collections.abc import Mapping
from typing import Any

from worker.core.area import AREAS, ResourceArea
from worker.core.model import ColumnValue, Record


def as_columns(values: Mapping[str, Any], area: ResourceArea = AREAS[0]) -> tuple[Any, ...]:
    """The values as a ``Record`` holds them.

    Raises:
        KeyError: the area has no column of one of these names.
    """
    rest = dict(values)
    columns = tuple(rest.pop(column.name, None) for column in area.columns)
    if rest:
        raise KeyError(*rest)
    return columns


def named(record: Record, area: ResourceArea = AREAS[0]) -> dict[str, ColumnValue]:
    """The record's columns by name."""
    names = [column.name for column in area.columns]
    return dict(zip(names, record.columns, strict=True))
