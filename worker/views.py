"""The reporting views for report, export and queries, and their codes.

``areas/meanings.toml`` and ``areas/codes.toml`` declare them, also for the database's dictionary
(``report_dictionary``) and codes (``report_code``). On SQLite the columns of views have no types
(booleans are 0 and 1, times are text), so they are declared here. A test compares them with both
databases.
"""

import enum
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.area import AREAS, area_named
from worker.core.effect import RestrictionGroup, group_of
from worker.core.value import Value
from worker.errors import UsageError


class Kind(enum.StrEnum):
    """The type of a view's column."""

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
        nb, en: its meaning in bokmål and English.
        heading: its heading in tables in bokmål.
        unit: the unit of a number, or the time zone, or empty.
    """

    name: str
    kind: Kind
    nb: str
    en: str
    heading: str
    unit: str = ""
    is_nullable: bool = True


class Code(NamedTuple):
    """One code. ``group`` and ``is_restricting`` are None if the code does not decide them."""

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
    """Return the columns of each reporting view in order, by the view's name."""
    return {
        view: tuple(_column(view, name) for name in declared["columns"])
        for view, declared in _document("meanings")["views"].items()
    }


@cache
def view_keys() -> Mapping[str, tuple[str, ...]]:
    """Return the primary key of each reporting view, which is also the row order of an export.

    Two rows of ``report_access`` may be equal.
    """
    return {
        view: tuple(declared["key"]) for view, declared in _document("meanings")["views"].items()
    }


def view_name_nb(view: str) -> str:
    """Return the name of an exported file in Norwegian."""
    return str(_document("meanings")["views"][view]["nb"])


def _column(view: str, declared: str) -> ViewColumn:
    name = declared.removesuffix("?")  # "?" marks a nullable column
    meanings = _document("meanings")["columns"]
    # A view can define a column differently.
    meaning = meanings.get(f"{view}.{name}") or meanings[name]
    kind = Kind(meaning["kind"])
    return ViewColumn(name, is_nullable=declared.endswith("?"), **{**meaning, "kind": kind})


@cache
def codes() -> tuple[Code, ...]:
    """Return all codes, by system and in declared order."""
    return tuple(
        code for name, system in _document("codes").items() for code in _codes(name, system)
    )


def systems_of(column: str) -> Sequence[str]:
    """Return the code systems of a column of views. Empty for a column without codes."""
    return [name for name, system in _document("codes").items() if column in system["columns"]]


def _codes(name: str, system: Mapping[str, Any]) -> Iterator[Code]:
    effect = area_named(system["area"]).effect if "area" in system else None
    for code, names in system["codes"].items():
        group = group_of(effect, code) if effect else None
        restricts = group != RestrictionGroup.NONE if effect else None
        nb, nn, en = (names[language] for language in ("nb", "nn", "en"))
        yield Code(name, code, group, nb, nn, en, restricts, system["source"])


# Reading TOML takes milliseconds, and each column of a view asks for it.
@cache
def _document(name: str) -> dict[str, Any]:
    return tomllib.loads(files("worker").joinpath(f"areas/{name}.toml").read_text("utf-8"))


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware UTC instant. PostgreSQL: ``timestamptz``. SQLite: ISO 8601 text that sorts.

    Raises:
        ValueError: a naive datetime is given.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Text on SQLite, which has no time type."""
        kind = sa.String(32) if dialect.name == "sqlite" else sa.DateTime(timezone=True)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Refuse naive times, and write UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time must not reach the database")
        return iso_utc(value) if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy fixes the name
        """Return aware UTC."""
        return None if value is None else as_utc(value)


def as_utc(value: str | datetime) -> datetime:
    """Convert a time read by a driver."""
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    if value.tzinfo is None:  # asyncpg reads infinity as a naive extreme
        return value.replace(tzinfo=UTC)
    return value.astimezone(UTC)


def iso_utc(value: datetime) -> str:
    """Format a time for SQLite, always with microseconds and offset."""
    # One form only, because SQLite compares and sorts times as text.
    return value.astimezone(UTC).isoformat(timespec="microseconds")


TYPES: Final[Mapping[Kind, Any]] = {
    Kind.TEXT: sa.Text,
    Kind.INTEGER: sa.BigInteger,
    Kind.BOOLEAN: sa.Boolean,
    Kind.TIME: UtcTime,
    Kind.DATE: sa.Date,
    Kind.JSON: sa.Text,
}
"""SQLAlchemy's type of each kind."""


class View(Value, frozen=True, kw_only=True):
    """One reporting view."""

    name: str

    @property
    def columns(self) -> Mapping[str, Kind]:
        """The kind of each column by name, in order."""
        return {column.name: column.kind for column in view_columns()[self.name]}

    def table(self, columns: Sequence[str] = ()) -> sa.TableClause:
        """Return the view for SQLAlchemy, with these columns or all."""
        kinds = self.columns
        named = (sa.column(name, TYPES[kinds[name]]) for name in columns or kinds)
        return sa.table(self.name, *named)


FRESHNESS: Final = View(name="report_person_freshness")
PUBLICATION: Final = View(name="report_publication")
COHORT: Final = View(name="report_publication_cohort")
FIGURE: Final = View(name="report_publication_figure")
CHANGE_FEED: Final = View(name="report_change_feed")
RUN: Final = View(name="report_run")
ACCESS: Final = View(name="report_access")
"""About users of the program, so an export needs its name."""
HISTORY: Final[Mapping[str, View]] = {
    area.name: View(name=f"report_{area.table}_history") for area in AREAS
}
"""The view of all versions, by the area's name."""


def views_named(names: Sequence[str]) -> tuple[View, ...]:
    """Return the views with these names, with or without ``report_``. Default: all but ``ACCESS``.

    Raises:
        UsageError: a view does not exist.
    """
    views = {name: View(name=name) for name in view_columns()}
    selected = {}
    for name in names or (name for name in views if name != ACCESS.name):
        full = name if name.startswith("report_") else f"report_{name}"
        if full not in views:
            raise UsageError(
                f"there is no reporting view {name!r}", hint=f"there are {', '.join(views)}"
            )
        # By name, because a view may be named twice.
        selected[full] = views[full]
    return tuple(selected.values())


T = TypeVar("T")


class Read(Protocol):
    """Runs a function in a read transaction, and retries it: ``Database.read``."""

    async def __call__(self, work: Callable[[AsyncConnection], Awaitable[T]], /) -> T:
        """Return the result of ``work``."""
        ...


async def begin_snapshot(connection: AsyncConnection) -> None:
    """Make all reads of this transaction see the same publication. Call it before the first read.

    On SQLite (WAL) a read transaction is a snapshot.
    """
    # PostgreSQL's default, READ COMMITTED, gives each statement a new snapshot.
    if connection.dialect.name == "postgresql":
        level = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        await connection.execute(sa.text(level))
