"""More persons by SQL: the rows of those who are there, again and again under other numbers.

A million persons through the program's own writer take an hour; this takes minutes. Sizes, spread
and facts are as if they had come that way, but keys and references differ in their beginning alone.
"""

from typing import Final

from sqlalchemy import Table, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.schema.columns import PERSON_COUNTS
from worker.store.schema.tables import (
    VERSIONS,
    change_feed,
    person,
    person_area,
    publication_code,
    publication_cohort,
    publication_figure,
    run,
)

_REFERENCES: Final = ("local_ref",)
_KEYS: Final = ("person_key", "restriction_id")
_NO_AMOUNTS: Final = {"publication_no", "run_id"}


async def multiply(connection: AsyncConnection, times: int) -> None:
    """Make so many of each person, and of what facts count.

    Args:
        connection: in a transaction, of a database in which all is published.
        times: 1 leaves it as it is.
    """
    persons = await _last(connection, person, "person_id")
    versions = {
        table.name: await _last(connection, table, "version_id") for table in VERSIONS.values()
    }
    entries = await _last(connection, change_feed, "seq")
    areas = {name: versions[table.name] for name, table in VERSIONS.items()}
    for copy in range(1, times):
        for table in (person, person_area, *VERSIONS.values()):
            steps = {
                "person_id": str(copy * persons),
                "version_id": str(copy * versions.get(table.name, 0)),
            }
            await _copy(connection, table, copy, steps, "")
        cases = " ".join(f"WHEN '{area}' THEN {copy * last}" for area, last in areas.items())
        steps = {
            "seq": str(copy * entries),
            "person_id": str(copy * persons),
            "version_id": f"CASE area {cases} END",
        }
        await _copy(connection, change_feed, copy, steps, f"WHERE seq <= {entries}")
    sets = ", ".join(f"{name} = {name} * {times}" for name in PERSON_COUNTS)
    await connection.execute(text(f"UPDATE {run.name} SET {sets}"))
    for facts in (publication_code, publication_cohort, publication_figure):
        amounts = [
            column.name
            for column in facts.c
            if column.type.python_type is int and column.name not in _NO_AMOUNTS
        ]
        sets = ", ".join(f"{name} = {name} * {times}" for name in amounts)
        await connection.execute(text(f"UPDATE {facts.name} SET {sets}"))


async def _last(connection: AsyncConnection, table: Table, column: str) -> int:
    found: int = (await connection.execute(select(func.max(table.c[column])))).scalar_one()
    return found


async def _copy(
    connection: AsyncConnection, table: Table, copy: int, steps: dict[str, str], where: str
) -> None:
    """The rows of the first persons under numbers that are so much higher."""

    def value(name: str) -> str:
        if name in steps:
            return f"{name} + {steps[name]}"
        if name in _REFERENCES:
            return f"'C{copy}-' || {name}"
        return f"'k{copy:03}' || substr({name}, 5)" if name in _KEYS else name

    names = [column.name for column in table.c]
    first = where or f"WHERE person_id <= {steps['person_id']} / {copy}"
    await connection.execute(
        text(
            f"INSERT INTO {table.name} ({', '.join(names)}) "
            f"SELECT {', '.join(map(value, names))} FROM {table.name} {first}"
        )
    )
