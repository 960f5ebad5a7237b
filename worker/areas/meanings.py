"""The columns of the reporting views: their kinds and what they mean, from ``meanings.toml``.

The database's dictionary (``report_dictionary``), the export and the report are made of these
declarations. The file is read when the first of them is asked for.
"""

import enum
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple


class Kind(enum.StrEnum):
    """What a view's column holds."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TIME = "time"
    DATE = "date"
    """A calendar date in Norway (Europe/Oslo); on SQLite text ``YYYY-MM-DD``."""
    JSON = "json"
    """JSON as text, in every format."""


class ViewColumn(NamedTuple):
    """One column of a reporting view.

    Attributes:
        nb, en: what it means, in bokmål and English.
        heading: what a table in bokmål calls it.
        unit: of a number, or the time zone; else empty.
    """

    name: str
    kind: Kind
    nb: str
    en: str
    heading: str
    unit: str = ""
    is_nullable: bool = True


@cache
def view_columns() -> Mapping[str, tuple[ViewColumn, ...]]:
    """The columns of each reporting view, in their order, by the view's name."""
    return {
        view: tuple(_column(view, name) for name in declared["columns"])
        for view, declared in _document()["views"].items()
    }


@cache
def view_keys() -> Mapping[str, tuple[str, ...]]:
    """The primary key of each reporting view, which is also the order of its rows in an export.

    Two rows of ``report_access`` may be the same.
    """
    return {view: tuple(declared["key"]) for view, declared in _document()["views"].items()}


def view_name_nb(view: str) -> str:
    """What a file in Norwegian with the rows of a view is called."""
    return str(_document()["views"][view]["nb"])


def _column(view: str, declared: str) -> ViewColumn:
    name = declared.removesuffix("?")
    meanings = _document()["columns"]
    meaning = meanings.get(f"{view}.{name}") or meanings[name]
    return ViewColumn(
        name=name,
        kind=Kind(meaning["kind"]),
        nb=meaning["nb"],
        en=meaning["en"],
        heading=meaning["heading"],
        unit=meaning.get("unit", ""),
        is_nullable=declared.endswith("?"),
    )


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("meanings.toml").read_text("utf-8"))
