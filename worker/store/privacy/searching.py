"""Searches the database for data that an erasure should have removed.

SQLite: the bytes of its files. PostgreSQL: every row of every table. Row versions that are not yet
vacuumed, the write-ahead log and replicas cannot be searched from here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from anyio import to_thread
from sqlalchemy import Text, cast, literal_column, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.core.identity import NationalId
from worker.core.value import Value
from worker.store.database import Database
from worker.store.schema.tables import metadata

LOCAL_REF_MIN: Final = 6
"""A shorter reference also occurs in other data by chance, and is not searched for."""

NOT_SEARCHED: Final = {
    "sqlite": "backups and copies of the file, exports, reports and logs",
    "postgresql": "row versions that are not vacuumed yet, write-ahead log, replicas, backups, "
    "exports, reports and logs",
}

_FILES: Final = ("", "-wal", "-shm", "-journal")
_CHUNK_BYTES: Final = 1 << 20


class Wanted(Value, frozen=True, kw_only=True):
    """What is searched for.

    Attributes:
        person_key: the pseudonym, or the identifier itself in a store without pseudonyms.
    """

    off_id: NationalId
    person_key: str
    local_refs: tuple[str, ...] = ()

    @property
    def identifier(self) -> tuple[str, ...]:
        """The identifier as people and programs write it."""
        digits = self.off_id.reveal()
        return digits, f"{digits[:6]} {digits[6:]}", f"{digits[:6]}-{digits[6:]}"

    @property
    def references(self) -> tuple[str, ...]:
        """The local references that are long enough to search for."""
        return tuple(ref for ref in self.local_refs if len(ref) >= LOCAL_REF_MIN)


class FoundText(Value, frozen=True, kw_only=True):
    """How often the person was found: places in files on SQLite, rows on PostgreSQL.

    Attributes:
        searched: files of SQLite, tables of PostgreSQL.
        not_searched: what cannot be searched from here.
        local_ref: None if there is no reference to search for.
    """

    searched: Sequence[str]
    not_searched: str
    identifier: int
    pseudonym: int
    local_ref: int | None


async def search(database: Database, wanted: Wanted) -> FoundText:
    """Search all files or tables of the database.

    Raises:
        UnavailableError: the database cannot be used.
        OSError: a file of SQLite cannot be read.
    """
    pseudonyms = () if wanted.person_key == wanted.off_id.reveal() else (wanted.person_key,)
    groups = (wanted.identifier, pseudonyms, wanted.references)
    if database.dialect.name == "sqlite":
        path = str(database.engine.url.database)
        files = [Path(path + end) for end in _FILES]
        searched = [file for file in files if file.is_file()]
        counts = [
            await to_thread.run_sync(_count_in_files, searched, needles) for needles in groups
        ]
        names = [file.name for file in searched]
    else:
        names = sorted(metadata.tables)
        counts = await _count_in_tables(database, names, groups)
    identifier, pseudonym, local_ref = counts
    return FoundText(
        searched=names,
        not_searched=NOT_SEARCHED[database.dialect.name],
        identifier=identifier,
        pseudonym=pseudonym,
        local_ref=local_ref if wanted.references else None,
    )


def _count_in_files(files: Sequence[Path], needles: Sequence[str]) -> int:
    wanted = [needle.encode() for needle in needles]
    return sum(
        chunk.count(needle)
        for needle in wanted
        for file in files
        for chunk in _chunks(file, needle)
    )


def _chunks(file: Path, needle: bytes) -> Iterator[bytes]:
    """The file in chunks that overlap by one byte less than the needle."""
    tail = b""
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield tail + chunk
            tail = (tail + chunk)[1 - len(needle) :] if len(needle) > 1 else b""


async def _count_in_tables(
    database: Database, tables: Sequence[str], groups: Sequence[Sequence[str]]
) -> list[int]:
    """In how many rows each group is found. The client searches: a server may log its queries."""

    async def work(connection: AsyncConnection) -> list[int]:
        counts = [0] * len(groups)
        for name in tables:
            query = select(cast(literal_column("t"), Text)).select_from(table(name).alias("t"))
            async with connection.stream(query) as rows:
                async for row in rows.scalars():
                    for number, needles in enumerate(groups):
                        counts[number] += any(needle in row for needle in needles)
        return counts

    return await database.lasting().read(work)
