"""What stands in the reporting views: columns (``meanings.toml``) and codes (``codes.toml``).

The database's dictionary (``report_dictionary``), its codes (``report_code``), the export and the
report are made of these declarations. A file is read when the first of it is asked for.
"""

import enum
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from worker.areas import area_named
from worker.core.effect import RestrictionGroup, group_of


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


class Code(NamedTuple):
    """One code. ``group`` and ``is_restricting`` are None where the code says nothing of it."""

    system: str
    code: str
    group: str | None
    name_nb: str
    name_nn: str
    name_en: str
    is_restricting: bool | None
    source: str


@cache
def view_columns() -> Mapping[str, tuple[ViewColumn, ...]]:
    """The columns of each reporting view, in their order, by the view's name."""
    return {
        view: tuple(_column(view, name) for name in declared["columns"])
        for view, declared in _document("meanings")["views"].items()
    }


@cache
def view_keys() -> Mapping[str, tuple[str, ...]]:
    """The primary key of each reporting view, which is also the order of its rows in an export.

    Two rows of ``report_access`` may be the same.
    """
    return {
        view: tuple(declared["key"]) for view, declared in _document("meanings")["views"].items()
    }


def view_name_nb(view: str) -> str:
    """What a file in Norwegian with the rows of a view is called."""
    return str(_document("meanings")["views"][view]["nb"])


def _column(view: str, declared: str) -> ViewColumn:
    name = declared.removesuffix("?")
    meanings = _document("meanings")["columns"]
    meaning = meanings.get(f"{view}.{name}") or meanings[name]
    kind = Kind(meaning["kind"])
    return ViewColumn(name, is_nullable=declared.endswith("?"), **{**meaning, "kind": kind})


@cache
def codes() -> tuple[Code, ...]:
    """Every code, by system and in the order in which it is declared."""
    return tuple(
        code for name, system in _document("codes").items() for code in _codes(name, system)
    )


def systems_of(column: str) -> Sequence[str]:
    """The code systems of a column of views; none if it holds no code."""
    return [name for name, system in _document("codes").items() if column in system["columns"]]


def _codes(name: str, system: Mapping[str, Any]) -> Iterator[Code]:
    effect = area_named(system["area"]).effect if "area" in system else None
    for code, names in system["codes"].items():
        group = group_of(effect, code) if effect else None
        restricts = group != RestrictionGroup.NONE if effect else None
        nb, nn, en = (names[language] for language in ("nb", "nn", "en"))
        yield Code(name, code, group, nb, nn, en, restricts, system["source"])


@cache
def _document(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text("utf-8"))
