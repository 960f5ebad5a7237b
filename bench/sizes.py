"""How much a database holds, table by table, and how long its reporting views take to read."""

import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

VIEWS: Final = (
    "report_patient_safety_current",
    "report_patient_safety_history",
    "report_patient_privacy_current",
    "report_person_freshness",
    "report_daily",
)

_IO: Final = Path("/proc/self/io")
_RELATIONS: Final = """\
SELECT c.relname, coalesce(t.relname, c.relname), pg_relation_size(c.oid)
FROM pg_class c
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_class t ON t.oid = i.indrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')
"""
_PAGES: Final = """\
SELECT d.name, coalesce(m.tbl_name, d.name), sum(d.pgsize)
FROM dbstat d LEFT JOIN sqlite_master m ON m.name = d.name
GROUP BY d.name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or an index of one.

    Attributes:
        rows: of the table.
    """

    name: str
    table: str
    bytes: int
    rows: int

    @property
    def bytes_per_row(self) -> float:
        """What a row of the table takes here; 0 if it has none."""
        return self.bytes / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How long a view took to be read whole, and for a single person."""

    view: str
    rows: int
    all_s: float
    one_person_s: float | None


class Postgres:
    """Looks at a PostgreSQL database from outside the program."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection

    async def relations(self) -> list[Relation]:
        """Tables and indexes, the largest first."""
        found = await self._connection.fetch(_RELATIONS)
        tables = {row[1] for row in found}
        counts = {
            table: await self._connection.fetchval(f'SELECT count(*) FROM "{table}"')
            for table in tables
        }
        return _sorted([(row[0], row[1], row[2]) for row in found], counts)

    async def log_bytes(self) -> int:
        """How much write-ahead log there has ever been."""
        return int(await self._connection.fetchval("SELECT pg_current_wal_lsn() - '0/0'"))

    async def analyze(self) -> float:
        """What autovacuum does in time; how long it took."""
        began_s = time.perf_counter()
        await self._connection.execute("VACUUM (ANALYZE)")
        return time.perf_counter() - began_s

    async def readings(self) -> list[Reading]:
        """Read each view whole, as an export does, and for one person."""
        readings = []
        for view in VIEWS:
            began_s = time.perf_counter()
            done = await self._connection.copy_from_query(f"SELECT * FROM {view}", output=_nowhere)
            all_s = time.perf_counter() - began_s
            one_s = None
            if view != "report_daily":
                key = await self._connection.fetchval("SELECT max(person_key) FROM person")
                began_s = time.perf_counter()
                await self._connection.fetch(f"SELECT * FROM {view} WHERE person_key = $1", key)
                one_s = time.perf_counter() - began_s
            rows = int(done.split()[1])
            readings.append(Reading(view=view, rows=rows, all_s=all_s, one_person_s=one_s))
        return readings


class Sqlite:
    """Looks at a SQLite file from outside the program."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def relations(self) -> list[Relation]:
        """Tables and indexes, the largest first."""
        found = self._connection.execute(_PAGES).fetchall()
        tables = {table for _, table, _ in found if not table.startswith("sqlite_")}
        counts = {
            table: self._connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
            for table in tables
        }
        return _sorted(found, counts)

    async def log_bytes(self) -> int:
        """What this process has had written to disk."""
        text = _IO.read_text(encoding="ascii")
        return int(text.partition("\nwrite_bytes: ")[2].split()[0])

    async def analyze(self) -> float:
        """Nothing of this kind happens by itself on SQLite."""
        return 0.0

    async def readings(self) -> list[Reading]:
        """Read each view whole, and for one person."""
        readings = []
        for view in VIEWS:
            began_s = time.perf_counter()
            rows = sum(1 for _ in self._connection.execute(f"SELECT * FROM {view}"))
            all_s = time.perf_counter() - began_s
            one_s = None
            if view != "report_daily":
                key = self._connection.execute("SELECT max(person_key) FROM person").fetchone()
                began_s = time.perf_counter()
                self._connection.execute(
                    f"SELECT * FROM {view} WHERE person_key = ?", key
                ).fetchall()
                one_s = time.perf_counter() - began_s
            readings.append(Reading(view=view, rows=rows, all_s=all_s, one_person_s=one_s))
        return readings


Looker = Postgres | Sqlite


@contextlib.asynccontextmanager
async def looking(url: str) -> AsyncIterator[Looker]:
    """A second connection to the database."""
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            yield Sqlite(file)
        return
    connection = await asyncpg.connect(url)
    try:
        yield Postgres(connection)
    finally:
        await connection.close()


async def _nowhere(_data: bytes) -> None:
    """Take what is copied, and keep nothing."""


def _sorted(found: Sequence[tuple[str, str, int]], counts: dict[str, int]) -> list[Relation]:
    relations = [
        Relation(name=name, table=table, bytes=size, rows=counts.get(table, 0))
        for name, table, size in found
    ]
    return sorted(relations, key=lambda one: -one.bytes)
