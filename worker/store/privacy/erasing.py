"""Removes one person completely: versions, the person's row, and drafts of every run.

The totals of runs stay in the ledger: they identify no one. No text about somebody else holds an
identifier (``masking``). Backups, replicas, archived WAL and exported files are out of reach;
the operator must handle them.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio
from sqlalchemy import ColumnElement, Table, delete, func, insert, select, text, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.errors import UnavailableError
from worker.store.database import LASTING_S, Database, delete_securely
from worker.store.errors import plain_reason
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import last_publication_no
from worker.store.schema.tables import CHANGES, VERSIONS, access_log, change_feed, draft, person

_SNAPSHOTS: Final = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
"""
"""How many other transactions may still see rows that were deleted."""
DRAFTS: Final[Sequence[Table]] = (*CHANGES.values(), draft)
"""What runs have read and not published."""


class Traces(Value, frozen=True, kw_only=True):
    """Everything that the store holds about one person.

    Attributes:
        rows: number of rows of the person, by table; none of an unknown person.
    """

    hidden = frozenset({"person_key"})

    person_key: str
    person_id: int | None = None
    rows: Mapping[str, int] = {}


async def find_traces(database: Database, person_key: str) -> Traces:
    """Find everything that ``erase_traces`` removes."""

    async def work(connection: AsyncConnection) -> Traces:
        found = await connection.execute(
            select(person.c.person_id).where(person.c.person_key == person_key)
        )
        person_id = found.scalar_one_or_none()
        rows = {
            table.name: await _count(connection, table, condition)
            for table, condition in _conditions(person_key, person_id).items()
        }
        return Traces(
            person_key=person_key,
            person_id=person_id,
            rows=rows if any(rows.values()) else {},
        )

    return await database.read(work)


async def _count(connection: AsyncConnection, table: Table, condition: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(table).where(condition)
    result: int = (await connection.execute(counted)).scalar_one()
    return result


def _conditions(person_key: str, person_id: int | None) -> Mapping[Table, ColumnElement[bool]]:
    """Which rows of each table are the person's, in the order in which they go."""
    ids = select(draft.c.run_id, draft.c.person_id).where(draft.c.person_key == person_key)
    rows: dict[Table, ColumnElement[bool]] = {
        table: tuple_(table.c.run_id, table.c.person_id).in_(ids) for table in CHANGES.values()
    }
    rows[draft] = draft.c.person_key == person_key
    for table in (*VERSIONS.values(), person):
        rows[table] = table.c.person_id == person_id
    return rows


async def erase_traces(lease: Lease, traces: Traces) -> None:
    """Remove the traces in one transaction, and the person from the access log.

    If the roster still names the person, an open run that the next ``sync`` continues reads them
    again.

    Raises:
        LeaseLostError: another holder took over; nothing was removed.
    """
    database = lease.database

    async def work(connection: AsyncConnection) -> None:
        await delete_securely(connection)
        if traces.person_id is not None:
            # The feed holds numbers only: nothing of the person is left in it.
            await connection.execute(
                insert(change_feed).values(
                    publication_no=await last_publication_no(connection),
                    happened_at=await database.now(connection),
                    op="erase",
                    person_id=traces.person_id,
                )
            )
        for table, condition in _conditions(traces.person_key, traces.person_id).items():
            await connection.execute(delete(table).where(condition))
        await connection.execute(
            update(access_log)
            .where(access_log.c.person_key == traces.person_key)
            .values(person_key=None)
        )

    await lease.write(work)


_SNAPSHOT_QUERIES_MAX: Final = 60
_SNAPSHOT_PAUSE_S: Final = 0.5


async def scrub(database: Database, *, rewrite: bool = False) -> None:
    """Remove deleted data from the database's files.

    SQLite: rewrites the file and empties its WAL. PostgreSQL: runs VACUUM and updates the
    statistics, which contain sample values. Freed bytes stay in the data files until they are
    overwritten, unless the tables are rewritten.

    Args:
        rewrite: on PostgreSQL rewrite the tables (VACUUM FULL), which locks each table exclusively
            meanwhile.

    Raises:
        UnavailableError: it cannot be done now. What was erased stays erased.
    """
    try:
        async with database.gate:
            with anyio.CancelScope(shield=True):
                if database.dialect.name == "sqlite":
                    await _scrub_sqlite(database)
                else:
                    await _scrub_postgresql(database, rewrite=rewrite)
    except (DBAPIError, OSError, sqlite3.Error) as error:
        raise UnavailableError(
            f"done, but the database's files still contain the old bytes: {plain_reason(error)}",
            hint="run the same `pts-worker erase` again; it continues here",
        ) from error


async def _scrub_sqlite(database: Database) -> None:
    async with database.engine.connect() as connection:
        # The driver itself: SQLAlchemy would begin a transaction, and VACUUM allows none.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("VACUUM")
        async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
            busy, *_ = await cursor.fetchone()
    if busy:
        raise sqlite3.OperationalError("another process reads from the write-ahead log")


async def _scrub_postgresql(database: Database, *, rewrite: bool) -> None:
    names = ", ".join(table.name for table in (*DRAFTS, *VERSIONS.values(), person, access_log))
    options = "FULL, ANALYZE" if rewrite else "ANALYZE"
    with anyio.fail_after(LASTING_S):
        async with database.engine.connect() as connection:
            # VACUUM allows no transaction.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            is_alone = await _wait_for_snapshots(database, connection)
            await connection.execute(text(f"VACUUM ({options}) {names}"))
            if not is_alone:
                raise TimeoutError("a transaction from before the erasure is still open")


async def _wait_for_snapshots(database: Database, connection: AsyncConnection) -> bool:
    """Wait for transactions that may still see the erased rows, because VACUUM keeps these rows.

    A role without ``pg_read_all_stats`` sees only its own sessions.

    Returns:
        Whether all of them have ended.
    """
    for _ in range(_SNAPSHOT_QUERIES_MAX):
        if not (await connection.execute(text(_SNAPSHOTS))).scalar_one():
            return True
        await database.runtime.sleep(_SNAPSHOT_PAUSE_S)
    return False
