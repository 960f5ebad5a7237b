"""The differences between SQLite and PostgreSQL that SQLAlchemy leaves to its users, by name."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.views import Kind, UtcTime, iso_utc

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"

_INSERT: Final[Mapping[str, Any]] = {SQLITE: sqlite.insert, POSTGRESQL: postgresql.insert}
_NOW: Final = {
    # In the format of `iso_utc`, because SQLite compares times as texts.
    SQLITE: sa.literal_column("strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now')", UtcTime),
    POSTGRESQL: sa.literal_column("CURRENT_TIMESTAMP", UtcTime),
}
_ROWS: Final = "input_rows"
_ROUNDING_ERROR: Final[sa.ColumnElement[float]] = sa.literal_column("1e-6")
"""SQLite's Julian days are floating-point numbers, and whole days may be slightly too small."""


def upsert(dialect: str, table: sa.Table) -> Any:
    """An INSERT that takes ``on_conflict_do_update``."""
    return _INSERT[dialect](table)


def insert_rows(
    dialect: str, table: sa.Table, names: Sequence[str], **fixed: sa.ColumnElement[Any]
) -> Any:
    """An ``upsert`` of many rows, with the parameters of ``row_parameters``.

    One statement reads the rows from its parameters: on PostgreSQL from an array for each column,
    on SQLite from a JSON array. A statement for each row takes two to three times the processor
    time, because SQLAlchemy prepares the parameters of each.

    Args:
        names: the columns that differ by row. On SQLite none may be binary.
        fixed: the columns that are the same in all rows.
    """
    if dialect == SQLITE:
        each = sa.func.json_each(sa.bindparam(_ROWS, type_=sa.Text)).table_valued("value")
        columns = [each.c.value.op("->>")(sa.literal_column(str(n))) for n in range(len(names))]
        # Without WHERE, SQLite takes ON CONFLICT for the ON of a join.
        rows = sa.select(*columns, *fixed.values()).where(sa.true())
    else:
        arrays = (sa.bindparam(name, type_=postgresql.ARRAY(table.c[name].type)) for name in names)
        typed_names = (sa.column(name, table.c[name].type) for name in names)
        row = sa.func.unnest(*arrays).table_valued(*typed_names, name="input_row").render_derived()
        rows = sa.select(*row.c, *fixed.values())
    return upsert(dialect, table).from_select([*names, *fixed], rows)


def filled_columns(rows: Sequence[Mapping[str, Any]], table: sa.Table) -> tuple[str, ...]:
    """The columns that any of the rows has, in the table's order."""
    filled = {name for row in rows for name, value in row.items() if value is not None}
    return tuple(name for name in table.c.keys() if name in filled)  # noqa: SIM118


def row_parameters(
    dialect: str, table: sa.Table, rows: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> Mapping[str, Any]:
    """The parameters of ``insert_rows``."""
    columns = {name: [row.get(name) for row in rows] for name in names}
    if dialect == SQLITE:
        # Column by column, because only times are converted.
        for name in names:
            if isinstance(table.c[name].type, UtcTime):
                columns[name] = [
                    None if value is None else iso_utc(value) for value in columns[name]
                ]
        # Lists, not objects: names in each row would lengthen the text that SQLite parses.
        by_row = [*zip(*columns.values(), strict=True)]
        return {_ROWS: msgspec.json.encode(by_row).decode()}
    return columns


def is_any_of(
    dialect: str, column: sa.ColumnElement[Any], parameter: str
) -> sa.ColumnElement[bool]:
    """Whether a column has one of the values of a list.

    Args:
        parameter: the name of the parameter with the list.
    """
    # One parameter for a list of any length, so that SQLAlchemy caches one statement, not many.
    if dialect == SQLITE:
        each = sa.func.json_each(sa.bindparam(parameter, type_=sa.JSON)).table_valued("value")
        return column.in_(sa.select(each.c.value))
    return column == sa.any_(sa.bindparam(parameter, type_=postgresql.ARRAY(column.type)))


def current_time(dialect: str) -> sa.ColumnElement[Any]:
    """The time at which a view is read."""
    return _NOW[dialect]


def whole_days(dialect: str, since: Any, until: Any) -> sa.ColumnElement[int]:
    """The whole days from ``since`` to ``until``, at least 0. If ``until`` is NULL, to now."""
    if dialect == SQLITE:
        end = sa.func.coalesce(sa.func.julianday(until), sa.func.julianday("now"))
        days = end - sa.func.julianday(since) + _ROUNDING_ERROR
        return sa.func.max(sa.cast(days, sa.Integer), 0)
    end = sa.func.coalesce(until, current_time(dialect))
    passed = sa.func.floor(sa.extract("epoch", end - since) / 86_400)
    return sa.func.greatest(sa.cast(passed, sa.BigInteger), 0)


def typed(dialect: str, kind: Kind, value: Any) -> sa.ColumnElement[Any]:
    """A column of a view, with a type that tools can see.

    SQLite shows no type for an expression, only for a column of a table. Days are stored as text,
    and PostgreSQL's views show them as dates.
    """
    is_expression = getattr(value, "table", None) is None
    if dialect == SQLITE and is_expression:
        is_number = kind in {Kind.INTEGER, Kind.BOOLEAN}
        typed_value = sa.cast(value, sa.Integer if is_number else sa.Text)
    elif dialect == POSTGRESQL and kind == Kind.DATE:
        typed_value = sa.cast(value, sa.Date)
    else:
        typed_value = value
    return typed_value


def prepare_publication(connection: sa.Connection, drafts: Sequence[sa.Table]) -> None:
    """Give PostgreSQL's planner the statistics and the memory that a publication needs.

    Autovacuum runs once a minute, so the drafts may have no statistics yet. The facts group all
    open versions, which needs temporary files with the default of 4 MB. SQLite needs neither: it
    finds drafts by their key, which begins with the run.
    """
    if connection.dialect.name == POSTGRESQL:
        analyse(connection, drafts)
        # LOCAL: the pool's next transaction on this connection has the server's settings again.
        connection.execute(sa.text("SET LOCAL work_mem = '64MB'"))
        connection.execute(sa.text("SET LOCAL jit = off"))


def analyse(connection: sa.Connection, tables: Sequence[sa.Table]) -> None:
    """Update PostgreSQL's statistics. Those of SQLite are fixed (``migrations/env.py``)."""
    if connection.dialect.name == POSTGRESQL:
        names = ", ".join(table.name for table in tables)
        connection.execute(sa.text(f"ANALYZE {names}"))
