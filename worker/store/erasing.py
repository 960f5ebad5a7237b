"""Removes one person wholly: versions, proofs, failures, the person; and what others' rows say.

What a run counted stays in the ledger: totals name nobody. Nothing here can reach backups,
replicas, archived WAL or exported files; they are the operator's.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import orjson
from sqlalchemy import Table, Text, bindparam, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import area_named
from worker.core.area import ColumnType
from worker.core.identity import NationalId
from worker.core.pseudonymise import pseudonymise
from worker.errors import UnavailableError
from worker.store.database import Database
from worker.store.errors import plain_reason
from worker.store.lease import Lease
from worker.store.tables import VERSIONS, metadata, person

ERASED: Final = "erased"
"""What stands in the identifier's place in the payloads of other persons."""

_ROWS_PER_QUERY: Final = 500
_TAIL_DIGITS: Final = 5
"""``core.pseudonymise``: every form that is known keeps an identifier's last five digits."""

TABLES: Final[Sequence[Table]] = tuple(
    table
    for table in reversed(metadata.sorted_tables)
    if any(key.column is person.c.person_id for key in table.foreign_keys)
)
"""Every table whose rows belong to a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What the store holds of one person.

    Attributes:
        person_id: the person's row; None if there is none.
        rows: rows of the person by table.
        mentions: rows of other persons whose payload holds the identifier, by area.
    """

    person_id: int | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    mentions: Mapping[str, Sequence[int]] = field(default_factory=dict, repr=False)

    @property
    def mention_count(self) -> int:
        """Rows of other persons that hold the identifier."""
        return sum(map(len, self.mentions.values()))


async def find_traces(
    database: Database, tenant_id: int, person_key: str, off_id: NationalId
) -> Traces:
    """Everything that ``erase_traces`` removes. Reads each payload that may hold the identifier."""

    async def work(connection: AsyncConnection) -> Traces:
        person_id = (
            await connection.execute(
                select(person.c.person_id).where(
                    person.c.tenant_id == tenant_id, person.c.person_key == person_key
                )
            )
        ).scalar_one_or_none()
        rows = {}
        for table in (*TABLES, person) if person_id is not None else ():
            counted = await connection.execute(
                select(func.count()).select_from(table).where(table.c.person_id == person_id)
            )
            rows[str(table.name)] = counted.scalar_one()
        mentions = {
            area: await _mentions(connection, table, person_id, off_id)
            for area, table in VERSIONS.items()
        }
        return Traces(person_id=person_id, rows=rows, mentions=mentions)

    return await database.read(work)


async def erase_traces(
    database: Database, lease: Lease, traces: Traces, off_id: NationalId
) -> None:
    """Remove them in one transaction, rows of an unpublished run too.

    An open run that the next ``sync`` continues finds the person unread, if the roster names them.
    The content hash of another person's row stays: else the next read would find the row changed,
    and bring the identifier back.

    Raises:
        LeaseLostError: another holder took over; nothing was removed.
    """

    async def work(connection: AsyncConnection) -> None:
        await lease.renew(database, connection)
        if database.dialect.name == "sqlite":
            await connection.exec_driver_sql("PRAGMA secure_delete=ON")
        if traces.person_id is not None:
            for table in (*TABLES, person):
                await connection.execute(delete(table).where(table.c.person_id == traces.person_id))
        for area, versions in traces.mentions.items():
            await _mask(connection, database, area, versions, off_id)

    await database.write(work)


async def scrub(database: Database, *, rewrite: bool = False) -> None:
    """Free what was deleted, so that the database's files do not hold it.

    SQLite: the file is written anew and its WAL emptied. PostgreSQL: VACUUM with new statistics,
    which hold sample values; freed bytes stay in the data files until they are overwritten,
    unless the tables are written anew.

    Args:
        database: the store.
        rewrite: on PostgreSQL write the tables anew (VACUUM FULL), which keeps everybody out of
            each table meanwhile.

    Raises:
        UnavailableError: it could not be done now. What was erased stays erased.
    """
    try:
        async with database.gate:
            with anyio.CancelScope(shield=True):
                if database.dialect.name == "sqlite":
                    await _scrub_sqlite(database)
                else:
                    await _scrub_postgresql(database, rewrite=rewrite)
    except (DBAPIError, OSError, sqlite3.Error) as fault:
        raise UnavailableError(
            f"erased, but its bytes are not yet out of the database's files: {plain_reason(fault)}",
            hint="run the same `pts-worker erase` again; it takes up here",
        ) from fault


