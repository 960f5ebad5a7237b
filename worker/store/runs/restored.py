"""Prepares a database that was restored from a backup.

Numbers assigned since the backup are in readers' copies, for other rows. So a restored database
never assigns them again: its numbers continue from the time of the restore, and an entry of the
change feed asks readers to start over. ADR 0028.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Table, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.catalogues import BEGIN_KEYS, CONTINUE_KEYS, CONTINUE_SEQUENCE
from worker.store.database import Database
from worker.store.runs.feed import last_publication_no
from worker.store.runs.lease import FREE
from worker.store.schema.fact_tables import change_feed
from worker.store.schema.tables import VERSIONS, lease, person, run

OP: Final = "restore"
_BY_MICROSECOND: Final[Sequence[Table]] = (person, *VERSIONS.values(), change_feed)
"""Tables whose keys readers see, and that may get thousands of rows a second."""


async def note_restored(database: Database) -> int:
    """Free the leases, continue all numbers from now, and add an entry to the change feed.

    Returns:
        The number after which the next publication comes.
    """

    async def work(connection: AsyncConnection) -> int:
        now = (await database.now(connection)).astimezone(UTC)
        number = max(_minute(now), await last_publication_no(connection) + 1)
        await connection.execute(
            update(lease).values({**FREE, "fencing_token": lease.c.fencing_token + 1})
        )
        for table in _BY_MICROSECOND:
            await _number_on(database, connection, table, int(now.timestamp() * 1_000_000))
        await _number_on(database, connection, run, _minute(now))
        await connection.execute(
            insert(change_feed).values(publication_no=number, happened_at=now, op=OP)
        )
        return number

    return await database.write(work)


async def last_publication(connection: AsyncConnection) -> int | None:
    """The number of the last publication; None before the first one."""
    found = await connection.execute(select(func.max(run.c.publication_no)))
    last: int | None = found.scalar_one()
    return last


def _minute(now: datetime) -> int:
    """The minute in digits: 2611270330 is 03:30 on 27 November 2026."""
    return int(f"{now:%y%m%d%H%M}")


async def _number_on(
    database: Database, connection: AsyncConnection, table: Table, number: int
) -> None:
    """Let the keys of a table go on behind a number, unless they are behind it already."""
    (key,) = table.primary_key.columns
    last = (await connection.execute(select(func.coalesce(func.max(key), 0)))).scalar_one()
    values = {"name": table.name, "number": max(number, last)}
    if database.dialect.name == "postgresql":
        values["key"] = key.name
        await connection.execute(text(CONTINUE_SEQUENCE), values)
        return
    found = await connection.execute(text(CONTINUE_KEYS), values)
    if not found.rowcount:
        await connection.execute(text(BEGIN_KEYS), values)
