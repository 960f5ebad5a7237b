"""Passes many rows to one statement.

Row by row, the driver's thread would compete with the event loop for the interpreter at each row,
and SQLAlchemy would prepare the parameters of each row (docs/scale.md).
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Boolean, CursorResult, Integer, LargeBinary, String, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.views import UtcTime, iso_utc

Row = Sequence[Any]
Columns = tuple[tuple[str, str], ...]

_TIME: Final = "timestamptz"
_TYPES: Final = (
    (UtcTime, _TIME),
    (Boolean, "boolean"),
    (Integer, "bigint"),
    (LargeBinary, "bytea"),
    (String, "text"),
)
"""PostgreSQL's type of a table's column."""
_PARAMETERS_MAX: Final = 8_192
"""Parameters of one statement on SQLite, which allows four times as many.

It keeps statements few and small: the drafts of a batch of 250 persons, with 29 columns each,
are one statement.
"""


class InputRows(Value, frozen=True):
    """Rows of one shape, which a statement reads as a table ``input_rows``.

    On SQLite they are a VALUES list, on PostgreSQL one array per column.

    Attributes:
        columns: name of each, and its type on PostgreSQL; times are aware. Values may be None, but
            not in the first column.
    """

    columns: Columns

    @classmethod
    def of(cls, table: Table, *, but: Collection[str]) -> "InputRows":
        """Rows for a table: all its columns but these, in its order."""
        return cls(
            tuple(
                (
                    column.name,
                    next(name for kind, name in _TYPES if isinstance(column.type, kind)),
                )
                for column in table.columns
                if column.name not in but
            )
        )

    async def execute(
        self, connection: AsyncConnection, sql: str, rows: Sequence[Row]
    ) -> list[Any]:
        """Execute a statement over the rows, and return its result rows.

        Args:
            sql: the statement, with ``{input_rows}`` where it reads from that table, and
                ``{names}`` for the columns' names.
            rows: the rows; if empty, nothing is executed.
        """
        if not rows:
            return []
        sql = sql.replace("{names}", ", ".join(name for name, _ in self.columns))
        if connection.dialect.name == "sqlite":
            return await self._on_sqlite(connection, sql, rows)
        arrays = tuple(map(list, zip(*rows, strict=True)))
        statement = sql.replace("{input_rows}", _arrays(self.columns))
        return _rows(await connection.exec_driver_sql(statement, arrays))

    async def _on_sqlite(
        self,
        connection: AsyncConnection,
        sql: str,
        rows: Sequence[Row],
    ) -> list[Any]:
        times = [place for place, (_, kind) in enumerate(self.columns) if kind == _TIME]
        size = _PARAMETERS_MAX // len(self.columns)
        found: list[Any] = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            row_count = _statement_rows(len(part), size)
            statement = sql.replace("{input_rows}", _values(self.columns, row_count))
            plain = [_plain(row, times) for row in part] if times else part
            parameters = [*chain.from_iterable(plain)]
            parameters += [None] * ((row_count - len(part)) * len(self.columns))
            found += _rows(await connection.exec_driver_sql(statement, tuple(parameters)))
        return found


KEYS: Final = InputRows((("person_key", "text"),))
IDS: Final = InputRows((("person_id", "bigint"),))
"""Persons by their key, and by their id."""


def _rows(result: CursorResult[Any]) -> list[Any]:
    return list(result) if result.returns_rows else []


def _plain(row: Row, times: Sequence[int]) -> Row:
    """The row with times as text, for SQLite's driver."""
    plain = list(row)
    for place in times:
        if plain[place] is not None:
            plain[place] = iso_utc(plain[place])
    return plain


def _statement_rows(count: int, count_max: int) -> int:
    """Rounds the number of rows up to a few sizes, because each statement stays prepared.

    The driver caches 128 statements; one for each number of rows would take tens of megabytes.
    """
    size = 4
    while size < count:
        size *= 4
    return min(size, count_max)


@lru_cache(maxsize=256)
def _values(columns: Columns, row_count: int) -> str:
    names = ", ".join(f"column{place} AS {name}" for place, (name, _) in enumerate(columns, 1))
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"(SELECT {names} FROM (VALUES {', '.join([row] * row_count)}) "  # noqa: S608 - declared
        "WHERE column1 IS NOT NULL) AS input_rows"
    )


@lru_cache(maxsize=256)
def _arrays(columns: Columns) -> str:
    arrays = ", ".join(f"${place}::{kind}[]" for place, (_, kind) in enumerate(columns, 1))
    names = ", ".join(name for name, _ in columns)
    return f"unnest({arrays}) AS input_rows({names})"