async def _scrub_sqlite(database: Database) -> None:
    async with database.engine.connect() as connection:
        # Below SQLAlchemy, which would begin a transaction: VACUUM runs outside any.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("VACUUM")
        async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
            busy, *_ = await cursor.fetchone()
    if busy:
        raise sqlite3.OperationalError("another process reads from the write-ahead log")


async def _scrub_postgresql(database: Database, *, rewrite: bool) -> None:
    names = ", ".join(table.name for table in (*TABLES, person))
    options = "FULL, ANALYZE" if rewrite else "ANALYZE"
    with database.watching():
        async with database.engine.connect() as connection:
            # VACUUM runs outside any transaction, and so does its limit on waiting for locks.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            limit = f"{database.lock_s_max() * 1000:.0f}"
            await connection.execute(text(f"SET lock_timeout = {limit}"))
            try:
                await connection.execute(text(f"VACUUM ({options}) {names}"))
            finally:
                await connection.execute(text("RESET lock_timeout"))


async def _mentions(
    connection: AsyncConnection, table: Table, person_id: int | None, off_id: NationalId
) -> Sequence[int]:
    """Rows of other persons whose payload holds the identifier in any form."""
    found: list[int] = []
    last = 0
    while True:
        rows = (
            await connection.execute(
                select(table.c.version_id, table.c.payload)
                .where(
                    table.c.version_id > last,
                    table.c.person_id != (person_id or 0),
                    table.c.payload.contains(off_id.reveal()[-_TAIL_DIGITS:], autoescape=True),
                )
                .order_by(table.c.version_id)
                .limit(_ROWS_PER_QUERY)
            )
        ).all()
        found += [row.version_id for row in rows if _masked(row.payload, off_id) != row.payload]
        if len(rows) < _ROWS_PER_QUERY:
            return found
        last = rows[-1].version_id


async def _mask(
    connection: AsyncConnection,
    database: Database,
    area: str,
    versions: Sequence[int],
    off_id: NationalId,
) -> None:
    """Take the identifier out of these rows: of the payload, and of the columns made from it."""
    table = VERSIONS[area]
    kinds = {one.name: one.type for one in area_named(area).columns}
    names = [name for name in kinds if isinstance(table.c[name].type, Text)]
    documents = {"payload"} | {name for name in names if kinds[name] == ColumnType.JSON}
    names.append("payload")
    for start in range(0, len(versions), _ROWS_PER_QUERY):
        some = versions[start : start + _ROWS_PER_QUERY]
        rows = await connection.execute(
            select(table.c.version_id, *(table.c[name] for name in names)).where(
                database.dialect.member(table.c.version_id)
            ),
            database.dialect.members(some),
        )
        values = [
            {
                "id": row.version_id,
                **{
                    f"new_{name}": _masked(
                        getattr(row, name), off_id, is_document=name in documents
                    )
                    for name in names
                },
            }
            for row in rows
        ]
        if values:
            await connection.execute(
                update(table)
                .where(table.c.version_id == bindparam("id"))
                .values({name: bindparam(f"new_{name}") for name in names}),
                values,
            )


def _masked(value: str | None, off_id: NationalId, *, is_document: bool = True) -> str | None:
    """A text without the identifier; a document is canonical JSON."""
    if value is None:
        return None
    canonical = value.encode() if is_document else orjson.dumps(value)
    masked = pseudonymise(canonical, off_id.reveal(), ERASED)
    return masked.decode() if is_document else str(orjson.loads(masked))
