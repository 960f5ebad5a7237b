"""Many rows given to one statement.

Row by row, the driver's thread would fight the event loop for the interpreter at each of them, and
SQLAlchemy would lay out each row's parameters by itself (docs/performance.md).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CursorResult,
    DateTime,
    LargeBinary,
    Text,
    TextClause,
    bindparam,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.store.schema.types import iso_utc

Row = Sequence[Any]
Columns = tuple[tuple[str, str], ...]

_TYPES: Final[Mapping[str, Any]] = {
    "integer": BigInteger(),
    "text": Text(),
    "boolean": Boolean(create_constraint=False),
    "time": DateTime(timezone=True),
    "bytes": LargeBinary(),
}
_PARAMETERS_MAX: Final = 512 * 7
"""Of one statement on SQLite: few statements, and small ones. It would take nine times as many.

The proofs of a batch of 250 persons, seven columns each, are one statement.
"""


class Given(Value, frozen=True):
    """Rows of one shape, as a table ``given`` that a statement reads from.

    On SQLite they are a list of VALUES, on PostgreSQL an array a column.

    Attributes:
        columns: name and kind of each: ``integer``, ``text``, ``boolean``, ``time`` (aware) or
            ``bytes``; values may be None, but not in the first column.
    """

    columns: Columns

    @property
    def names(self) -> str:
        """The columns' names as a statement lists them."""
        return ", ".join(name for name, _ in self.columns)

    async def execute(
        self, connection: AsyncConnection, sql: str, rows: Sequence[Row], **numbers: int
    ) -> list[Any]:
        """Execute a statement over the rows, and give what it gives.

        Args:
            connection: in a transaction.
            sql: the statement, with ``{given}`` where it reads from that table, and the names of
                ``numbers`` in braces.
            rows: what is given; without any nothing is executed.
            numbers: constants of the statement.
        """
        if connection.dialect.name == "sqlite":
            return await self._on_sqlite(connection, sql, rows, numbers)
        if not rows:
            return []
        statement = _unnested(sql.format(given="{given}", **numbers), self.columns)
        arrays = zip(*rows, strict=True)
        given = {name: list(array) for (name, _), array in zip(self.columns, arrays, strict=True)}
        return _rows(await connection.execute(statement, given))

    async def _on_sqlite(
        self,
        connection: AsyncConnection,
        sql: str,
        rows: Sequence[Row],
        numbers: Mapping[str, int],
    ) -> list[Any]:
        times = [place for place, (_, kind) in enumerate(self.columns) if kind == "time"]
        size = _PARAMETERS_MAX // len(self.columns)
        found: list[Any] = []
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            room = _room(len(some), size)
            statement = sql.format(given=_values(self.columns, room), **numbers)
            plain = [_plain(row, times) for row in some] if times else some
            given = [*chain.from_iterable(plain)]
            given += [None] * ((room - len(some)) * len(self.columns))
            found += _rows(await connection.exec_driver_sql(statement, tuple(given)))
        return found


def _rows(result: CursorResult[Any]) -> list[Any]:
    return list(result) if result.returns_rows else []


def _plain(row: Row, times: Sequence[int]) -> Row:
    """A row as SQLite's driver takes it."""
    plain = list(row)
    for place in times:
        if plain[place] is not None:
            plain[place] = iso_utc(plain[place])
    return plain


def _room(count: int, most: int) -> int:
    """Rows of the statement that takes so many: few sizes, since each stays prepared.

    The driver keeps 128 statements; one for each number of rows would be tens of megabytes.
    """
    room = 4
    while room < count:
        room *= 4
    return min(room, most)


@lru_cache(maxsize=256)
def _values(columns: Columns, room: int) -> str:
    names = ", ".join(f"column{place} AS {name}" for place, (name, _) in enumerate(columns, 1))
    row = f"({', '.join('?' * len(columns))})"
    return (
        f"(SELECT {names} FROM (VALUES {', '.join([row] * room)}) "  # noqa: S608 - declared names
        "WHERE column1 IS NOT NULL) AS given"
    )


@lru_cache(maxsize=256)
def _unnested(sql: str, columns: Columns) -> TextClause:
    arrays = ", ".join(f":{name}" for name, _ in columns)
    names = ", ".join(name for name, _ in columns)
    types = [bindparam(name, type_=ARRAY(_TYPES[kind])) for name, kind in columns]
    given = f"unnest({arrays}) AS given({names})"
    return text(sql.replace("{given}", given)).bindparams(*types)
