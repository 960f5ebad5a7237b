"""``config/dbt/models/sources.yml``: the reporting views as dbt's sources, with meanings and tests.

Written by ``python -m tools.docs``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from tools.docs.reference import VIEWS
from tools.docs.tree import ROOT
from worker.core.area import AREAS
from worker.core.effect import RestrictionGroup
from worker.core.model import RunKind, RunStatus
from worker.errors import FailureKind
from worker.views import Kind, ViewColumn, codes, view_columns, view_keys

SOURCES: Final = ROOT / "config" / "dbt" / "models" / "sources.yml"
SOURCE: Final = "pts"
NOT_READ: Final = "report_access"
"""The view that readers may not select."""

_HEAD: Final = """\
# `python -m tools.docs` writes this file.
# The reporting views (docs/reference/views.md), as the role pts_reader sees them.
"""
_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "area": tuple(area.name for area in AREAS),
    "restriction_group": tuple(RestrictionGroup),
    "failure_kind": tuple(FailureKind),
    "kind": tuple(RunKind),
    "status": tuple(RunStatus),
    "closed_because": ("changed", "gone", "departed"),
    "op": ("insert", "update", "close", "depart", "relabel", "erase", "purge"),
    "system": tuple(dict.fromkeys(code.system for code in codes())),
    "type": tuple(Kind),
    "view_name": tuple(view_columns()),
}
_REFERENCES: Final[Mapping[str, tuple[str, str]]] = {
    "publication_no": ("report_publication", "publication_no"),
    "opened_publication": ("report_publication", "publication_no"),
    "closed_publication": ("report_publication", "publication_no"),
}
# After 36 hours the worker's own alert PtsNotPublished fires as well.
_FRESHNESS: Final = {
    "error_after": {"count": 36, "period": "hour"},
    "warn_after": {"count": 26, "period": "hour"},
}


def sources_file() -> str:
    """The text of the file."""
    tables = [_table(view, columns) for view, columns in view_columns().items() if view != NOT_READ]
    source = {
        "name": SOURCE,
        "description": "The last published snapshot of PTS, its history and its figures.",
        "schema": "{{ var('pts_schema', 'public') }}",
        "tables": tables,
    }
    return _HEAD + yaml.safe_dump(
        {"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=100
    )


def _table(view: str, columns: tuple[ViewColumn, ...]) -> dict[str, Any]:
    table: dict[str, Any] = {"name": view, "description": _plain(VIEWS[view])}
    if view == "report_publication":
        table["config"] = {"loaded_at_field": "published_at", "freshness": _FRESHNESS}
    key = view_keys()[view]
    # dbt's own test "unique" takes one column. A key of several needs the package's test.
    if len(key) > 1:
        table["data_tests"] = [{"unique_together": {"arguments": {"columns": list(key)}}}]
    table["columns"] = [_column(view, column, is_key=key == (column.name,)) for column in columns]
    return table


def _column(view: str, column: ViewColumn, *, is_key: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": column.name,
        "description": column.en + (f" ({column.unit})" if column.unit else ""),
    }
    tests = list(_tests(view, column, is_key=is_key))
    return described | ({"data_tests": tests} if tests else {})


def _tests(view: str, column: ViewColumn, *, is_key: bool) -> Iterator[str | dict[str, Any]]:
    if not column.is_nullable:
        yield "not_null"
    if is_key:
        yield "unique"
    if column.name in _VALUES:
        yield {"accepted_values": {"arguments": {"values": [*map(str, _VALUES[column.name])]}}}
    table, field = _REFERENCES.get(column.name, (view, ""))
    if table != view:
        to = f"source('{SOURCE}', '{table}')"
        arguments = {"arguments": {"to": to, "field": field}}
        if view == "report_change_feed" and column.name == "publication_no":
            # Erasures and purges before the first publication have no publication to refer to.
            arguments["config"] = {"where": "op NOT IN ('erase', 'purge')"}
        yield {"relationships": arguments}


def _plain(text: str) -> str:
    """The text without Markdown links, which do not work in this file."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "")
