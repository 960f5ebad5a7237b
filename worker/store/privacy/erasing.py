"""Removes one person completely: versions, proofs, failures, and mentions in other persons' rows.

The totals of runs stay in the ledger: they identify no one. Why a run ended, and why another person
could not be read, is masked where it mentions the person. Backups, replicas, archived WAL and
exported files are out of reach; the operator must handle them.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import anyio
from sqlalchemy import (
    Column,
    ColumnElement,
    Row,
    Select,
    Table,
    Text,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.areas import AREAS
from worker.core import exact_json
from worker.core.area import ColumnType, ResourceArea
from worker.core.diff import ERASED
from worker.core.identity import NationalId
from worker.core.recogniser import Recogniser
from worker.core.value import Value
from worker.errors import UnavailableError
from worker.store.catalogues import SNAPSHOTS
from worker.store.database import Database
from worker.store.dialects import delete_securely, member, members
from worker.store.errors import plain_reason
from worker.store.runs.facts import invalidate_base
from worker.store.runs.feed import feed_erased_person, feed_versions
from worker.store.runs.lease import Lease
from worker.store.schema.tables import VERSIONS, failure, metadata, person, person_label, run

_ROWS_PER_QUERY: Final = 500

TABLES: Final[Sequence[Table]] = tuple(
    table
    for table in reversed(metadata.sorted_tables)
    if any(key.column is person.c.person_id for key in table.foreign_keys)
)
"""Every table whose rows belong to a person."""


class Traces(Value, frozen=True, kw_only=True):
    """Everything that the store holds about one person.

    Attributes:
        person_id: the person's row; None if there is none.
        local_refs: the organisation's own references for the person, earlier ones too.
        rows: number of rows of the person, by table.
        mentions: rows of other persons and of runs that contain the identifier or the person's
            key, by ``_Texts.name``.
    """

    hidden = frozenset({"local_refs", "mentions"})

    person_id: int | None
    local_refs: tuple[str, ...]
    rows: Mapping[str, int]
    mentions: Mapping[str, Sequence[int]]

    @property
    def mention_count(self) -> int:
        """Number of rows, not the person's, that contain the identifier or the person's key."""
        return sum(map(len, self.mentions.values()))


class Mask:
    """Masks one person in the texts of other persons.

    Args:
        off_id: the identifier; it is found in any spelling.
        person_key: the person's key in the store.
    """

    def __init__(self, off_id: NationalId, person_key: str) -> None:
        self._person_key = person_key
        self._salt = secrets.token_bytes(16)
        self._recogniser = Recogniser(lambda _: ERASED, own=off_id.reveal(), finds_others=False)

    def text(self, value: str | None) -> str | None:
        """The text with the person masked; unchanged if it does not mention them."""
        if value is None:
            return None
        return self._recogniser.text(value.replace(self._person_key, ERASED))

    def key(self, value: str | None) -> str | None:
        """The same for a record key, which stays unique.

        Two keys may differ only in how the identifier is spelled, or only in two persons who are
        both erased. The salt is not stored, so that no one can find the identifier by trying all.
        """
        masked = self.text(value)
        if value is None or masked == value:
            return value
        tag = hashlib.blake2b(value.encode(), key=self._salt, digest_size=4).hexdigest()
        return f"{masked}-{tag}"

    def document(self, value: str | None) -> str | None:
        """The same for a text that is canonical JSON."""
        if value is None:
            return None
        before = exact_json.loads(value.replace(self._person_key, ERASED).encode())
        return exact_json.canonical(self._recogniser.document(before)).decode()


async def find_traces(database: Database, person_key: str, off_id: NationalId) -> Traces:
    """Find everything that ``erase_traces`` removes. Reads all stored texts of other persons."""
    mask = Mask(off_id, person_key)

    async def work(connection: AsyncConnection) -> Traces:
        row = (
            await connection.execute(select(person).where(person.c.person_key == person_key))
        ).one_or_none()
        person_id = None if row is None else row.person_id
        refs = [] if row is None else [row.local_ref, row.prev_local_ref]
        refs += (
            await connection.execute(
                select(person_label.c.local_ref).where(person_label.c.person_id == person_id)
            )
        ).scalars()
        rows = {}
        for table in (*TABLES, person) if person_id is not None else ():
            counted = await connection.execute(
                select(func.count()).select_from(table).where(table.c.person_id == person_id)
            )
            rows[str(table.name)] = counted.scalar_one()
        mentions = {
            texts.name: [
                key
                async for key, values in texts.masked(connection, mask, but_of=person_id)
                if values
            ]
            for texts in _ALL_TEXTS
        }
        return Traces(
            person_id=person_id,
            local_refs=tuple(dict.fromkeys(filter(None, refs))),
            rows=rows,
            mentions=mentions,
        )

    return await database.read(work)


async def erase_traces(lease: Lease, traces: Traces, mask: Mask) -> None:
    """Remove the traces in one transaction, including rows of an unpublished run.

    If the roster still names the person, an open run that the next ``sync`` continues reads them
    again. The content hash of another person's row stays. Otherwise the next read would find the
    row changed and bring the identifier back. A row with a masked key is matched by its hash
    (``core.diff.by_content``).

    Raises:
        LeaseLostError: another holder took over; nothing was removed.
    """
    database = lease.database

    async def work(connection: AsyncConnection) -> None:
        await delete_securely(connection)
        await invalidate_base(connection)
        await _add_to_feed(connection, traces, await database.now(connection))
        if traces.person_id is not None:
            for table in (*TABLES, person):
                await connection.execute(delete(table).where(table.c.person_id == traces.person_id))
        for texts in _ALL_TEXTS:
            keys = traces.mentions.get(texts.name, ())
            for start in range(0, len(keys), _ROWS_PER_QUERY):
                await texts.mask(connection, keys[start : start + _ROWS_PER_QUERY], mask)

    await lease.write(work)


async def _add_to_feed(connection: AsyncConnection, traces: Traces, at: datetime) -> None:
    """Add to the change feed what its readers must delete, and what they must read again."""
    if traces.person_id is not None:
        await feed_erased_person(connection, traces.person_id, at)
    for area, table in VERSIONS.items():
        keys = traces.mentions.get(table.name, ())
        for start in range(0, len(keys), _ROWS_PER_QUERY):
            part = keys[start : start + _ROWS_PER_QUERY]
            rows = (
                select(table.c.version_id, table.c.person_id)
                .join(run, run.c.run_id == table.c.opened_run)
                .where(table.c.version_id.in_(part), run.c.publication_no.is_not(None))
            )
            await feed_versions(connection, "erase", area, rows, at)


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
    names = ", ".join(table.name for table in (*TABLES, person, run))
    options = "FULL, ANALYZE" if rewrite else "ANALYZE"
    with database.watching():
        async with database.engine.connect() as connection:
            # VACUUM allows no transaction, so the lock timeout is set for the session.
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            limit = f"{database.lock_s_max() * 1000:.0f}"
            await connection.execute(text(f"SET lock_timeout = {limit}"))
            try:
                is_alone = await _wait_for_snapshots(database, connection)
                await connection.execute(text(f"VACUUM ({options}) {names}"))
                if not is_alone:
                    raise TimeoutError("a transaction from before the erasure is still open")
            finally:
                await connection.execute(text("RESET lock_timeout"))


async def _wait_for_snapshots(database: Database, connection: AsyncConnection) -> bool:
    """Wait for transactions that may still see the erased rows, because VACUUM keeps these rows.

    A role without ``pg_read_all_stats`` sees only its own sessions.

    Returns:
        Whether all of them have ended.
    """
    for _ in range(_SNAPSHOT_QUERIES_MAX):
        if not (await connection.execute(text(SNAPSHOTS))).scalar_one():
            return True
        await database.runtime.sleep(_SNAPSHOT_PAUSE_S)
    return False


class _Texts(NamedTuple):
    """The text columns of a table that may mention persons.

    Attributes:
        documents: the text columns that hold canonical JSON.
        area: the only area whose rows are meant, if ``key`` is unique within an area alone.
    """

    table: Table
    key: Column[int]
    columns: tuple[str, ...]
    documents: frozenset[str] = frozenset()
    area: str | None = None

    @property
    def name(self) -> str:
        """Their name in ``Traces.mentions``."""
        return str(self.table.name) if self.area is None else f"{self.table.name} {self.area}"

    async def masked(
        self, connection: AsyncConnection, mask: Mask, *, but_of: int | None
    ) -> AsyncIterator[tuple[int, Mapping[str, str | None]]]:
        """Each row of another person that mentions this one, with its new column values."""
        last = 0
        while True:
            query = self._query().where(self.key > last).order_by(self.key).limit(_ROWS_PER_QUERY)
            if "person_id" in self.table.c:
                query = query.where(self.table.c.person_id != (but_of or 0))
            rows = (await connection.execute(query)).all()
            for row in rows:
                if changed := self._changed(row, mask):
                    yield row[0], changed
            if len(rows) < _ROWS_PER_QUERY:
                return
            last = rows[-1][0]

    async def mask(self, connection: AsyncConnection, keys: Sequence[int], mask: Mask) -> None:
        """Mask the person in these rows."""
        rows = await connection.execute(self._query().where(member(self.key)), members(keys))
        for row in rows.all():
            if changed := self._changed(row, mask):
                await connection.execute(
                    update(self.table).where(self.key == row[0], *self._of_area()).values(**changed)
                )

    def _query(self) -> Select[Any]:
        columns = (self.table.c[name] for name in self.columns)
        return select(self.key, *columns).where(*self._of_area())

    def _of_area(self) -> tuple[ColumnElement[bool], ...]:
        return () if self.area is None else (self.table.c.area == self.area,)

    def _changed(self, row: Row[Any], mask: Mask) -> dict[str, str | None]:
        before: dict[str, str | None] = dict(zip(self.columns, row[1:], strict=True))
        masks = dict.fromkeys(self.documents, mask.document) | {_KEY: mask.key}
        after = {name: masks.get(name, mask.text)(value) for name, value in before.items()}
        return {name: value for name, value in after.items() if value != before[name]}


_KEY: Final = "restriction_id"


def _texts_of(area: ResourceArea) -> _Texts:
    table = VERSIONS[area.name]
    kinds = {column.name: column.type for column in area.columns}
    texts = [name for name in kinds if isinstance(table.c[name].type, Text)]
    documents = {name for name in texts if kinds[name] == ColumnType.JSON}
    return _Texts(
        table=table,
        key=table.c.version_id,
        columns=(_KEY, *texts, "payload"),
        documents=frozenset({"payload", *documents}),
    )


_ALL_TEXTS: Final = (
    *map(_texts_of, AREAS),
    _Texts(
        table=person,
        key=person.c.person_id,
        columns=("local_ref", "prev_local_ref", "cohort", "prev_cohort"),
    ),
    _Texts(table=person_label, key=person_label.c.label_id, columns=("local_ref", "cohort")),
    *(
        _Texts(table=failure, key=failure.c.person_id, columns=("reason",), area=area.name)
        for area in AREAS
    ),
    _Texts(table=run, key=run.c.run_id, columns=("reason",)),
)
