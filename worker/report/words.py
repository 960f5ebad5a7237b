"""What the columns of exported files mean: for a JSON Schema, and for the fields of Parquet."""

from collections.abc import Mapping
from typing import Any, Final

from worker.areas.meanings import Kind, ViewColumn, view_columns
from worker.report.selection import NOT_OF_THE_PAST
from worker.views import View

_TYPES: Final[Mapping[Kind, Mapping[str, str]]] = {
    Kind.TEXT: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.TIME: {"type": "string", "format": "date-time"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.JSON: {"type": "string", "contentMediaType": "application/json"},
}


def words_of(view: View, *, is_past: bool) -> Mapping[str, ViewColumn]:
    """The declarations of the view's columns, with what may be empty in this export."""
    declared = {column.name: column for column in view_columns()[view.name]}
    found = {}
    for name in view.columns:
        column = declared[name]
        if is_past and name in NOT_OF_THE_PAST:
            column = column._replace(is_nullable=True)
        found[name] = column
    return found


def json_schema(title: str, words: Mapping[str, ViewColumn]) -> Mapping[str, Any]:
    """The JSON Schema (2020-12) of one line of NDJSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "properties": {name: _property(column) for name, column in words.items()},
        "required": list(words),
        "additionalProperties": False,
    }


def _property(column: ViewColumn) -> Mapping[str, Any]:
    kind: dict[str, Any] = dict(_TYPES[column.kind])
    if column.is_nullable:
        kind["type"] = [kind["type"], "null"]
    return kind | {
        {"meaning_en": "description"}.get(name, f"x-{name}"): text
        for name, text in meanings(column).items()
    }


def meanings(column: ViewColumn) -> Mapping[str, str]:
    """What is known of a column, under the names that ``report_dictionary`` has for it."""
    texts = {
        "meaning_en": column.en,
        "meaning_nb": column.nb,
        "unit": column.unit,
        "source_path": column.source_path,
    }
    return {name: text for name, text in texts.items() if text}
