"""The differences between SQLite and PostgreSQL that SQLAlchemy leaves to its users, by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.views import Kind, UtcTime

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"

_INSERT: Final[Mapping[str, Any]] = {SQLITE: sqlite.insert, POSTGRESQL: postgresql.insert}
_NOW: Final = {
    SQLITE: sa.literal_column("strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')", UtcTime),
    POSTGRESQL: sa.literal_column("CURRENT_TIMESTAMP", UtcTime),
}
_ALMOST_NOTHING: Final[sa.ColumnElement[float]] = sa.literal_column("1e-6")
"""SQLite's Julian days are floating-point numbers, and whole days may end just below."""


def upsert(dialect: str, table: sa.Table) -> Any:
    """An INSERT that takes ``on_conflict_do_update``."""
    return _INSERT[dialect](table)


def insert_rows(
    dialect: str, table: sa.Table, names: Sequence[str], **fixed: sa.ColumnElement[Any]
) -> Any:
    """An ``upsert`` of many rows, with the parameters of ``row_parameters``.

    On PostgreSQL one statement reads the rows from an array for each column, which takes half the
    processor time of a statement for each row. SQLite has no server, and executes one for each row.

    Args:
        names: the columns that differ by row.
        fixed: the columns that are the same in all rows.
    """
    if dialect == SQLITE:
        return upsert(dialect, table).values({name: sa.bindparam(name) for name in names} | fixed)
    arrays = (sa.bindparam(name, type_=postgresql.ARRAY(table.c[name].type)) for name in names)
    columns = (sa.column(name, table.c[name].type) for name in names)
    rows = sa.func.unnest(*arrays).table_valued(*columns, name="input_row").render_derived()
    return upsert(dialect, table).from_select([*names, *fixed], sa.select(*rows.c, *fixed.values()))


def row_parameters(dialect: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The parameters of ``insert_rows``. All rows have the same columns."""
    if dialect == SQLITE:
        return rows
    return {name: [row[name] for row in rows] for name in rows[0]}


def current_time(dialect: str) -> sa.ColumnElement[Any]:
    """The time at which a view is read."""
    return _NOW[dialect]


def whole_days(dialect: str, since: Any, until: Any) -> sa.ColumnElement[int]:
    """The whole days between two times; 0 if the second one is earlier."""
    if dialect == SQLITE:
        days = sa.func.julianday(until) - sa.func.julianday(since) + _ALMOST_NOTHING
        return sa.func.max(sa.cast(days, sa.Integer), 0)
    passed = sa.func.floor(sa.extract("epoch", until - since) / 86_400)
    return sa.func.greatest(sa.cast(passed, sa.BigInteger), 0)


def joined_text(
    dialect: str, value: sa.ColumnElement[str], separator: str
) -> sa.ColumnElement[str]:
    """Aggregates texts into one, in any order."""
    name = "group_concat" if dialect == SQLITE else "string_agg"
    joined: sa.ColumnElement[str] = getattr(sa.func, name)(value, separator, type_=sa.Text)
    return joined


def typed(dialect: str, kind: Kind, value: Any) -> sa.ColumnElement[Any]:
    """A column of a view, with a type that tools can see.

    SQLite gives no type to an expression. A day is a text in the table and a date on PostgreSQL.
    """
    if dialect == SQLITE and getattr(value, "table", None) is None:
        is_number = kind in {Kind.INTEGER, Kind.BOOLEAN}
        shown = sa.cast(value, sa.Integer if is_number else sa.Text)
    elif dialect == POSTGRESQL and kind == Kind.DATE:
        shown = sa.cast(value, sa.Date)
    else:
        shown = value
    return shown


def prepare_publication(connection: sa.Connection, drafts: Sequence[sa.Table]) -> None:
    """Give PostgreSQL's planner the figures and the memory that a publication needs.

    No job has analysed the drafts: autovacuum looks once a minute. The facts group all open
    versions, which takes temporary files in 4 MB, the default. SQLite finds drafts by their key,
    which begins with the run.
    """
    if connection.dialect.name == POSTGRESQL:
        analyse(connection, drafts)
        connection.execute(sa.text("SET LOCAL work_mem = '64MB'"))
        connection.execute(sa.text("SET LOCAL jit = off"))


def analyse(connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Update PostgreSQL's statistics. SQLite has fixed ones (``migrations/env.py``)."""
    if connection.dialect.name == POSTGRESQL:
        names = ", ".join(table.name for table in tables)
        connection.execute(sa.text(f"ANALYZE {names}"))
