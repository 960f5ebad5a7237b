"""The access log, and the removal of one person: versions, their row, and drafts of every run.

The totals of runs stay in the ledger, because they do not identify persons. Texts in other rows
contain no identifiers (``masking``). The operator must handle backups, replicas, archived WAL and
exported files, which this program cannot reach.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import anyio
import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.value import Value
from worker.errors import ConfigurationError, UnavailableError
from worker.store.database import LONG_TRANSACTION_S, Database, delete_securely
from worker.store.errors import plain_reason
from worker.store.runs.lease import Lease
from worker.store.runs.ledger import LAST_PUBLICATION_NO
from worker.store.schema.tables import (
    CHANGES,
    VERSIONS,
    access_log,
    change_feed,
    draft,
    draft_area,
    person,
    person_area,
)
from worker.views import UtcTime


class Access(Value, frozen=True, kw_only=True):
    """One access to persons' data in the store.

    Attributes:
        os_user: the operating-system account of the process.
        login_user: the account that logged in, if it is different and the system knows it.
        command: the command's name, without arguments.
        purpose: the purpose entered by the user.
    """

    os_user: str
    login_user: str | None
    host: str
    command: str
    purpose: str | None


async def record_access(
    database: Database, access: Access, *, person_key: str | None = None
) -> None:
    """Add a row to the access log, and commit it.

    The row names only persons in the store, so that a look-up after ``erase`` leaves no key.

    Args:
        person_key: the person's key in the store. None if all persons were accessed.

    Raises:
        UnavailableError: the database cannot be used after all retries.
        ConfigurationError: the database cannot be written until the operator fixes the cause.
    """
    is_stored = bool(person_key and await count_traces(database, person_key))
    logged_key = person_key if is_stored else None

    async def work(connection: AsyncConnection) -> None:
        at = await database.now(connection)
        row = {"accessed_at": at, "person_key": logged_key, **msgspec.structs.asdict(access)}
        await connection.execute(sa.insert(access_log).values(row))

    await database.write(work)


async def count_traces(database: Database, person_key: str) -> Mapping[str, int]:
    """The number of rows that ``erase_traces`` removes by table. Empty for an unknown person."""

    async def work(connection: AsyncConnection) -> Mapping[str, int]:
        rows = {}
        for table, condition in _traces(person_key).items():
            counted = sa.select(sa.func.count()).select_from(table).where(condition)
            rows[table.name] = (await connection.execute(counted)).scalar_one()
        return rows if any(rows.values()) else {}

    return await database.read(work)


def _traces(person_key: str) -> Mapping[sa.Table, sa.ColumnElement[bool]]:
    """The condition for the person's rows in each table, in the order of deletion."""
    drafted = sa.select(draft.c.run_id, draft.c.person_id).where(draft.c.person_key == person_key)
    published = sa.select(person.c.person_id).where(person.c.person_key == person_key)
    reads = {
        table: sa.tuple_(table.c.run_id, table.c.person_id).in_(drafted)
        for table in (*CHANGES.values(), draft_area)
    }
    rows = {table: table.c.person_id.in_(published) for table in (*VERSIONS.values(), person_area)}
    # The rows of `reads` are found through `draft`, and those of `rows` through `person`.
    return {
        **reads,
        draft: draft.c.person_key == person_key,
        **rows,
        person: person.c.person_key == person_key,
    }


async def erase_traces(lease: Lease, person_key: str) -> None:
    """Remove the person in one transaction, and their key from the access log.

    If the person is still on the roster, the next ``sync`` reads them again, even if it resumes an
    open run that has read them before.

    Raises:
        LeaseLostError: another holder took over. Nothing was removed.
    """

    async def work(connection: AsyncConnection) -> None:
        await delete_securely(connection)
        now = await lease.database.now(connection)
        columns = (
            LAST_PUBLICATION_NO,
            sa.literal(now, UtcTime()),
            sa.literal("erase"),
            person.c.person_id,
        )
        # The feed contains only numbers, so nothing about the person is left in it.
        await connection.execute(
            sa.insert(change_feed).from_select(
                ("publication_no", "happened_at", "op", "person_id"),
                sa.select(*columns).where(person.c.person_key == person_key),
            )
        )
        for table, condition in _traces(person_key).items():
            await connection.execute(sa.delete(table).where(condition))
        await connection.execute(
            # The rows stay as evidence of the access. A trigger allows only this update.
            sa.update(access_log)
            .where(access_log.c.person_key == person_key)
            .values(person_key=None)
        )

    await lease.write(work)


