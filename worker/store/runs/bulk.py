"""Passes many rows to one statement.

Row by row, the driver's thread would compete with the event loop for the interpreter at each row,
and SQLAlchemy would prepare the parameters of each row (docs/scale.md).
"""

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Boolean, Integer, LargeBinary, String, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.views import UtcTime, iso_utc

Row = Sequence[Any]
Columns = tuple[tuple[str, str], ...]

_TYPES: Final = (
    (UtcTime, "timestamptz"),
    (Boolean, "boolean"),
    (Integer, "bigint"),
    (LargeBinary, "bytea"),
    (String, "text"),
)
"""PostgreSQL's type of a table's column."""
_PARAMETERS_MAX: Final = 8_192
"""Parameters of one statement; SQLite allows four times as many.

It keeps statements few and small: the drafts of a batch of 250 persons, with 29 columns each,
are one statement.
"""

sqlite3.register_adapter(datetime, iso_utc)


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
        """Execute a statement over the rows, some at a time, and return its result rows.

        Args:
            sql: the statement, with ``{input_rows}`` where it reads from that table, and
                ``{names}`` for the columns' names.
            rows: the rows; if empty, nothing is executed.
        """
        sql = sql.replace("{names}", ", ".join(name for name, _ in self.columns))
        is_file = connection.dialect.name == "sqlite"
        size = _PARAMETERS_MAX // len(self.columns)
        found: list[Any] = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            table, parameters = self._values(part, size) if is_file else self._arrays(part)
            result = await connection.exec_driver_sql(
                sql.replace("{input_rows}", table), parameters
            )
            found += list(result) if result.returns_rows else []
        return found

    def _values(self, rows: Sequence[Row], size: int) -> tuple[str, tuple[Any, ...]]:
        count = _statement_rows(len(rows), size)
        nothing = [None] * ((count - len(rows)) * len(self.columns))
        return _values_list(self.columns, count), (*chain.from_iterable(rows), *nothing)

    def _arrays(self, rows: Sequence[Row]) -> tuple[str, tuple[Any, ...]]:
        arrays = (f"${place}::{kind}[]" for place, (_, kind) in enumerate(self.columns, 1))
        names = ", ".join(name for name, _ in self.columns)
        table = f"unnest({', '.join(arrays)}) AS input_rows({names})"
        return table, tuple(map(list, zip(*rows, strict=True)))


KEYS: Final = InputRows((("person_key", "text"),))
IDS: Final = InputRows((("person_id", "bigint"),))
"""Persons by their key, and by their id."""


def _statement_rows(count: int, count_max: int) -> int:
    """Rounds the number of rows up to a few sizes, because each statement stays prepared.

    The driver caches 128 statements; one for each number of rows would take tens of megabytes.
    """
    size = 4
    while size < count:
        size *= 4
    return min(size, count_max)


@lru_cache(maxsize=256)
def _values_list(columns: Columns, row_count: int) -> str:
    names = ", ".join(f"column{place} AS {name}" for place, (name, _) in enumerate(columns, 1))
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"(SELECT {names} FROM (VALUES {', '.join([row] * row_count)}) "  # noqa: S608 - declared
        "WHERE column1 IS NOT NULL) AS input_rows"
    )
