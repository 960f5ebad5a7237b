"""Values of an answer as the types of columns, or refused."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from worker.areas import AREAS
from worker.core.area import Column, ColumnType
from worker.core.columns import TYPE_READERS, ColumnReader
from worker.core.fields import FieldPath, find, parse_path
from worker.core.model import ColumnValue, Drift
from worker.errors import ContractError


def column(kind: ColumnType, *, loose: bool = False) -> Column:
    return Column(name="c", type=kind, paths=("c",), loose=loose)


def typed(value: Any, of: Column, path: str, drift: set[Drift]) -> ColumnValue:
    return TYPE_READERS[of.type](value, of, path, drift)


def in_json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (ColumnType.TEXT, "a", "a"),
        (ColumnType.INTEGER, 14, 14),
        (ColumnType.INTEGER, 14.0, 14),
        (ColumnType.INTEGER, 2**63 - 1, 2**63 - 1),
        (ColumnType.BOOLEAN, True, True),
        (ColumnType.TIME, "2026-03-01T12:00:00Z", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (ColumnType.JSON, {"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
        (ColumnType.JSON, "a", '"a"'),
    ],
)
def test_a_value_of_its_columns_type(kind, value, expected):
    """Whole numbers may be written as fractions, and JSON has one form whatever its order.

    What is only kept for reading may be anything.
    """
    drift: set[Drift] = set()
    found = typed(value, column(kind), "c", drift)
    assert (found, type(found), drift) == (expected, type(expected), set())
    loose = column(ColumnType.TEXT, loose=True)
    assert typed({"b": 2, "a": value}, loose, "c", set()) == f'{{"a":{in_json(value)},"b":2}}'


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (ColumnType.TEXT, 1, "not a text"),
        (ColumnType.TEXT, "a\0b", "NUL"),
        (ColumnType.INTEGER, "14", "not an integer"),
        (ColumnType.INTEGER, 14.5, "not an integer"),
        (ColumnType.INTEGER, True, "not an integer"),
        (ColumnType.INTEGER, 2**63, "too large"),
        (ColumnType.BOOLEAN, 1, "not true or false"),
        (ColumnType.BOOLEAN, "true", "not true or false"),
        (ColumnType.TIME, 5, "not a time"),
        (ColumnType.TIME, "noon", "not an ISO 8601 time"),
    ],
)
def test_a_value_of_another_type(kind, value, message):
    """Nothing is guessed: a text is no number, 1 is not true."""
    with pytest.raises(ValueError, match=message):
        typed(value, column(kind), "c", set())


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_each_declared_path_is_read(area):
    """Whatever the case of its first field, alone and behind paths that lead nowhere."""
    for declared in area.columns:
        for place, text in enumerate(declared.paths):
            document = nested(parse_path(text))
            assert find(document, parse_path(text)) == "here"
            for paths in ((text,), declared.paths[: place + 1]):
                of = Column(name="c", type=ColumnType.JSON, paths=("nowhere", *paths))
                assert ColumnReader([of]).read(document, "", set()) == ('"here"',)


def nested(path: FieldPath, value: Any = "here"):
    if not path:
        return value
    first, *rest = path
    inner = nested(tuple(rest), value)
    return {first.upper(): inner} if isinstance(first, str) else [inner]


def test_a_path_through_another_type():
    """It is an error if no path leads on: a changed form is not an empty value."""
    reader = ColumnReader([Column(name="c", type=ColumnType.TEXT, paths=("a.b", "c[0]", "d"))])
    assert reader.read({"a": "text", "c": []}, "", set()) == (None,)
    with pytest.raises(ContractError, match="not an object or array") as caught:
        reader.read({"a": "text", "c": {"b": 1}}, "[0]", set())
    assert caught.value.field == "[0].a.b"