_NEXT_ID: Final = sa.text(
    "SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS xid) AS text)"
)
"""The next transaction id. All finished transactions, including the erasure, have lower ids."""
_OLD_SNAPSHOTS: Final = sa.text("""
    SELECT count(*) FROM (SELECT backend_xmin AS oldest FROM pg_stat_activity
            WHERE datname = current_database() OR datname IS NULL
        UNION ALL SELECT xmin FROM pg_replication_slots) AS snapshots
    WHERE age(oldest) > age(CAST(CAST(:erased AS text) AS xid))
""")
"""The number of snapshots that may still see rows deleted before a transaction id: of this
database's sessions, of standbys and of replication slots. This session's own snapshot counts, too:
it cannot be newer than the oldest open or prepared transaction that has written, in any database of
the server. VACUUM FULL has to wait for the same snapshots."""
_SKIPPED_TABLES: Final = sa.text("""
    SELECT count(*) FROM pg_class c JOIN pg_database d ON d.datname = current_database()
    WHERE c.oid = ANY (CAST(CAST(:tables AS text[]) AS regclass[]))
        AND NOT pg_has_role(c.relowner, 'USAGE') AND NOT pg_has_role(d.datdba, 'USAGE')
""")
"""The number of tables that VACUUM would skip, with only a warning, because of their owner."""
_QUERIES_MAX: Final = 60
_PAUSE_S: Final = 0.5


async def scrub(database: Database, *, rewrite: bool = False) -> None:
    """Remove deleted data from the database's files.

    SQLite: rewrites the file and empties its WAL. PostgreSQL: runs VACUUM and updates the
    statistics, which contain sample values. Freed bytes stay in the data files until they are
    overwritten, unless the tables are rewritten.

    Args:
        rewrite: on PostgreSQL rewrite the tables (VACUUM FULL), which locks each table exclusively
            while it runs.

    Raises:
        UnavailableError: the data cannot be scrubbed now. Erased rows stay erased.
        ConfigurationError: only the owner of the tables can do it.
    """
    try:
        # SQLite's VACUUM fails during another write, even one of this process.
        async with database.gate:
            with anyio.CancelScope(shield=True):
                if database.is_file:
                    await _scrub_sqlite(database)
                else:
                    await _scrub_postgresql(database, rewrite=rewrite)
    except (DBAPIError, OSError, sqlite3.Error) as error:
        raise UnavailableError(
            f"erased, but the database's files still contain the old bytes: {plain_reason(error)}",
            hint="run the same `pts-worker erase` again to finish",
        ) from error


async def _scrub_sqlite(database: Database) -> None:
    async with database.engine.connect() as connection:
        # Use the driver, because SQLAlchemy would begin a transaction, which VACUUM does not allow.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("VACUUM")
        async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
            busy, *_ = await cursor.fetchone()
    if busy:
        raise sqlite3.OperationalError("another process reads from the write-ahead log")


async def _scrub_postgresql(database: Database, *, rewrite: bool) -> None:
    tables = [table.name for table in (*_traces(""), access_log)]
    options = "FULL, ANALYZE" if rewrite else "ANALYZE"
    with anyio.fail_after(LONG_TRANSACTION_S):
        async with database.engine.connect() as connection:
            # VACUUM cannot run in a transaction.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            if (await connection.execute(_SKIPPED_TABLES, {"tables": tables})).scalar_one():
                raise ConfigurationError(
                    "erased, but the files still contain the old bytes: another role owns them",
                    hint="run the same `pts-worker erase` again as that role",
                )
            # VACUUM runs in any case: it removes the rows that no snapshot needs.
            is_over = await _wait_for_snapshots(database, connection)
            await connection.exec_driver_sql(f"VACUUM ({options}) {', '.join(tables)}")
            if not is_over:
                raise TimeoutError("an older transaction is still open on the server")


async def _wait_for_snapshots(database: Database, connection: AsyncConnection) -> bool:
    """Wait for snapshots that may see the erased rows, and return whether they have ended.

    VACUUM keeps rows that a snapshot may still see.
    """
    erased = (await connection.execute(_NEXT_ID)).scalar_one()
    for _ in range(_QUERIES_MAX):
        if not (await connection.execute(_OLD_SNAPSHOTS, {"erased": erased})).scalar_one():
            return True
        await database.runtime.sleep(_PAUSE_S)
    return False
